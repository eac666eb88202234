"""Storage formats against plain encoders that count the bits of real masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.formats import formats, storage_bits
from zerocast.workloads.patterns import DENSE, NM, Block, Mask, Uniform

WORD = 16


def encode(fmt: str, mask: np.ndarray, run_bits: int = 5) -> tuple[int, int]:
    """Value bits and metadata bits of `mask`, by writing the code out entry by entry."""
    words, fields = 0, ""
    if fmt == "bitmask":
        for bit in mask.ravel():
            words += bool(bit)
            fields += "1" if bit else "0"
    elif fmt == "coordinate":
        for place in np.argwhere(mask):
            words += 1
            for at, extent in zip(place, mask.shape, strict=True):
                width = (extent - 1).bit_length()
                fields += format(at, f"0{width}b") if width else ""
    elif fmt == "csr":
        rows = mask.reshape(mask.shape[0], -1) if mask.ndim > 1 else mask.reshape(1, -1)
        pointer, column = mask.size.bit_length(), (rows.shape[1] - 1).bit_length()
        fields += format(0, f"0{pointer}b")
        for row in rows:
            for at in np.flatnonzero(row):
                words += 1
                fields += format(at, f"0{column}b") if column else ""
            fields += format(words, f"0{pointer}b")
    elif fmt == "run_length":
        run = 0
        for bit in mask.ravel():
            if bit:
                for _ in range(run >> run_bits):
                    words, fields = words + 1, fields + "1" * run_bits
                words, fields = words + 1, fields + format(run % 2**run_bits, f"0{run_bits}b")
                run = 0
            else:
                run += 1
    return words * WORD, len(fields)


@pytest.mark.parametrize("fmt", ["bitmask", "coordinate", "csr"])
@pytest.mark.parametrize("shape", [(24,), (8, 16), (5, 7), (4, 3, 3, 2), (1, 9), (6, 1)])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_formats_store_what_an_encoder_writes(fmt: str, shape: tuple[int, ...], density: float) -> None:
    bits = np.random.default_rng(7).random(shape) < density
    ranks = "kcrs"[: len(shape)]
    storage = storage_bits(fmt, Mask.of(bits, ranks), dict(zip(ranks, shape, strict=True)), WORD)
    assert (storage.value_bits, storage.metadata_bits) == pytest.approx(encode(fmt, bits), abs=1e-9)
    assert storage.bits == pytest.approx(sum(encode(fmt, bits)))


@pytest.mark.parametrize(("share", "run_bits"), [(0.02, 4), (0.05, 3), (0.2, 2), (0.02, 2), (0.7, 5)])
def test_run_length_law_is_the_mean_of_an_encoder(share: float, run_bits: int) -> None:
    size, trials = 300, 1500
    masks = np.random.default_rng(11).random((trials, size)) < share
    written = np.array([encode("run_length", mask, run_bits) for mask in masks], dtype=float)
    storage = storage_bits(f"run_length:{run_bits}", Uniform(share), {"c": size}, WORD)
    error = written.std(axis=0) / math.sqrt(trials)
    assert abs(written[:, 0].mean() - storage.value_bits) < 4 * error[0]
    assert abs(written[:, 1].mean() - storage.metadata_bits) < 4 * error[1]
    assert storage.value_bits == pytest.approx(written[:, 0].mean(), rel=0.03)


def test_run_length_law_is_exact_over_all_masks_of_a_small_tile() -> None:
    """All 2^10 masks, each weighted by its probability."""
    share, size = 0.3, 10
    expected = np.zeros(2)
    for mask in itertools.product([0, 1], repeat=size):
        weight = share ** sum(mask) * (1 - share) ** (size - sum(mask))
        expected += weight * np.array(encode("run_length", np.array(mask), 1))
    storage = storage_bits("run_length:1", Uniform(share), {"c": 5, "k": 2}, WORD)
    assert (storage.value_bits, storage.metadata_bits) == pytest.approx(tuple(expected), rel=1e-12)


def test_run_length_at_both_ends() -> None:
    empty = storage_bits("run_length", Uniform(0.0), {"c": 1000}, WORD)
    assert empty.bits == 0
    full = storage_bits("run_length", DENSE, {"c": 1000}, WORD)
    assert full.value_bits == 16_000
    assert full.metadata_bits == 5_000


@pytest.mark.parametrize(("n", "m", "per_weight"), [(2, 8, 4.75), (2, 4, 9.0), (1, 4, 4.5)])
def test_nm_offsets_per_weight(n: int, m: int, per_weight: float) -> None:
    """By hand at 16 bits: n (16 + log2 m) / m, e.g. 2 (16 + 3) / 8."""
    storage = storage_bits("nm_offsets", NM(n, m, "c"), {"k": 32, "c": 64}, 16)
    assert storage.bits / (32 * 64) == per_weight


def test_formats_broadcast_over_tiles_and_words() -> None:
    tiles = np.array([[8], [16], [64]])
    words = np.array([8, 16])
    for fmt in [*formats(), "run_length:2"]:
        pattern = NM(2, 8, "c")
        both = storage_bits(fmt, pattern, {"c": tiles, "k": 4}, words)
        assert both.value_bits.shape == both.metadata_bits.shape == (3, 2)
        for i, j in np.ndindex(3, 2):
            one = storage_bits(fmt, pattern, {"c": int(tiles[i, 0]), "k": 4}, int(words[j]))
            assert both.bits[i, j] == pytest.approx(float(one.bits))


def test_uncompressed_stores_the_zeros() -> None:
    storage = storage_bits("uncompressed", Uniform(0.1), {"c": 10, "k": 3}, 8)
    assert (storage.value_bits, storage.metadata_bits) == (240, 0)


@pytest.mark.parametrize(
    ("fmt", "message"),
    [
        ("run_length:0", "run field needs a width"),
        ("run_length:x", "run field needs a width"),
        ("bitmap", "did you mean 'bitmask'"),
        ("bitmask:3", "only run_length takes a width"),
        ("nm_offsets", "N:M patterns only"),
    ],
)
def test_wrong_formats_say_what_to_write(fmt: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        storage_bits(fmt, Block((("c", 4),), 0.5), {"c": 8}, 16)

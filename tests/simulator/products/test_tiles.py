"""The two fidelities side by side: tile by tile against expectations, under the mapping that is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from problems import walk_tiles

from zerocast.accelerators import Accelerator, load
from zerocast.simulator import SimulationError, best_mapping, gemm_cost, plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.laws.array import skips
from zerocast.simulator.products.gemm import Gemm, Operand
from zerocast.simulator.products.gemm_cost import array_cost
from zerocast.simulator.products.mapping import mapping_of
from zerocast.workloads.patterns import DENSE, NM, Mask, Pattern, Uniform

RESNET = [
    (12544, 64, 147), (3136, 64, 64), (3136, 64, 576), (784, 128, 1152), (784, 256, 64), (196, 256, 2304),
    (196, 1024, 256), (49, 512, 4608), (49, 2048, 512), (392, 512, 4608), (512, 4608, 1568), (64, 576, 12544),
]  # fmt: skip
"""Products (M, N, K) of ResNet layers: forward, two images' worth, weight gradients."""


@pytest.mark.parametrize("name", ["sat-vcu1525", "systolic-32x32", "tpu-like-128"])
@pytest.mark.parametrize("pattern", [DENSE, NM(2, 8, "k")], ids=["dense", "2:8"])
def test_the_fidelities_agree_on_regular_patterns(name: str, pattern: Pattern) -> None:
    """What a user sees: latency, cycles and bytes of the two fidelities, on every template, within 1 %."""
    accelerator = load(name)
    for size in RESNET:
        gemm = plain_gemm(*size, "fp16", 16, DENSE, pattern)
        analytic, tile = (Pricer(accelerator, fidelity=f).gemm(gemm) for f in ("analytic", "tile"))
        for column in ("latency_s", "cycles", "dram_read_bytes", "dram_write_bytes"):
            assert getattr(tile, column) == pytest.approx(getattr(analytic, column), rel=0.01), (size, column)


def skipping(lanes: int) -> Accelerator:
    """SAT with an engine that skips any zero of the weights; `lanes` columns wait for the slowest."""
    return load("sat-vcu1525", {"sparsity.weight.mode": "skip", "sparsity.weight.sync_group": lanes})


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("masked", [False, True], ids=["law", "mask"])
def test_random_zeros_agree_within_the_spread(share: float, masked: bool) -> None:
    """Products whose tiles are of one size: what is left is the chance of the mask."""
    rng = np.random.default_rng(7)
    accelerator = skipping(lanes=32)
    for m, n, k in [(3136, 64, 576), (768, 128, 1152), (768, 256, 64), (256, 256, 2304), (1024, 128, 512)]:
        law = Mask.of(rng.random((n, k)) < share, ("n", "k")) if masked else Uniform(share)
        gemm = plain_gemm(m, n, k, "fp16", 16, DENSE, law)
        cost = best_mapping(gemm, accelerator)
        walk = walk_tiles(gemm, accelerator, cost.mapping)
        part = array_cost(gemm, accelerator, cost.mapping, spread=1.0)
        spread = float(gemm_cost(gemm, accelerator, cost.mapping, part).latency_s - cost.latency_s)
        assert skips(gemm, accelerator, cost.mapping.dataflow) == "weight"
        assert abs(walk.latency_s - float(cost.latency_s)) <= spread + 1e-3 * walk.latency_s, (m, n, k)


@pytest.mark.parametrize("size", [(197, 2304, 768), (197, 768, 3072), (392, 512, 4608), (196, 1024, 256)])
@pytest.mark.parametrize("masked", [False, True], ids=["law", "mask"])
def test_the_fidelities_agree_within_the_spread(size: tuple[int, int, int], masked: bool) -> None:
    """What a user sees, edge tiles included: the tile fidelity lies within the spread of the analytic one."""
    m, n, k = size
    bits = np.random.default_rng(7).random((n, k)) < 0.3
    gemm = plain_gemm(m, n, k, "fp16", 16, DENSE, Mask.of(bits, ("n", "k")) if masked else Uniform(0.3))
    analytic, tile = (Pricer(skipping(lanes=32), fidelity=f).gemm(gemm) for f in ("analytic", "tile"))
    assert 0 < analytic.spread_s < 0.1 * analytic.latency_s
    assert abs(tile.latency_s - analytic.latency_s) <= analytic.spread_s


def test_cycles_of_a_mask_are_those_of_its_fullest_columns() -> None:
    """One 4 x 4 fold after another, from the mask itself: the group of 4 columns waits for the fullest."""
    rng = np.random.default_rng(1)
    m, n, k = 8, 12, 32
    bits = rng.random((n, k)) < 0.4
    accelerator = load("systolic-4x4", {"sparsity.weight.mode": "skip", "sparsity.weight.sync_group": 4})
    gemm = plain_gemm(m, n, k, "fp16", 16, DENSE, Mask.of(bits, ("n", "k")))
    for tile_n, tile_k in ((12, 32), (4, 32), (4, 16)):
        truth = 0.0
        for start_n in range(0, n, tile_n):
            for start_k in range(0, k, tile_k):
                part = bits[start_n : start_n + tile_n, start_k : start_k + tile_k].sum(axis=1)
                slowest = np.mean([part[i : i + 4].max() for i in range(0, len(part), 4)])
                folds = (m // 4) * (len(part) // 4)
                truth += folds * (np.ceil(slowest) + 4 + 4 - 2)
        mapping = mapping_of(gemm, "output_stationary", "mnk", m, tile_n, tile_k)
        assert walk_tiles(gemm, accelerator, mapping).cycles == truth


def test_compressed_tiles_take_the_bytes_of_their_nonzeros() -> None:
    """A mask with all nonzeros in one half: tiles differ, their sum does not; uncompressed tiles are all alike."""
    bits = np.zeros((8, 64), dtype=bool)
    bits[:, :32] = True
    gemm = plain_gemm(8, 8, 64, "fp16", 16, DENSE, Mask.of(bits, ("n", "k")))
    times = {}
    for stored in ("uncompressed", "bitmask"):
        accelerator = load("systolic-8x8", {
            "memories.dram.formats": {"weight": [stored]}, "memories.dram.bandwidth_bytes_per_s": 1e8,
        })  # fmt: skip
        mapping = mapping_of(gemm, "output_stationary", "mnk", 8, 8, 32)
        walk, cost = walk_tiles(gemm, accelerator, mapping), gemm_cost(gemm, accelerator, mapping)
        assert walk.read_bytes == pytest.approx(float(cost.read_bytes), rel=1e-12)
        times[stored] = walk.read_bytes
    assert times["uncompressed"] == 8 * 64 * 2 * 2
    assert times["bitmask"] == 8 * 64 * 2 + 8 * 32 * 2 + 8 * 64 / 8


def test_mask_of_a_kernel_serves_the_products_that_gather_some_taps() -> None:
    """The input gradient of a strided convolution reduces over 2 x 1 of 3 x 3 taps."""
    bits = np.random.default_rng(2).random((16, 8, 3, 3)) < 0.3
    mask = Mask.of(bits, ("k", "c", "r", "s"))
    fiber = (("k", 16), ("r", 2), ("s", 1))
    rows, weights = Operand(64 * 16, 16, DENSE, fiber), Operand(256, 16, mask, fiber, across=(("c", 8),))
    gemm = Gemm(1, 64, 8, 32, rows, weights, Operand(512, 16), "fp16")
    walk = walk_tiles(gemm, skipping(lanes=32), mapping_of(gemm, "output_stationary", "mnk", 64, 8, 32))
    fullest = bits[:, :, :2, :1].sum(axis=(0, 2, 3)).max()
    dense = walk_tiles(gemm, load("sat-vcu1525"), mapping_of(gemm, "output_stationary", "mnk", 64, 8, 32))
    assert dense.cycles - walk.cycles == 8 * (32 - fullest)  # two folds share an adder of latency 8


def test_mask_that_does_not_fit_is_refused() -> None:
    bits = np.tile(np.arange(32) > 3, (8, 1))
    gemm = plain_gemm(8, 8, 64, "fp16", 16, DENSE, Mask.of(bits, ("n", "k")))
    skips = load("systolic-8x8", {"sparsity.weight.mode": "skip"})
    with pytest.raises(SimulationError, match=r"32 places along rank .k., which does not fit"):
        walk_tiles(gemm, skips, mapping_of(gemm, "output_stationary", "mnk", 8, 8, 64))


def test_too_many_tiles_name_the_remedy() -> None:
    gemm = plain_gemm(4096, 4096, 4096, "fp16", 16)
    with pytest.raises(SimulationError, match="fidelity analytic"):
        walk_tiles(gemm, load("systolic-8x8"), mapping_of(gemm, "output_stationary", "mnk", 8, 8, 8))


def test_tile_fidelity_reaches_the_row() -> None:
    """A narrow port slows both fidelities down."""
    gemm = plain_gemm(100, 100, 100, "fp16", 16)
    for port in (None, 2):
        accelerator = load("systolic-8x8", {
            "memories.input_buffer.port_bytes_per_cycle": port, "compute.dataflows": ["output_stationary"],
        })  # fmt: skip
        expected, walked = Pricer(accelerator).gemm(gemm), Pricer(accelerator, fidelity="tile").gemm(gemm)
        assert walked.cycles == pytest.approx(expected.cycles, rel=1e-12)
        assert walked.latency_s == pytest.approx(expected.latency_s, rel=0.1)
        assert walked.bound == expected.bound == ("port" if port else walked.bound)

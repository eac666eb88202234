"""Trace files: what goes in comes out, and what is damaged or impossible is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zerocast.workloads import WorkloadError, load_trace, save_trace
from zerocast.workloads.tracing import TensorTrace, Trace


def tensor(name: str, masks: bool = True, **changes: object) -> TensorTrace:
    rng = np.random.default_rng(len(name))
    bits = rng.random((3, 2, 5, 7)) < 0.4
    fields = {
        "shape": (2, 5, 7), "runs": 3, "nonzeros": int(bits.sum()),
        "channel_axis": 2, "channel_nonzeros": bits.sum(axis=(0, 1, 2)),
        "token_axis": 1, "token_nonzeros": bits.sum(axis=(0, 1, 3)),
        "masks": np.array([np.packbits(run) for run in bits[:2]]) if masks else None,
    }  # fmt: skip
    return TensorTrace(name, **{**fields, **changes})  # type: ignore[arg-type]


def example() -> Trace:
    return Trace("net", 2, 3, 7, (0, 1), {name: tensor(name) for name in ("x", "relu.out")})


def test_round_trip(tmp_path: Path) -> None:
    before = example()
    file = save_trace(before, tmp_path / "t")
    assert file.name == "t.npz"
    after = load_trace(file)
    assert (after.model, after.batch, after.runs, after.seed, after.sampled) == ("net", 2, 3, 7, (0, 1))
    assert list(after.tensors) == list(before.tensors)
    for name, old in before.tensors.items():
        new = after.tensors[name]
        assert (new.shape, new.nonzeros, new.channel_axis, new.token_axis) == ((2, 5, 7), old.nonzeros, 2, 1)
        for key in ("channels", "tokens", "masks"):
            np.testing.assert_array_equal(getattr(new, key), getattr(old, key))
        np.testing.assert_array_equal(new.bits(1), old.bits(1))


def test_any_truncation_is_refused(tmp_path: Path) -> None:
    file = save_trace(example(), tmp_path / "t.npz")
    whole = file.read_bytes()
    for share in (0.0, 0.2, 0.6, 0.99):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(WorkloadError, match=r"t\.npz is damaged or not a trace"):
            load_trace(file)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no such file"):
        load_trace(tmp_path / "none.npz")
    file = tmp_path / "f.npz"
    np.savez(file, header=np.frombuffer(b'{"format": "zerocast workload"}', dtype=np.uint8))
    with pytest.raises(WorkloadError, match="is not a trace"):
        load_trace(file)
    np.savez(file, a=np.zeros(3))
    with pytest.raises(WorkloadError, match="damaged or not a trace"):
        load_trace(file)


def edited(tmp_path: Path, change: str, value: object, array: bool = False) -> Path:
    """A trace file with one header field of its first tensor, one of the header, or one array replaced."""
    with np.load(save_trace(example(), tmp_path / "e.npz")) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    if array:
        arrays[change] = value  # type: ignore[assignment]
    elif change in header:
        header[change] = value
    else:
        header["tensors"][0][change] = value
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(tmp_path / "e.npz", **arrays)
    return tmp_path / "e.npz"


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        ("version", 99, "format version 99, this program reads 1"),
        ("nonzeros", 211, r"trace of 'x': density 1\.00476 is outside \[0, 1\]"),
        ("nonzeros", -1, r"trace of 'x': density -0\.0047619 is outside \[0, 1\]"),
        ("shape", [2, 5, 9], r"trace of 'x': channel counts of shape \(7,\) do not fit dimension 2"),
        ("shape", [9, 5, 7], r"trace of 'x': masks of shape \(2, 9\) do not fit tensor \(9, 5, 7\)"),
        ("channel_axis", None, "axis and counts must come together"),
        ("runs", 4, r"does not fit the rest"),
        ("sampled", [0], "does not fit the rest"),
        ("tensors", 3, "damaged"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, change: str, value: object, message: str) -> None:
    with pytest.raises(WorkloadError, match=message) as error:
        load_trace(edited(tmp_path, change, value))
    assert "e.npz" in str(error.value)


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        ("0.masks", np.zeros((2, 8), np.uint8), r"masks of shape \(2, 8\) do not fit .*which takes 9 bytes"),
        ("0.masks", np.zeros((2, 9)), "'x' holds float64 where uint8 belongs"),
        ("1.token_nonzeros", np.full(5, 43), r"'relu\.out': token density 1\.02381 is outside \[0, 1\]"),
        ("1.channel_nonzeros", np.zeros(6, np.int64), r"channel counts of shape \(6,\)"),
    ],
)  # fmt: skip
def test_impossible_arrays_are_refused(tmp_path: Path, change: str, value: object, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        load_trace(edited(tmp_path, change, value, array=True))


def test_masks_of_runs_that_were_not_kept_are_refused() -> None:
    with pytest.raises(WorkloadError, match="holds masks of 0 runs"):
        tensor("x", masks=False).bits(0)
    with pytest.raises(WorkloadError, match="there is no number 2"):
        tensor("x").bits(2)


def test_masks_must_agree_with_the_counts() -> None:
    """All runs sampled: the masks' nonzeros are those that were counted; a wrong shape is named first."""
    masks = np.packbits(np.ones((2, 12), dtype=bool), axis=1)
    assert TensorTrace("x", (1, 12), 2, 24, masks=masks).nonzeros == 24
    with pytest.raises(WorkloadError, match="its masks hold 24 nonzeros, its counts 20"):
        TensorTrace("x", (1, 12), 2, 20, masks=masks)
    with pytest.raises(WorkloadError, match="do not fit tensor"):
        TensorTrace("x", (1, 12), 2, 20, masks=masks[:, :1])
    with pytest.raises(WorkloadError, match="its channels hold 20 nonzeros, not 24"):
        TensorTrace("x", (1, 12), 2, 24, 1, np.full(12, 2) - np.eye(12, dtype=int)[:4].sum(axis=0))

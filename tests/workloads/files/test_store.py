"""Workloads in files: what goes in comes out, and no bad file gets through."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from zerocast.workloads import LayerPruning, Pruning, Workload, WorkloadError, capture, load_workload, save
from zerocast.workloads.patterns import NM, Pattern, Uniform, channel_group


def pruned_step() -> Workload:
    """A training step that holds every kind of op and every kind of pattern."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(9, 8), nn.Linear(8, 8), nn.Dropout(0.1), nn.Linear(8, 8), nn.Linear(8, 8),
        nn.Linear(8, 8),
        nn.Unflatten(1, (1, 4)),
    )  # fmt: skip
    torch_prune.random_unstructured(model[1], "weight", 0.5)
    layers: dict[str, LayerPruning] = {
        "3.weight": LayerPruning({"FF": NM(2, 4, "c"), "BP": NM(2, 4, "k")}, {}, frozenset({"FF", "BP"})),
        "4.weight": LayerPruning({"FF": Uniform(0.3)}),
        "5.weight": LayerPruning({"FF": channel_group("k", 0.5, 2)}),
    }
    return capture(model, torch.zeros(2, 4).long(), training=True, pruning=Pruning("mixed", layers), name="mixed")


def test_roundtrip(tmp_path: Path) -> None:
    step = pruned_step()
    path = save(step, tmp_path / "step")
    again = load_workload(path)
    assert path.name == "step.npz"
    assert again == step
    assert {type(p) for op in again.einsums for p in op.patterns.values()} == {
        type(p) for op in step.einsums for p in op.patterns.values()
    }
    mask = next(op for op in again.einsums if op.name == "1").patterns[1]
    original = next(op for op in step.einsums if op.name == "1").patterns[1]
    np.testing.assert_array_equal(mask.bits, original.bits)
    assert again.dependencies() == step.dependencies()


def test_loading_needs_no_torch(tmp_path: Path) -> None:
    path = save(pruned_step(), tmp_path / "step.npz")
    script = (
        f"import sys; from zerocast.workloads import load_workload; print(load_workload({str(path)!r}).macs);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == pruned_step().macs


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, share: float) -> None:
    path = save(pruned_step(), tmp_path / "step.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WorkloadError, match=r"step\.npz is damaged or not a workload"):
        load_workload(path)


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, seed: int) -> None:
    step = pruned_step()
    path = save(step, tmp_path / "step.npz")
    content = bytearray(path.read_bytes())
    content[np.random.default_rng(seed).integers(len(content))] ^= 0xFF
    path.write_bytes(content)
    try:
        assert load_workload(path) == step  # archives carry dates and names that nobody reads
    except WorkloadError as error:
        assert "step.npz" in str(error)


def rewritten(path: Path, **changes: object) -> None:
    with np.load(path) as archive:
        parts = {name: archive[name] for name in archive.files}
    header = {**json.loads(parts["header"].tobytes()), **changes}
    parts["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(path, **parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "format version 99, this program reads 4; capture it again"),
        ({"format": "something"}, "is not a workload"),
        ({"ops": 3}, "is damaged"),
        ({"tensors": []}, "unknown tensor"),
        ({"patterns": [{"kind": "Evil"}]}, "is damaged"),
    ],
)
def test_foreign_headers_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    path = save(pruned_step(), tmp_path / "step.npz")
    rewritten(path, **changes)
    with pytest.raises(WorkloadError, match=message):
        load_workload(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no such file"):
        load_workload(tmp_path / "none.npz")
    text, pickled = tmp_path / "text.npz", tmp_path / "pickled.npz"
    text.write_text("hello")
    np.savez(pickled, header=np.array([{"a": 1}], dtype=object))
    for path in (text, pickled):
        with pytest.raises(WorkloadError, match="damaged or not a workload"):
            load_workload(path)


def test_patterns_of_unknown_kind_are_named(tmp_path: Path) -> None:
    class Odd(Uniform):
        pass

    pattern: Pattern = Odd(0.5)
    forward = capture(
        nn.Linear(4, 4), torch.zeros(2, 4), pruning=Pruning("x", {"weight": LayerPruning({"FF": pattern})})
    )
    with pytest.raises(WorkloadError, match="pattern Odd cannot be stored"):
        save(forward, tmp_path / "odd.npz")


def test_outputs_keep_their_order_and_old_files_have_them_as_text(tmp_path: Path) -> None:
    workload = replace(Workload("two", {}, ()), meta={"batch": 2, "outputs": ("b", "a,c")})
    assert load_workload(save(workload, tmp_path / "two")).outputs == ("b", "a,c")
    old = replace(workload, meta={"outputs": "b,a"})
    assert load_workload(save(old, tmp_path / "old")).outputs == ("b", "a")

"""The chain of ops that no second array could shorten, by hand and against every chain there is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from small_workloads import INDEX, forward, step

from zerocast.accelerators import load
from zerocast.simulator import Result, simulate
from zerocast.workloads import Einsum, Tensor, Workload, build, capture


def longest_chain(
    waits: dict[str, tuple[str, ...]], own: dict[str, float], along: Mapping[str, tuple[str, ...]]
) -> float:
    """By running every op as soon as it can: after what it waits for, beside what it takes on the fly."""
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for op, before in waits.items():
        beside = [each for each in before if each in along.get(op, ())]
        starts[op] = max([0.0, *(starts[each] if each in beside else ends[each] for each in before)])
        ends[op] = max([starts[op] + own[op], *(ends[each] for each in beside)])
    return max(ends.values())


def owned(result: Result) -> dict[str, float]:
    """What an op takes by itself, without weights that came in behind the op before."""
    return {row.op: min(row.latency_s, row.end_s - row.start_s) for row in result.rows}


@pytest.mark.parametrize("name", ["systolic-16x16", "sat-vcu1525"])
@pytest.mark.parametrize("workload", [forward(), step()], ids=["inference", "training"])
def test_it_is_the_longest_chain(name: str, workload: object) -> None:
    result = simulate(workload, name)  # type: ignore[arg-type]
    path = result.critical_path()
    assert result.ran is not None
    waits = result.ran.dependencies()
    assert path.seconds == pytest.approx(longest_chain(waits, owned(result), result.along), rel=1e-12)
    assert all(before in waits[after] for before, after in zip(path.ops, path.ops[1:], strict=False))
    assert result.summary()["critical_path_s"] == path.seconds


def test_branches_that_wait_for_nothing_lie_beside_it() -> None:
    """Two equal products in a row, a third one of other inputs: two thirds of the time are critical."""
    tensors = [Tensor(name, (64, 64), "fp16", role) for name, role in (("x", "input"), ("w", "weight"),
               ("y", "activation"), ("z", "activation"), ("side", "activation"))]  # fmt: skip
    ops = tuple(
        Einsum(name, "fc", "FF", (source, "w"), (output,), {"m": 64, "n": 64, "k": 64}, tuple(INDEX.values()))
        for name, source, output in (("first", "x", "y"), ("beside", "x", "side"), ("second", "y", "z"))
    )
    result = simulate(Workload("branches", {tensor.name: tensor for tensor in tensors}, ops), "systolic-16x16")
    path = result.critical_path()
    assert path.ops == ("first", "second")
    first, _, second = result.rows
    assert path.seconds == pytest.approx(first.latency_s + second.end_s - second.start_s)
    assert second.end_s - second.start_s < second.latency_s  # its weights came in beside the product before


@pytest.mark.parametrize("name", ["systolic-32x32", "sat-vcu1525", "gemmini-16x16", "nvdla-large", "edge-tpu-like",
                                  "tpu-v4-like", "eyeriss-v1", "nvidia-h100-sxm"])  # fmt: skip
def test_it_is_never_longer_than_the_schedule(name: str) -> None:
    """Chains of ops that stream into one another, residual additions and hidden weights included."""
    accelerator = load(name)
    with torch.device("meta"):
        module, _ = build("resnet18")
        inputs = (torch.empty(1, 3, 64, 64),)
    result = simulate(capture(module, inputs, dtype=accelerator.compute.native_type), accelerator)
    assert 0 < result.critical_path().seconds <= result.latency_s * (1 + 1e-9)

"""The chain of ops that no second array could shorten, by hand and against every chain there is."""

from __future__ import annotations

import pytest
from small_workloads import INDEX, forward, step

from zerocast.simulator import simulate
from zerocast.workloads import Einsum, Tensor, Workload


def longest_chain(waits: dict[str, tuple[str, ...]], own: dict[str, float], along: dict[str, tuple[str, ...]]) -> float:
    """By trying every chain: an op streamed from another begins with it, so that the longer of the two counts."""
    found: dict[str, float] = {}
    for op, before in waits.items():
        extra = [found[b] + own[op] - (min(own[b], own[op]) if b in along.get(op, ()) else 0.0) for b in before]
        found[op] = max([own[op], *extra])
    return max(found.values())


@pytest.mark.parametrize("name", ["systolic-16x16", "sat-vcu1525"])
@pytest.mark.parametrize("workload", [forward(), step()], ids=["inference", "training"])
def test_it_is_the_longest_chain(name: str, workload: object) -> None:
    result = simulate(workload, name)  # type: ignore[arg-type]
    path, own = result.critical_path(), {row.op: row.latency_s for row in result.rows}
    assert result.ran is not None
    waits = result.ran.dependencies()
    assert path.seconds == pytest.approx(longest_chain(waits, own, dict(result.along)), rel=1e-12)
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
    assert path.seconds == pytest.approx(2 / 3 * sum(row.latency_s for row in result.rows))

"""Peak memory against a list of what is alive at every op, for random chains of ops."""

from __future__ import annotations

import random

import pytest

from zerocast.simulator.program.footprint import footprint
from zerocast.workloads import Tensor, Vector, Workload

KEPT = ("weight", "optimizer_state", "constant", "input")


def random_workload(seed: int) -> Workload:
    """Ops that read a few earlier tensors each and write one or two of many sizes."""
    rng = random.Random(seed)
    roles = ["input", "weight", "constant", "optimizer_state"]
    tensors = [Tensor(f"t{number}", (rng.randint(1, 500),), "fp16", role) for number, role in enumerate(roles)]  # type: ignore[arg-type]
    ops = []
    for number in range(rng.randint(1, 12)):
        made = [Tensor(f"y{number}.{part}", (rng.choice([3, 40, 700, 9000]),), rng.choice(["fp16", "fp32", "int8"]),
                       rng.choice(["activation", "gradient"])) for part in range(rng.randint(1, 2))]  # fmt: skip
        read = tuple(tensor.name for tensor in rng.sample(tensors, min(rng.randint(1, 3), len(tensors))))
        ops.append(Vector(f"op{number}", "", "FF", read, tuple(t.name for t in made), "add", 1, 1.0))
        tensors += made
    return Workload("random", {tensor.name: tensor for tensor in tensors}, tuple(ops))


def alive_at(workload: Workload, number: int) -> set[str]:
    """Names of the tensors that must be somewhere while an op runs: read or written by it, or made before and still
    needed later; what persists and is used at all, always."""
    used = {name for op in workload.ops for name in (*op.inputs, *op.outputs)}
    here, before, after = workload.ops[number], workload.ops[:number], workload.ops[number + 1 :]
    made = {name for op in before for name in op.outputs}
    needed = {name for op in after for name in (*op.inputs, *op.outputs)}
    kept = {name for name in used if workload.tensors[name].role in KEPT}
    return kept | set(here.inputs) | set(here.outputs) | (made & needed)


@pytest.mark.parametrize("seed", range(40))
def test_the_peak_is_the_most_that_is_alive_at_any_op(seed: int) -> None:
    workload = random_workload(seed)
    held = [
        sum(workload.tensors[name].bytes for name in alive_at(workload, number)) for number in range(len(workload.ops))
    ]
    assert footprint(workload).peak_bytes == max(held)

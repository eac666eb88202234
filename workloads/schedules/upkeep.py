"""Work on the weights beside the steps, as a workload of its own; and how many weights a recipe keeps and swaps."""

from __future__ import annotations

from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Vector, Workload
from zerocast.workloads.schedules.schedule import Chore

_CHORES: dict[Chore, tuple[tuple[str, float, str], ...]] = {
    # a layer's mask from its magnitudes: their histogram, in which the threshold is looked up, then a comparison
    "mask": (("histc", 1, "counts"), ("ge", 1, "mask")),
    # running average: a += (w - a) / n
    "average": (("lerp", 3, "average"),),
    # onto the mask: what it leaves out becomes zero
    "project": (("where", 1, ""),),
}
"""Chore -> what is done with each weight: function, operations an element, and the tensor that it writes beside the
weight ("" for the weight itself)."""
_TYPES = {"counts": "fp32", "mask": "int8", "average": "fp32"}
_BINS = 1024


def upkeep(step: Workload, chore: Chore) -> Workload:
    """The chore on all weights of a training step that its recipe prunes (all weights for an average).

    Weights are read and written in the type in which the optimizer keeps them (the master copy where there is one).
    """
    kept = kept_shares(step)
    tensors: dict[str, Tensor] = {}
    ops: list[Op] = []
    for name, tensor in step.tensors.items():
        if tensor.role == "weight" and (chore == "average" or kept.get(name, 1.0) < 1):
            master = step.tensors.get(f"{name}.master", tensor)
            tensors[master.name] = master
            for function, work, result in _CHORES[chore]:
                written = _beside(master, name, result) if result else master
                tensors[written.name] = written
                read = (master.name, written.name) if result == "average" else (master.name,)
                layer = name.rpartition(".")[0]
                ops.append(Vector(f"{name}.{function}", layer, "UPDATE", read, (written.name,), function,
                                  master.elements, work))  # fmt: skip
    meta = {key: step.meta[key] for key in ("batch", "dtype") if key in step.meta}
    return Workload(f"{step.name} {chore}", tensors, tuple(ops), meta={**meta, "training": True})


def _beside(weight: Tensor, name: str, result: str) -> Tensor:
    shape = (_BINS,) if result == "counts" else weight.shape
    return Tensor(f"{name}.{result}", shape, _TYPES[result], "optimizer_state")


def kept_shares(workload: Workload) -> dict[str, float]:
    """Density under which the forward pass sees each weight that some op reads."""
    found: dict[str, float] = {}
    for op in workload.ops:
        if op.phase != "FF":
            continue
        if isinstance(op, Index) and (name := workload.tensors[op.inputs[0]].weight):
            found[name] = workload.tensors[op.outputs[0]].pattern.density  # selected anew at each step
        elif isinstance(op, Einsum) and (name := workload.tensors[op.inputs[1]].weight):
            found[name] = workload.pattern_of(op, 1).density
    return found


def swapped_weights(step: Workload) -> float:
    """Weights that moving masks drop in the mean step; as many grow elsewhere in their layers, or in the network."""
    changed = (op for op in step.ops if isinstance(op, Index) and op.phase == "UPDATE" and op.function == "scatter")
    return sum(op.elements * op.share for op in changed if step.tensors[op.outputs[0]].role == "weight") / 2


def kept_weights(workload: Workload) -> float:
    """Weights that the forward pass uses, nonzeros of those that a recipe prunes."""
    shares = kept_shares(workload)
    return sum(shares.get(weight.name, 1.0) * weight.elements for weight in workload.weights)

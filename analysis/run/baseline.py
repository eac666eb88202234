"""The same network without the recipe's zeros: what a speedup is measured against."""

from __future__ import annotations

from dataclasses import replace

from zerocast.analysis.errors import AnalysisError
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Vector, Workload
from zerocast.workloads.patterns import DENSE

_OF_THE_RECIPE = ("weight", "gradient", "constant")
"""Roles of tensors that a recipe puts zeros into."""


def has_zeros(workload: Workload) -> bool:
    """True where a recipe (or the model's own weights) left zeros in a weight or a gradient."""
    tensors = workload.tensors
    seen = [(name, tensor.pattern) for name, tensor in tensors.items()]
    for op in workload.einsums:
        operands = (*op.inputs, *op.outputs)
        seen += [(operands[operand], pattern) for operand, pattern in op.patterns.items()]
    return any(not pattern.is_dense and _of_the_recipe(tensors[name]) for name, pattern in seen)


def holds_no_dense(workload: Workload) -> str:
    """Why the dense network does not follow from a pruned one, "" where it does."""
    if workload.meta.get("module_changed"):
        return "which changed its layers: it has no dense network inside"
    if any(op.share != 1 for op in workload.ops):
        return "whose masks move: its ops are those of the mean step"
    if any(_updates_a_part(op, workload) for op in workload.ops):
        return "and updates what is not pruned alone: it has no states of all weights"
    return ""


def without_zeros(workload: Workload) -> Workload:
    """The workload with dense weights and gradients, and without the selections that made their N:M copies.

    Measured zeros of activations belong to the network and stay, unless no recipe made others: then it is they whose
    worth is asked for, and the baseline has none.

    Raises `AnalysisError` for a workload that `holds_no_dense`.
    """
    if why := holds_no_dense(workload):
        raise AnalysisError(
            f"workload {workload.name!r} was pruned by {workload.meta['recipe']!r}, {why}; save the dense one too and "
            "give it as --baseline FILE.npz"
        )
    if workload.meta.get("trace") and workload.meta.get("recipe") == "dense":
        return _all_dense(workload)
    made = {op.outputs[0]: op.inputs[0] for op in workload.ops if _selects(op)}
    ops = tuple(_dense(op, made) for op in workload.ops if not _selects(op))
    tensors = {name: _dense_tensor(tensor) for name, tensor in workload.tensors.items() if name not in made}
    meta = {**workload.meta, "recipe": "dense"}
    return replace(workload, ops=ops, tensors=tensors, layers={}, meta=meta, found={})


def same_work(workload: Workload, other: Workload, origin: str) -> Workload:
    """`other`, read from the file `origin`, where it does the work of `workload`: as many samples, the same passes.

    Another model is allowed, since a pruned network may have another name; the summary shows it. Raises
    `AnalysisError` where batch or training is another: the ratio would not be a speedup.
    """
    pairs = [(what, workload.meta.get(what), other.meta.get(what)) for what in ("batch", "training")]
    if unlike := [f"{what} {theirs} against {ours} of the run" for what, ours, theirs in pairs if theirs != ours]:
        raise AnalysisError(f"--baseline {origin!r}: {', '.join(unlike)}; save the same work as baseline")
    return other


def _updates_a_part(op: Op, workload: Workload) -> bool:
    """Whether an op updates some of the places of a weight."""
    if not isinstance(op, Vector) or op.phase != "UPDATE":
        return False
    weight = workload.tensors[op.outputs[0]]
    return weight.role == "weight" and op.elements < weight.elements


def _selects(op: Op) -> bool:
    return isinstance(op, Index) and op.function == "nm_select"


def _dense(op: Op, made: dict[str, str]) -> Op:
    inputs = tuple(made.get(name, name) for name in op.inputs)
    return replace(op, inputs=inputs, patterns={}) if isinstance(op, Einsum) else replace(op, inputs=inputs)


def _all_dense(workload: Workload) -> Workload:
    """The workload with measured zeros taken away."""
    tensors = {name: replace(tensor, pattern=DENSE) for name, tensor in workload.tensors.items()}
    ops = tuple(replace(op, patterns={}) if isinstance(op, Einsum) else op for op in workload.ops)
    return replace(workload, ops=ops, tensors=tensors, meta={**workload.meta, "recipe": "dense, activations too"})


def _of_the_recipe(tensor: Tensor) -> bool:
    return tensor.role in _OF_THE_RECIPE or bool(tensor.weight)


def _dense_tensor(tensor: Tensor) -> Tensor:
    return replace(tensor, pattern=DENSE) if tensor.role in _OF_THE_RECIPE else tensor

"""N:M operands that must be selected anew at every step, because the weights (and gradients) change."""

from __future__ import annotations

from dataclasses import replace

from zerocast.workloads.ir import Einsum, Index, Op, Phase, Tensor, Workload
from zerocast.workloads.patterns import Pattern
from zerocast.workloads.pruning import Pruning
from zerocast.workloads.training.backward.tape import weight_of


def with_selection(workload: Workload, pruning: Pruning) -> Workload:
    """Put the top-N selection right before the first einsum of a pass that reads its result.

    The einsum then reads `W@FF`, `W@BP` or `dY@BP` in place of the dense tensor; WU keeps the dense ones.
    """
    tensors: dict[str, Tensor] = {}
    done: set[str] = set()
    ops: list[Op] = []
    for op in workload.ops:
        if isinstance(op, Einsum) and op.phase in ("FF", "BP"):
            op = _select(op, workload, pruning, tensors, done, ops)
        ops.append(op)
    return workload.with_ops(tuple(ops), **tensors) if tensors else workload


def _select(
    op: Einsum,
    workload: Workload,
    pruning: Pruning,
    tensors: dict[str, Tensor],
    done: set[str],
    ops: list[Op],
) -> Einsum:
    weight = weight_of(op, dict(workload.tensors))
    recipe = pruning.layers.get(weight)
    if recipe is None or op.phase not in recipe.generated_online:
        return op
    inputs = list(op.inputs)
    for position, patterns in ((0, recipe.output_gradient), (1, recipe.weight)):
        if op.phase not in patterns or (position == 0 and op.phase == "FF"):
            continue
        dense = workload.tensors[op.inputs[position]]
        chosen = f"{dense.name}@{op.phase}"
        if chosen not in done:
            done.add(chosen)
            pattern = patterns[op.phase]
            role = dense.role if position == 0 else "constant"
            tensors[chosen] = replace(dense, name=chosen, role=role, pattern=pattern)
            ops.append(_index(op, op.phase, dense, chosen, pattern))
        inputs[position] = chosen
    return replace(op, inputs=tuple(inputs))


def _index(op: Einsum, phase: Phase, dense: Tensor, chosen: str, pattern: Pattern) -> Index:
    """N:M picks in groups of M; any other pattern picks among all elements."""
    groups = pattern.groups
    function, group = ("nm_select", groups.m) if groups is not None else ("top_k", dense.elements)
    name = f"{chosen}.select"
    return Index(name, op.layer, phase, (dense.name,), (chosen,), function, dense.elements, group)

"""Masks that move while training: what the steps that change them do, and how often they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Workload
from zerocast.workloads.pruning import Pruning, Refresh

MASK_UPDATES = ("amortised", "never", "only")
"""Which step is taken: the mean of all, one that leaves the masks as they are, or one that changes them."""


def with_mask_updates(workload: Workload, pruning: Pruning, which: str = "amortised") -> Workload:
    """A training step whose masks move as the recipe says.

    Where masks grow by gradients, one of DT + 1 steps has dense weight gradients and changes masks, not weights (Evci
    et al., ICML 2020, appendix H: (3 f_S DT + 2 f_S + f_D) / (DT + 1) a step); else every DT-th step changes masks
    besides. Ops of which the mean step has a part have that `share`.

    Raises `WorkloadError` for an unknown step, and for masks that are to change by a recipe whose masks stay.
    """
    if which not in MASK_UPDATES:
        raise WorkloadError(f"mask update {which!r}: choose {', '.join(MASK_UPDATES[:-1])} or {MASK_UPDATES[-1]}")
    refresh = pruning.refresh
    if refresh is None and which == "only":
        raise WorkloadError(f"recipe {pruning.recipe!r} has masks that stay: there is no step that changes them")
    if refresh is None or which == "never":
        return workload
    by_gradient = refresh.grow == "gradient"
    often = 1.0 if which == "only" else 1 / (refresh.every + 1 if by_gradient else refresh.every)
    tensors: dict[str, Tensor] = {}
    dense: dict[str, list[str]] = {}
    ops = list(_without_weights(workload, tensors, dense, often) if by_gradient else workload.ops)
    ops += _changes(workload, pruning, refresh, tensors, dense, often)
    return workload.with_ops(tuple(ops), **tensors)


def _without_weights(
    workload: Workload, tensors: dict[str, Tensor], dense: dict[str, list[str]], often: float
) -> Iterator[Op]:
    """The ops where a share `often` of the steps changes no weight at all, and has dense gradients in place of masked
    ones. dense: their names by weight, which are added to it."""
    forward = {op.name: op for op in workload.ops}
    for op in workload.ops:
        masked = isinstance(op, Einsum) and op.phase == "WU" and 2 in op.patterns
        if not masked and op.phase != "UPDATE":
            yield op
        elif often < 1:
            yield replace(op, share=1 - often)
        if isinstance(op, Einsum) and masked:
            whole = _dense(op, workload, tensors, often)
            dense.setdefault(workload.tensors[forward[op.of].inputs[1]].weight, []).append(whole.outputs[0])
            yield whole


def _weights(workload: Workload, pruning: Pruning) -> dict[str, Tensor]:
    """The weights whose gradients are masked."""
    return {
        name: workload.tensors[name]
        for name, layer in pruning.layers.items()
        if "WU" in layer.weight and name in workload.tensors
    }


def _dense(op: Einsum, workload: Workload, tensors: dict[str, Tensor], share: float) -> Einsum:
    """The same weight gradient, all of it."""
    name = f"{op.outputs[0]}.all"
    tensors[name] = replace(workload.tensors[op.outputs[0]], name=name)
    patterns = {place: pattern for place, pattern in op.patterns.items() if place != 2}
    return replace(op, name=f"{op.name}.all", outputs=(name,), patterns=patterns, share=share)


def _changes(
    workload: Workload, pruning: Pruning, refresh: Refresh, tensors: dict[str, Tensor], dense: Mapping[str, list[str]],
    share: float,
) -> Iterator[Op]:  # fmt: skip
    """The selections: of the weights that stay, of those that grow, and what is written for both. dense: names of the
    dense gradients by weight."""
    weights = _weights(workload, pruning)
    left = {
        name: round(tensor.elements * pruning.layers[name].weight["WU"].density) for name, tensor in weights.items()
    }
    if refresh.scope == "network":
        count = sum(left.values())
        tensors["masks.threshold"] = Tensor("masks.threshold", (), "fp32", "index")
        yield _top("masks.drop", "", tuple(weights), "masks.threshold", count, share)
    for name, weight in weights.items():
        layer = name.rpartition(".")[0]
        kept, mask = f"{name}.kept", f"{name}.mask"
        for made in (kept, mask):
            tensors[made] = Tensor(made, weight.shape, "bool", "index")
        if refresh.scope == "network":
            inputs = (name, "masks.threshold")
            yield Index(f"{name}.drop", layer, "UPDATE", inputs, (kept,), "threshold", left[name], share=share)
        else:
            yield _top(f"{name}.drop", layer, (name,), kept, left[name], share)
        if refresh.grow == "gradient":
            yield _top(f"{name}.grow", layer, (*dense.get(name, ()), kept), mask, weight.elements, share)
        elif refresh.grow == "random":
            yield Index(f"{name}.grow", layer, "UPDATE", (kept,), (mask,), "random_pick", weight.elements, share=share)
        changed = round(left[name] * refresh.drop * (1 if refresh.grow == "nothing" else 2))
        if changed:
            mine = (name, mask if refresh.grow != "nothing" else kept)
            yield Index(
                f"{name}.change", layer, "UPDATE", mine, (name,), "scatter", changed, in_place=True, share=share
            )


def _top(name: str, layer: str, inputs: tuple[str, ...], output: str, elements: int, share: float) -> Index:
    """The largest of so many elements."""
    return Index(name, layer, "UPDATE", inputs, (output,), "top_k", elements, elements, share=share)

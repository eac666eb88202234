"""Rewrites of the op list that a controller or a library makes: pre-generation of N:M operands, streaming of
elementwise work, attention as one kernel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from zerocast.accelerators.schema import Accelerator, Regime
from zerocast.simulator.cards import shared
from zerocast.simulator.program.attention import attentions
from zerocast.simulator.program.conversions import with_casts, with_copied_batches, with_layouts, with_narrow_products
from zerocast.simulator.program.kernels import join_kernels
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Vector, Workload


@dataclass(frozen=True, slots=True)
class Shown:
    """What a kernel computes of a product under a mask: on average that share of `side`, for each row of M."""

    side: Literal["n", "k"]
    share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A workload as a controller runs it.

    on_chip: for an op, tensors that it does not fetch from (or put into) off-chip memory.
    along: for an op, the ops whose output it takes on the fly. fused: ops that run in the kernel of the one before, so
    that nothing is launched for them. shown: for products under a mask, what of them is computed. attention: ops of
    kernels of attention. beside: for a product, columns of others of the same input in its kernel. updates_together:
    one kernel updates all weights that are updated in a row.
    """

    workload: Workload
    on_chip: dict[str, frozenset[str]]
    along: dict[str, tuple[str, ...]]
    fused: frozenset[str] = frozenset()
    shown: dict[str, Shown] = field(default_factory=dict)
    attention: frozenset[str] = frozenset()
    beside: dict[str, int] = field(default_factory=dict)
    updates_together: bool = False

    def kept(self, op: Op) -> frozenset[str]:
        """Tensors that an op keeps on chip."""
        return self.on_chip.get(op.name, frozenset())

    @property
    def never_stored(self) -> frozenset[str]:
        """Tensors that all ops which touch them keep on chip."""
        stored = {name for op in self.workload.ops for name in (*op.inputs, *op.outputs) if name not in self.kept(op)}
        return frozenset(name for names in self.on_chip.values() for name in names if name not in stored)


def plan(workload: Workload, accelerator: Accelerator) -> Plan:
    """Apply the accelerator's controller switches."""
    on_chip: dict[str, set[str]] = {}
    along: dict[str, tuple[str, ...]] = {}
    if accelerator.sparsity.output.mode == "skip":
        workload = _without_masked(workload)
    if accelerator.schedule.pregenerate:
        workload = _pregenerate(workload, on_chip, along)
    if accelerator.schedule.joins_in_place:
        workload = workload.with_ops(tuple(_joined(op) for op in workload.ops))
    _stream(workload, accelerator, on_chip, along)
    kept = {name: frozenset(tensors) for name, tensors in on_chip.items()}
    if accelerator.gpu is None:
        return Plan(workload, kept, along)
    return _as_kernels(workload, accelerator, accelerator.gpu.software)


def _without_masked(workload: Workload) -> Workload:
    """Results of masked products as what is stored of them: the outputs that are asked for."""
    masks = {op.outputs[0]: workload.pattern_of(op, 2) for op in workload.einsums}
    masked = {name: replace(workload.tensors[name], pattern=mask) for name, mask in masks.items() if not mask.is_dense}
    return workload.with_ops(workload.ops, **masked)


def _pregenerate(workload: Workload, on_chip: dict[str, set[str]], along: dict[str, tuple[str, ...]]) -> Workload:
    """Move each weight selection behind the update of its weight: the step uses copies that the last one made.

    The first selector of a weight takes the new values from the update engine as they come out, without fetching them.
    Further ones, whose groups lie along another rank, take them in another order, after the first: they fetch them.
    """
    updates = {op.outputs[0]: op for op in workload.ops if op.phase == "UPDATE" and op.outputs}
    moved: dict[str, list[Op]] = {}
    kept: list[Op] = []
    for op in workload.ops:
        source = updates.get(op.inputs[0]) if isinstance(op, Index) and op.function == "nm_select" else None
        if source is None:
            kept.append(op)
        else:
            behind = moved.setdefault(source.name, [])
            if not behind:
                on_chip.setdefault(op.name, set()).add(op.inputs[0])
                along[op.name] = (source.name,)
            behind.append(replace(op, phase="UPDATE"))
    ops = [ready for op in kept for ready in (op, *moved.get(op.name, ()))]
    return workload.with_ops(tuple(ops))


def _joined(op: Op) -> Op:
    """A concatenation as a view of what was written into it."""
    return replace(op, elements=0) if isinstance(op, Transfer) and op.function == "cat" and not op.in_place else op


def _stream(
    workload: Workload, accelerator: Accelerator, on_chip: dict[str, set[str]], along: dict[str, tuple[str, ...]]
) -> None:
    """Let elementwise ops take their producer's output on its way out, where nothing else needs that output.

    The tensor between them then never goes off chip, and lies nowhere on it but in the output tile that it leaves from:
    whatever else the op needs must be there before the first op of the chain begins. One operand is enough, the one
    that is made last; the others are fetched. Where none can flow, the tensor goes off chip and comes back.
    """
    place = {op.name: number for number, op in enumerate(workload.ops)}
    producer = {name: op for op in workload.ops for name in op.outputs}
    waits = workload.dependencies()
    readers = Counter(name for op in workload.ops for name in op.inputs)
    first: dict[str, int] = {}  # place of the first op of a chain, for each op that streams in it
    taken: set[str] = set()
    wanted = workload.results
    for op in workload.ops:
        unit = accelerator.unit_for(op.function) if isinstance(op, Vector) else None
        if not (isinstance(op, Vector) and op.elementwise and unit is not None and unit.streams):
            continue
        flowing = [(place[producer[name].name], name) for name in op.inputs
                   if name in producer and readers[name] == 1 and workload.tensors[name].role in _FLOWING]  # fmt: skip
        for _, name in sorted(flowing, reverse=True):
            source = producer[name]
            head = first.get(source.name, place[source.name])
            streams_out = isinstance(source, Einsum) or (isinstance(source, Vector) and source.elementwise)
            ready = all(place[wait] < head for wait in waits[op.name] if wait != source.name)
            if streams_out and ready and source.name not in taken and name not in wanted:
                on_chip.setdefault(op.name, set()).add(name)
                on_chip.setdefault(source.name, set()).add(name)
                along[op.name] = (source.name,)
                first[op.name] = head
                taken.add(source.name)
                break


def _as_kernels(workload: Workload, accelerator: Accelerator, regime: Regime) -> Plan:
    """A network as the kernels that a GPU runs under a regime. Weights that are updated in a row are so by one
    kernel."""
    on_chip: dict[str, set[str]] = {}
    assert accelerator.gpu is not None
    if accelerator.gpu.cards > 1:
        workload = shared(workload, accelerator.gpu.cards)
    if not regime.in_place_cache:
        workload = workload.with_ops(tuple(_copied(op, workload) for op in workload.ops))
    if not regime.channels_last:
        workload = with_layouts(workload, accelerator)
    if "pointwise" not in regime.joins:
        workload = with_copied_batches(workload)
    fused: frozenset[str] = frozenset()
    attention: frozenset[str] = frozenset()
    shown: dict[str, Shown] = {}
    if regime.fused_attention:
        workload, fused, shown = _fuse_attention(workload, on_chip)
        attention = fused | set(on_chip)
    sixteen = next((each for each in ("bf16", "fp16") if each in accelerator.compute.rates), "")
    if sixteen:
        workload = with_narrow_products(workload, attention, sixteen)
    if regime.autocast:
        workload = with_casts(workload, attention)
    beside, leaders = _side_by_side(workload) if regime.fused_products else ({}, {})
    fused |= join_kernels(workload, regime, attention, on_chip, leaders)
    updates = [op.name for before, op in pairwise(workload.ops) if _is_update(before) and _is_update(op)]
    kept = {name: frozenset(tensors) for name, tensors in on_chip.items()}
    return Plan(workload, kept, {}, fused | set(leaders) | frozenset(updates), shown, attention, beside, True)


def _is_update(op: Op) -> bool:
    return op.phase == "UPDATE" and isinstance(op, Vector)


def _side_by_side(workload: Workload) -> tuple[dict[str, int], dict[str, str]]:
    """Products of the forward pass that read one input, as one of all their columns: for each the columns of the
    others, and for those that the first one's kernel runs the first one."""
    groups: dict[str, list[Einsum]] = {}
    for op in workload.ops:
        if isinstance(op, Einsum) and op.phase == "FF" and not op.windows(0) and workload.tensors[op.inputs[1]].weight:
            groups.setdefault(op.inputs[0], []).append(op)
    beside: dict[str, int] = {}
    leaders: dict[str, str] = {}
    for ops in groups.values():
        kinds = [workload.pattern_of(op, 1).groups or workload.pattern_of(op, 1) for op in ops]  # of masks, their N:M
        alike = [op for op, kind in zip(ops, kinds, strict=True) if kind == kinds[0]]
        columns = {op.name: workload.tensors[op.outputs[0]].shape[-1] for op in alike}
        if len(alike) > 1:
            beside |= {name: sum(columns.values()) - own for name, own in columns.items()}
            leaders |= {op.name: alike[0].name for op in alike[1:]}
    return beside, leaders


def _copied(op: Op, workload: Workload) -> Op:
    """A concatenation that grows a tensor where it lies, as one that copies it."""
    if isinstance(op, Transfer) and op.function == "cat" and op.in_place:
        return replace(op, elements=workload.tensors[op.outputs[0]].elements, in_place=False)
    return op


def _fuse_attention(
    workload: Workload, on_chip: dict[str, set[str]]
) -> tuple[Workload, frozenset[str], dict[str, Shown]]:
    """Run each attention as one kernel, its backward pass as another: the workload with vector ops over what is
    computed of their scores, the ops that another op's kernel runs too, and what masked products compute."""
    fused: set[str] = set()
    shown: dict[str, Shown] = {}
    before: dict[str, Op] = {}
    changed: dict[str, Op] = {}
    tensors: dict[str, Tensor] = {}
    for attention in attentions(workload):
        forward, backward = attention.forward, attention.backward
        for name, kept in attention.on_chip.items():
            on_chip.setdefault(name, set()).update(kept)
        fused |= {op.name for op in (*forward[1:], *backward[1:])}
        if backward:
            again, scores = backward[0].outputs[0], workload.tensors[forward[0].outputs[0]]
            tensors[again] = replace(scores, name=again)
            before[backward[1].name] = backward[0]
        if attention.shown < 1:
            for op in (*forward, *backward):
                if isinstance(op, Einsum):
                    shown[op.name] = Shown(attention.side(op), attention.shown)
                elif isinstance(op, Vector):
                    changed[op.name] = attention.computed(op)
    if not before and not changed:
        return workload, frozenset(fused), shown
    listed = (each for op in workload.ops for each in (before.get(op.name), changed.get(op.name, op)))
    return workload.with_ops(tuple(op for op in listed if op is not None), **tensors), frozenset(fused), shown


_FLOWING = ("activation", "gradient")

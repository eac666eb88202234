"""Off-chip memory that a workload needs: what persists, and the most that is alive at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from zerocast.simulator.result import Footprint
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.ir import Einsum, Index, Op, Tensor, Transfer, Workload
from zerocast.workloads.patterns import DENSE, Pattern

_PERSISTENT = ("weight", "optimizer_state", "constant", "input")


def stored_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor off chip; a tensor kept as N:M values and offsets takes only those."""
    groups = tensor.pattern.groups
    if groups is not None:
        stored = storage_bits("nm_offsets", groups, {groups.rank: tensor.elements}, tensor.bits)
        return int(-(-(stored.value_bits + stored.metadata_bits) // 8))
    return tensor.bytes


def footprint(
    workload: Workload, offsets: bool = False, on_chip: Collection[str] = (), dense: Collection[str] = ()
) -> Footprint:
    """Bytes of weights, gradients, optimizer state and activations saved for the backward passes, and the peak.

    offsets: the off-chip memory keeps N:M weights as values and offsets, so a weight that every reader sees under one
    N:M pattern takes no more; dense: weights that are kept dense all the same. on_chip: tensors that never get there.

    Ops run in the order of the list.
    """
    compressed = _compressed(workload, dense) if offsets else {}
    spans, saved = lives(workload, offsets, on_chip, dense), _saved(workload)
    lasting = sum(span.bytes for span in spans if span.first < 0)
    return Footprint(
        weight_bytes=sum(compressed.get(t.name, t.bytes) for t in workload.tensors.values() if t.role == "weight"),
        gradient_bytes=sum(t.bytes for t in _weight_gradients(workload)),
        optimizer_bytes=_sum(workload, "optimizer_state"),
        saved_activation_bytes=sum(span.bytes for span in spans if span.tensor in saved),
        peak_bytes=max(alive(spans, len(workload.ops)), default=lasting),
    )


def _compressed(workload: Workload, dense: Collection[str]) -> dict[str, int]:
    """Bytes of each weight that all its readers see under one and the same N:M pattern, but for those in `dense`."""
    seen: dict[str, set[Pattern]] = {}
    for op in workload.ops:
        for position, name in enumerate(op.inputs):
            pattern = workload.pattern_of(op, position) if isinstance(op, Einsum) and position < 2 else DENSE
            seen.setdefault(name, set()).add(pattern)
    return {
        name: stored_bytes(replace(workload.tensors[name], pattern=pattern))
        for name, patterns in seen.items()
        for pattern in patterns
        if workload.tensors[name].role == "weight" and len(patterns) == 1 and pattern.groups is not None
        if name not in dense
    }


@dataclass(frozen=True, slots=True)
class Span:
    """Life of a tensor off chip: from the op that writes it (-1: it is there before) to the last that needs it."""

    tensor: str
    bytes: int
    first: int
    last: int


def lives(
    workload: Workload, offsets: bool = False, on_chip: Collection[str] = (), dense: Collection[str] = ()
) -> list[Span]:
    """Lives of all tensors that ops touch; arguments as of `footprint`.

    A tensor lives from the op that writes it to the last op that reads it, or a part of it; weights, optimizer state,
    constants and inputs live throughout, results to the end.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, op in enumerate(workload.ops):
        for name in op.outputs:
            first.setdefault(name, number)
        last |= dict.fromkeys((*op.inputs, *op.outputs), number)
    last |= {name: len(workload.ops) - 1 for name in workload.results & last.keys()}
    for op in reversed(workload.ops):
        for name in lies_in(op):  # a part of it is needed as long as it
            last[name] = max(last[name], *(last[output] for output in op.outputs))
    first |= {name: -1 for name in last if workload.tensors[name].role in _PERSISTENT}
    own = {name: stored_bytes(workload.tensors[name]) for name in last} | _shared(workload)
    own |= (_compressed(workload, dense) if offsets else {}) | dict.fromkeys(on_chip, 0)
    return [Span(name, own[name], first[name], last[name]) for name in last if name in first]


def alive(spans: Iterable[Span], ops: int) -> list[int]:
    """Bytes that are alive while each op runs."""
    change = [0] * (ops + 1)
    for span in spans:
        change[max(span.first, 0)] += span.bytes
        change[ops if span.first < 0 else span.last + 1] -= span.bytes
    return list(accumulate(change[:ops]))


def lies_in(op: Op) -> tuple[str, ...]:
    """Inputs that an op's outputs lie in."""
    if isinstance(op, Transfer) and op.elements == 0:
        return op.inputs
    return op.inputs[:1] if isinstance(op, (Transfer, Index)) and op.in_place else ()


def _shared(workload: Workload) -> dict[str, int]:
    """Bytes of tensors that lie in others: nothing, or what they add to a tensor that grows."""
    return {
        name: max(workload.tensors[name].bytes - sum(workload.tensors[base].bytes for base in bases), 0)
        for op in workload.ops
        if (bases := lies_in(op))
        for name in op.outputs
    }


def _sum(workload: Workload, role: str) -> int:
    return sum(tensor.bytes for tensor in workload.tensors.values() if tensor.role == role)


def _weight_gradients(workload: Workload) -> list[Tensor]:
    names = {name for op in workload.ops if op.phase == "UPDATE" for name in op.inputs}
    return [workload.tensors[name] for name in names if workload.tensors[name].role == "gradient"]


def _saved(workload: Workload) -> set[str]:
    """Activations written in the forward pass and read in a later one."""
    written = {name for op in workload.ops if op.phase == "FF" for name in op.outputs}
    read = {name for op in workload.ops if op.phase != "FF" for name in op.inputs}
    return {name for name in written & read if workload.tensors[name].role == "activation"}

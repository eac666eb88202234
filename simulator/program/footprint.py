"""Off-chip memory that a workload needs: what persists, and the most that is alive at once, by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, groupby

from zerocast.simulator.program.storage import PLAIN, Storage, Stored, stored_bytes, stored_weights
from zerocast.simulator.result import CLASSES, Footprint
from zerocast.workloads.ir import Index, Op, Transfer, Vector, Workload

_PERSISTENT = ("weight", "optimizer_state", "constant", "input")


def footprint(workload: Workload, storage: Storage = PLAIN) -> Footprint:
    """Bytes of weights, gradients, optimizer state and activations kept for the backward passes, and the peak with what
    it is made of. Ops run in the order of the list."""
    spans = lives(workload, storage)
    over_time = by_class(spans, len(workload.ops))
    total = {name: sum(span.bytes for span in spans if span.kind == name) for name in CLASSES}
    held = [sum(each) for each in zip(*over_time.values(), strict=True)]
    at = max(range(len(held)), key=held.__getitem__, default=None)
    peak = {name: sum(s.bytes for s in spans if s.first < 0 and s.kind == name) if at is None else bytes_of[at]
            for name, bytes_of in over_time.items()}  # fmt: skip
    weights = stored_weights(workload, storage.formats, storage.given)
    return Footprint(
        weight_bytes=sum(_scales(workload).values()) + sum(weights.get(t.name, Stored(t.bytes)).bytes
                                             for t in workload.tensors.values() if t.role == "weight"),
        gradient_bytes=total["gradients"],
        optimizer_bytes=total["optimizer state"] + total["master copies"],
        saved_activation_bytes=total["activations kept"],
        peak_bytes=sum(peak.values()),
        peak={name: size for name, size in peak.items() if size},
        over_time={name: tuple(sizes) for name, sizes in over_time.items() if any(sizes)},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """Life of a tensor, or of its indices, off chip: from the op that writes it (-1: it is there before) to the last
    that needs it. kind: its class, one of `CLASSES`."""

    tensor: str
    bytes: int
    first: int
    last: int
    kind: str = "transient"


def lives(workload: Workload, storage: Storage = PLAIN) -> list[Span]:
    """Lives of all tensors that ops touch.

    A tensor lives from the op that writes it, or of one that comes from elsewhere the first that reads it, to the last
    op that reads it, or a part of it; weights, optimizer state, constants and inputs live throughout, results to the
    end.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, op in enumerate(workload.ops):
        for name in (*op.inputs, *op.outputs):
            first.setdefault(name, number)
        last |= dict.fromkeys((*op.inputs, *op.outputs), number)
    last |= {name: len(workload.ops) - 1 for name in workload.results & last.keys()}
    for op in reversed(workload.ops):
        for name in lies_in(op):  # a part of it is needed as long as it
            last[name] = max(last[name], *(last[output] for output in op.outputs))
    first |= {name: -1 for name in last if workload.tensors[name].role in _PERSISTENT}
    own = {name: Stored(stored_bytes(workload.tensors[name])) for name in last} | _shared(workload)
    own |= stored_weights(workload, storage.formats, storage.given) | dict.fromkeys(storage.on_chip, Stored(0))
    kinds = _kinds(workload, first, last)
    spans = [Span(name, own[name].values, first[name], last[name], kinds[name]) for name in last]
    spans += [Span(name, own[name].indices, first[name], last[name], "indices") for name in last if own[name].indices]
    spans += [Span(name, size, -1, last[name], "weights") for name, size in _scales(workload).items() if name in last]
    return spans + (list(_intermediate(workload)) if storage.together else [])


def _scales(workload: Workload) -> dict[str, int]:
    """Bytes of the scales of each weight that is stored in a narrower type."""
    scaled = (t for t in workload.tensors.values() if t.role == "weight" and t.scale_bits)
    return {tensor.name: math.ceil(tensor.elements * tensor.scale_bits / 8) for tensor in scaled}


def _kinds(workload: Workload, first: Mapping[str, int], last: Mapping[str, int]) -> dict[str, str]:
    """The class of each tensor. Activations that are written before anything goes backward and read after it are kept;
    what a checkpoint computes again is not."""
    turn = next((number for number, op in enumerate(workload.ops) if op.phase != "FF"), len(workload.ops))
    caches = {op.inputs[0] for op in workload.ops if isinstance(op, (Transfer, Index)) and op.in_place}
    of_weights = {name for op in workload.ops if op.phase == "WU" for name in op.outputs}
    of_weights |= {name for op in workload.ops if op.phase == "UPDATE" for name in op.inputs}
    plain = {"weight": "weights", "constant": "constants", "index": "indices"}
    kinds: dict[str, str] = {}
    for name in last:
        tensor = workload.tensors[name]
        if tensor.role == "optimizer_state":
            kinds[name] = "master copies" if tensor.made_of else "optimizer state"
        elif tensor.role == "input":
            kinds[name] = "cache" if name in caches else "inputs"
        elif tensor.role == "gradient":
            kinds[name] = "gradients" if name in of_weights else "transient"
        elif tensor.role == "activation":
            kinds[name] = "activations kept" if first.get(name, -1) < turn <= last[name] else "transient"
        else:
            kinds[name] = plain[tensor.role]
    return kinds


def _intermediate(workload: Workload) -> Iterator[Span]:
    """What a kernel that updates several weights keeps beside their states while it runs."""
    numbered = groupby(enumerate(workload.ops), lambda each: each[1].phase == "UPDATE" and isinstance(each[1], Vector))
    for is_update, run in numbered:
        ops = list(run)
        for _, op in ops:
            if is_update and isinstance(op, Vector) and op.scratch:
                size = op.scratch * op.elements * workload.tensors[op.outputs[-1]].bits // 8
                yield Span(op.outputs[0], size, ops[0][0], ops[-1][0])


def by_class(spans: Iterable[Span], ops: int) -> dict[str, list[int]]:
    """Bytes of each class that are alive while each op runs."""
    spans = list(spans)
    return {name: alive((span for span in spans if span.kind == name), ops) for name in CLASSES}


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


def _shared(workload: Workload) -> dict[str, Stored]:
    """What tensors add that lie in others: nothing, or what they add to a tensor that grows."""
    return {
        name: Stored(max(workload.tensors[name].bytes - sum(workload.tensors[base].bytes for base in bases), 0))
        for op in workload.ops
        if (bases := lies_in(op))
        for name in op.outputs
    }

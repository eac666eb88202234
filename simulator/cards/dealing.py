"""Layers dealt to cards in order, whole: which ops each card runs, and what it needs of its memory for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise, takewhile

from zerocast.simulator.errors import SimulationError
from zerocast.simulator.program.footprint import alive, lives
from zerocast.simulator.program.storage import Storage
from zerocast.workloads.ir import Einsum, Op, Workload

Stretch = tuple[int, int]
"""The forward ops of a stage: number of the first, and of the one behind the last."""


class Dealing:
    """The ops of a run by forward op: all that an op's backward passes and updates do is its own, too.

    forward: the ops before anything goes backward. place: by name of op, the number of its forward op. sent_bytes: that
    a stage which ends before each forward op sends to later ones [forward ops + 1]. layers: with weights of products,
    each with the number of its first forward op.
    """

    def __init__(self, ran: Workload) -> None:
        turn = next((number for number, op in enumerate(ran.ops) if op.phase != "FF"), len(ran.ops))
        self.ran, self.forward = ran, ran.ops[:turn]
        self.place = _places(ran.ops, turn)
        self.sent_bytes = self._sent_bytes()
        self.layers: dict[str, int] = {}
        for number, op in enumerate(self.forward):
            if isinstance(op, Einsum) and any(ran.tensors[name].weight for name in op.inputs):
                self.layers.setdefault(op.layer, number)

    def _sent_bytes(self) -> list[int]:
        made = {name: number for number, op in enumerate(self.forward) for name in op.outputs}
        last = {name: number for number, op in enumerate(self.forward) for name in op.inputs if name in made}
        change = [0] * (len(self.forward) + 2)
        for name, reader in last.items():
            change[made[name] + 1] += self.ran.tensors[name].bytes
            change[reader + 1] -= self.ran.tensors[name].bytes
        return list(accumulate(change[:-1]))

    def stretches(self, stages: int) -> list[Stretch]:
        """The forward ops of each of so many stages: as many layers with weights in each as in another, where modules
        that hold no more than half a stage's layers stay whole; cut where the least is sent between two layers, at the
        end of the largest module.

        Raises `SimulationError` for more stages than layers.
        """
        starts = list(self.layers.values())
        if stages > max(len(starts), 1):
            raise SimulationError(f"a pipeline of {stages} stages: the network has {len(starts)} layers with weights")
        whole = list(_starts([name.split(".") for name in self.layers], len(starts) / stages / 2))
        ends = [0]
        for number in range(1, stages):
            wanted = number * len(starts) // stages
            at = min(whole, key=lambda start: abs(start - wanted))
            cuts = range(starts[at - 1] + 1, starts[at] + 1)
            ends.append(min(cuts, key=lambda cut: (self.sent_bytes[cut], self._within(cut))))
        return list(pairwise([*ends, len(self.forward)]))

    def _within(self, cut: int) -> int:
        """How deep the module is that the forward ops on both sides of a cut lie in."""
        before, after = (op.layer.split(".") for op in self.forward[cut - 1 : cut + 1])
        return sum(1 for _ in takewhile(lambda names: names[0] == names[1], zip(before, after, strict=False)))

    def stage(self, stretch: Stretch) -> Workload:
        """What a stage runs: its forward ops, their backward passes and their updates."""
        start, end = stretch
        return self.ran.with_ops(tuple(op for op in self.ran.ops if start <= self.place[op.name] < end))


def held_bytes(stage: Workload, storage: Storage, on_their_way: int = 1, adds_up: bool = False) -> int:
    """The most that lies at once in the memory of a card that runs a stage: for one micro-batch what `footprint` counts
    for its ops. What a backward pass will read of each further micro-batch on its way lies beside it.

    adds_up: gradients of weights are sums over several micro-batches, and lie there from the first one on.
    """
    ops, tensors = stage.ops, stage.tensors
    spans = lives(stage, storage)
    if adds_up:
        spans = [replace(span, first=0) if span.kind == "gradients" and ops[span.first].phase != "UPDATE" else span
                 for span in spans]  # fmt: skip
    turn = next((number for number, op in enumerate(ops) if op.phase != "FF"), len(ops))
    kept = sum(span.bytes for span in spans
               if span.first < turn <= span.last and tensors[span.tensor].role in _OF_ONE_BATCH)  # fmt: skip
    passes = max((number for number, op in enumerate(ops) if op.phase != "UPDATE"), default=-1)
    beside = (on_their_way - 1) * kept
    return max((size + beside * (number <= passes) for number, size in enumerate(alive(spans, len(ops)))), default=0)


_OF_ONE_BATCH = ("input", "activation", "index")


def _starts(paths: Sequence[Sequence[str]], most: float, depth: int = 0, first: int = 0) -> Iterator[int]:
    """Numbers, from `first` on, of the layers that begin a module which holds at most so many of them. paths: of the
    layers, as names from the network's root on."""
    if len(paths) <= max(most, 1):
        yield first
        return
    for _, alike in groupby(paths, key=lambda path: path[: depth + 1]):
        inside = list(alike)
        yield from _starts(inside, most, depth + 1, first)
        first += len(inside)


def _places(ops: Sequence[Op], turn: int) -> dict[str, int]:
    """For each op the number of the forward op that it belongs to: itself, the one it is there for (`Op.of`), else the
    first of its layer (as what a checkpoint computes again), else that of the op before."""
    places = {op.name: number for number, op in enumerate(ops[:turn])}
    of_layer: dict[str, int] = {}
    for number, op in enumerate(ops[:turn]):
        of_layer.setdefault(op.layer, number)
    before = turn - 1
    for op in ops[turn:]:
        places[op.name] = before = places.get(op.of, of_layer.get(op.layer, before))
    return places

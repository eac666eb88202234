"""A zero-skipping engine run cycle by cycle in plain Python: lanes that count down, queues, broadcasts and barriers.

Written from the words of the accelerator schema alone (`Deal`, `Arrangement`, `Vector`, `Skipping`); it calls no
function of the simulator. Slow on purpose: nothing is added up that a lane can count down.

What the words leave open is read as follows.

- Time. A broadcast takes no time: a lane that is free works on a round in the cycle of its broadcast. Where
  accumulators make the work fractional, a lane starts its next queued round within the cycle. `whole_cycles` says
  whether rounds are broadcast, and barriers open, at any moment (broadcasts still a cycle or more apart) or only where
  a cycle begins, as a clocked broadcaster must. The default is any moment, since a fraction of a cycle is a mean; the
  two cannot differ where all work is whole.
- `step_cycles` hold up the whole sync group, so that they add to its time whatever the queue hides. Only without any
  wait do they lengthen one lane's work. `fill_cycles` likewise; an engine without any work fills nothing.
- Padding words take the time of elements and enter the accumulators as elements. Runs of zeros start anew with every
  round, lane and index of K. An operand that is not skipped counts each of its elements once, whatever its format;
  law dot meets elements at their places, where a padding word has no pair.
- A batch tile of several items: the lane's work in a round is the sum over its items.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement, Deal, Skipping, Vector
from zerocast.simulator.errors import SimulationError

Round = list[Fraction]
"""Work of each lane in one round along K, in cycles."""
Sums = list[Round]
"""The rounds along K of one (batch, n, m) round."""


class Configuration(NamedTuple):
    """The arguments of `simulate_cycles`, in its order."""

    a: NDArray[np.bool_]
    w: NDArray[np.bool_]
    skipping: Skipping
    arrangement: Arrangement
    skip_input: bool
    skip_weight: bool
    weight_run_bits: int | None = None
    input_run_bits: int | None = None


def simulate_cycles(
    a: NDArray[np.bool_],
    w: NDArray[np.bool_],
    skipping: Skipping,
    arrangement: Arrangement,
    skip_input: bool,
    skip_weight: bool,
    weight_run_bits: int | None = None,
    input_run_bits: int | None = None,
    *,
    whole_cycles: bool = False,
) -> int | float:
    """Cycles of the lanes for a whole product; bank conflicts and memories are left out.

    `a` [B, M, K] and `w` [B, K, N] are true where an operand is nonzero. Convolutions that scatter come as matrices
    already: K channels, M input positions, N output channels times kernel positions. The run bits are the widths of
    the run fields of the operands' run-length formats, None without padding (EIE, Han et al., ISCA 2016, section
    III-B). `whole_cycles`: broadcasts and barriers only where a cycle begins.

    Raises `SimulationError` for law packed, for shapes that do not fit and for blocks that do not divide a tile.
    """
    if skipping.law == "packed":
        raise SimulationError("law packed has no lanes of its own to simulate; use cartesian or dot")
    if a.ndim != 3 or w.ndim != 3 or (a.shape[0], a.shape[2]) != w.shape[:2]:
        raise SimulationError(f"a {a.shape} and w {w.shape} do not fit; pass a [B, M, K] and w [B, K, N]")
    case = Configuration(a, w, skipping, arrangement, skip_input, skip_weight, weight_run_bits, input_run_bits)
    plan = _work(case)
    cycles = _without_waits(plan, skipping) if skipping.wait == "never" else _in_groups(case, plan, whole_cycles)
    return int(cycles) if cycles.denominator == 1 else float(cycles)


def shares(extent: int, deal: Deal) -> list[list[list[int]]]:
    """Elements of a rank of `extent` by round and lane: `shares(...)[round][lane]` are indices in order.

    Raises `SimulationError` where the block does not divide the tile.
    """
    tile = deal.tile or -(-extent // deal.lanes)
    block = deal.block or tile
    if tile % block:
        raise SimulationError(f"a block of {block} does not divide a tile of {tile}; choose a divisor")
    rounds = []
    for start in range(0, extent, deal.lanes * tile):
        lanes: list[list[int]] = [[] for _ in range(deal.lanes)]
        for element in range(min(deal.lanes * tile, extent - start)):
            lanes[element // block % deal.lanes].append(start + element)
        rounds.append(lanes)
    return rounds


def stored_words(nonzero: Iterable[bool], run_bits: int | None) -> int:
    """Words of a skipped sequence: its nonzeros, and a padding word after each 2^run_bits zeros before a nonzero."""
    words = waiting = zeros = 0
    for value in nonzero:
        if value:
            words += waiting + 1
            waiting = zeros = 0
            continue
        zeros += 1
        if run_bits is not None and zeros == 2**run_bits:
            waiting, zeros = waiting + 1, 0
    return words


def _work(case: Configuration) -> list[Sums]:
    """Work by (batch, n, m) round, round along K and lane; lanes are numbered row-major over (batch, m, n, k)."""
    deals, (items, rows, depth), cols = case.arrangement, case.a.shape, case.w.shape[2]
    along_k = shares(depth, deals.k)
    walk = product(shares(items, deals.batch), shares(cols, deals.n), shares(rows, deals.m))
    lane_work = _dot if case.skipping.law == "dot" else _cartesian
    return [
        [
            [
                sum((lane_work(case, item, m, n, k) for item in batch), Fraction(0))
                for batch, m, n, k in product(batches, ms, ns, ks)
            ]
            for ks in along_k
        ]
        for batches, ns, ms in walk
    ]


def _cartesian(case: Configuration, item: int, ms: Sequence[int], ns: Sequence[int], ks: Sequence[int]) -> Fraction:
    """Cycles of a lane that multiplies, for each k, all vectors of a by all vectors of b."""
    vector, accumulate = case.skipping.vector, case.skipping.accumulate_words_per_cycle
    cycles = Fraction(0)
    for k in ks:
        column, row = [bool(case.a[item, m, k]) for m in ms], [bool(case.w[item, k, n]) for n in ns]
        x = stored_words(column, case.input_run_bits) if case.skip_input else len(column)
        y = stored_words(row, case.weight_run_bits) if case.skip_weight else len(row)
        products = Fraction(math.ceil(x / vector.input) * math.ceil(y / vector.weight))
        sums = x * math.ceil(y / vector.weight) * vector.weight  # a vector of sums is taken whole
        cycles += products if accumulate is None else max(products, sums / _exact(accumulate))
    return cycles


def _dot(case: Configuration, item: int, ms: Sequence[int], ns: Sequence[int], ks: Sequence[int]) -> Fraction:
    """Cycles of a lane that walks, for each output and chunk of its share of K, the pairs that match."""
    chunk = case.skipping.chunk or max(len(ks), 1)
    cycles = 0
    for m, n, first in product(ms, ns, range(0, len(ks), chunk)):
        pairs = 0
        for k in ks[first : first + chunk]:
            pairs += bool((case.a[item, m, k] or not case.skip_input) and (case.w[item, k, n] or not case.skip_weight))
        cycles += math.ceil(pairs / case.skipping.vector.weight)
    return Fraction(cycles)


def _exact(number: float) -> Fraction:
    """A number as it is written in decimals, not as binary floats round it."""
    return Fraction(str(number))


class _Lane:
    """A lane with its queue; the head of the queue is what it works on. Work is in ticks, parts of a cycle."""

    def __init__(self) -> None:
        self.queue: deque[int] = deque()

    def accept(self, ticks: int) -> None:
        """Queue a round; without work it is finished when it reaches the head, in no time."""
        self.queue.append(ticks)
        self._finish()

    def advance(self) -> None:
        """Work for one tick."""
        if self.queue:
            self.queue[0] -= 1
            self._finish()

    def _finish(self) -> None:
        while self.queue and self.queue[0] == 0:
            self.queue.popleft()


class _Group:
    """Lanes that wait for one another, and the broadcaster that feeds them."""

    def __init__(self, lanes: int, ahead: int, cycle: int, whole_cycles: bool) -> None:
        """`cycle`: ticks of a cycle; `ahead`: rounds that may wait in a lane's queue behind the one in work."""
        self.lanes = [_Lane() for _ in range(lanes)]
        self.ahead, self.cycle, self.whole_cycles = ahead, cycle, whole_cycles
        self.now = 0
        self.next_broadcast = 0

    def run(self, broadcasts: Iterable[Sequence[Sequence[int]]]) -> None:
        """Broadcast rounds (one or more at a time: [rounds][lanes] ticks) in order, then wait for all lanes."""
        waiting = deque(broadcasts)
        while waiting or any(lane.queue for lane in self.lanes):
            if waiting and self._may_broadcast():
                self.next_broadcast = self.now + self.cycle
                for work in waiting.popleft():
                    for lane, ticks in zip(self.lanes, work, strict=True):
                        lane.accept(ticks)
            self.now += 1
            for lane in self.lanes:
                lane.advance()

    def _may_broadcast(self) -> bool:
        clocked = not self.whole_cycles or self.now % self.cycle == 0
        free = all(len(lane.queue) < self.ahead + 1 for lane in self.lanes)
        return clocked and free and self.now >= self.next_broadcast


def _ticks_per_cycle(plan: Sequence[Sums]) -> int:
    """Smallest number of ticks that makes all work whole; 1, a tick a cycle, where no accumulators share a cycle."""
    return math.lcm(*(work.denominator for sums in plan for lanes in sums for work in lanes))


def _in_groups(case: Configuration, plan: Sequence[Sums], whole_cycles: bool) -> Fraction:
    """Cycles of the group that ends last, where lanes wait at every step or at every output."""
    lanes = case.arrangement.lanes
    size = case.skipping.sync_group or lanes
    cycle = _ticks_per_cycle(plan)
    ends = [Fraction(0)]
    for first in range(0, lanes, size):
        mine = [[work[first : first + size] for work in sums] for sums in plan]
        ends.append(_group_cycles(mine, case.skipping, cycle, whole_cycles))
    return max(ends)


def _group_cycles(plan: Sequence[Sums], skipping: Skipping, cycle: int, whole_cycles: bool) -> Fraction:
    """Cycles of one group; `plan` holds the work of its own lanes."""
    overhead = Fraction(0)
    group: _Group | None = None
    for sums in plan:
        rounds = [[int(work * cycle) for work in lanes] for lanes in sums if any(lanes)]
        if not rounds:
            continue
        group = group or _Group(len(rounds[0]), skipping.queue, cycle, whole_cycles)
        group.run([[lanes] for lanes in rounds] if skipping.wait == "step" else [rounds])
        overhead += _exact(skipping.fill_cycles) + len(rounds) * _exact(skipping.step_cycles)
    return overhead + Fraction(group.now, cycle) if group else overhead


def _without_waits(plan: Sequence[Sums], skipping: Skipping) -> Fraction:
    """Cycles of the lane that ends last, where each goes through its own rounds alone."""
    step = _exact(skipping.step_cycles)
    own = [[[work + step if work else work for work in lanes] for lanes in sums] for sums in plan]
    rounds = [lanes for sums in own for lanes in sums if any(lanes)]
    if not rounds:
        return Fraction(0)
    cycle = _ticks_per_cycle(own)
    group = _Group(len(rounds[0]), 0, cycle, whole_cycles=False)
    group.run([[[int(work * cycle) for work in lanes] for lanes in rounds]])
    return Fraction(group.now, cycle) + _exact(skipping.fill_cycles)


def random_configuration(rng: np.random.Generator) -> Configuration:
    """A small engine and product, varied in all that `simulate_cycles` reads; whole_cycles apart.

    Run bits are drawn for law cartesian and skipped operands alone, since they have no effect elsewhere.
    """
    law: Literal["cartesian", "dot"] = "cartesian" if rng.random() < 0.6 else "dot"
    items, rows, cols, depth = (int(rng.integers(1, top + 1)) for top in (3, 24, 24, 24))
    a = rng.random((items, rows, depth)) < rng.uniform(0.1, 1.0)
    w = rng.random((items, depth, cols)) < rng.uniform(0.1, 1.0)
    arrangement = _random_arrangement(rng, items, rows, cols, depth)
    lanes = arrangement.lanes
    groups = [None, *(size for size in range(1, lanes + 1) if lanes % size == 0)]
    skipping = Skipping(
        law=law,
        arrangements=(arrangement,),
        vector=Vector(input=1 if law == "dot" else int(rng.integers(1, 5)), weight=int(rng.integers(1, 5))),
        chunk=_pick(rng, (None, 1, 2, 3, 5, 8)) if law == "dot" else None,
        wait=("step", "step", "output", "never")[int(rng.integers(4))],
        queue=int(rng.integers(0, 4)),
        sync_group=_pick(rng, groups),
        accumulate_words_per_cycle=(None, None, 0.75, 1.5, 2.5, 4.0)[int(rng.integers(6))] if law != "dot" else None,
        step_cycles=(0.0, 0.0, 0.5, 1.0, 2.0)[int(rng.integers(5))],
        fill_cycles=(0.0, 0.0, 2.5, 7.0)[int(rng.integers(4))],
    )
    skip_input, skip_weight = bool(rng.random() < 0.75), bool(rng.random() < 0.75)
    weight_bits, input_bits = (_pick(rng, (None, 1, 2, 3)) if law != "dot" else None for _ in range(2))
    return Configuration(
        *(a, w, skipping, arrangement, skip_input, skip_weight),
        weight_run_bits=weight_bits if skip_weight else None,
        input_run_bits=input_bits if skip_input else None,
    )


def _random_arrangement(rng: np.random.Generator, items: int, rows: int, cols: int, depth: int) -> Arrangement:
    """Eight lanes at most, over ranks in random order."""
    lanes, left = dict.fromkeys(("batch", "m", "n", "k"), 1), 8
    for rank in rng.permutation(list(lanes)):
        lanes[rank] = int(rng.integers(1, left + 1))
        left //= lanes[rank]
    return Arrangement(
        batch=_random_deal(rng, items, lanes["batch"], (1, 1, 1, 2, None)),
        m=_random_deal(rng, rows, lanes["m"], (None, 1, 2, 4, 6)),
        n=_random_deal(rng, cols, lanes["n"], (None, 1, 2, 4, 6)),
        k=_random_deal(rng, depth, lanes["k"], (None, 1, 1, 1, 2, 4)),
    )


def _random_deal(rng: np.random.Generator, extent: int, lanes: int, tiles: Sequence[int | None]) -> Deal:
    tile = _pick(rng, tiles)
    whole = tile or -(-extent // lanes)
    block = _pick(rng, [None, *(size for size in range(1, whole + 1) if whole % size == 0)])
    return Deal(lanes=lanes, tile=tile, block=block)


def _pick(rng: np.random.Generator, choices: Sequence[int | None]) -> int | None:
    return choices[int(rng.integers(len(choices)))]

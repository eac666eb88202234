"""Cycles of an engine from the bits of both operands: the work of each lane, and the waits among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement, Skipping
from zerocast.simulator.laws.lanes.dealing import Dealt
from zerocast.simulator.laws.lanes.losses import EngineCycles, LaneWork, split_cycles
from zerocast.simulator.laws.lanes.operands import Bits
from zerocast.simulator.laws.lanes.times.waiting import at_outputs, at_steps, grouped
from zerocast.simulator.laws.lanes.work import Layout, cartesian_parts, dot_parts, layout, side

Array = NDArray[np.float64]


def walked_cycles(
    a: Bits,
    w: Bits,
    skipping: Skipping,
    arrangement: Arrangement,
    skips: tuple[bool, bool],
    runs: tuple[int | None, int | None] = (None, None),
    taps: int = 1,
    useful: float = 1.0,
    mask: Bits | None = None,
) -> EngineCycles:
    """Cycles with the bits a [batch, M, K] and w [batch, N, K]; laws cartesian and dot.

    skips: whether zeros of (a, w) take no time. runs: width of the run field in which each is held, if any.
    taps: columns of w that stand for one output channel of the arrangement. useful: as in `split_cycles`.
    mask: outputs that are asked for [batch, M, N], law dot; None for all.
    """
    lay = layout(arrangement, len(a), a.shape[1], w.shape[1], a.shape[2], taps)
    left = side(a, lay.m, skipping.vector.input, runs[0], skips[0])
    right = side(w, lay.n, skipping.vector.weight, runs[1], skips[1])
    waits = _Waits(skipping, lay)
    if skipping.law == "cartesian":
        parts = cartesian_parts(left, right, lay, skipping.accumulate_pace)
    else:
        parts = dot_parts(a, w, lay, skipping.chunk, skipping.vector.weight, skips, mask)
    for rows, times in parts:
        waits.add(rows, times)
    pairs = _products(left.nonzeros, right.nonzeros)
    if skipping.law == "cartesian":
        work = LaneWork(pairs, _products(left.bare, right.bare), _products(left.cycles, right.cycles), waits.work)
    else:
        work = LaneWork(_matches(a, w, skips, mask), waits.work, waits.work, waits.work)
    cycles, ramp = waits.slowest()
    return split_cycles(skipping, cycles, work, waits.edge, ramp, useful)


def _products(a: Array, w: Array) -> float:
    """Sum over batch and K of the products of both sides' sums over their lanes."""
    return float((a.sum(axis=1, dtype=float) * w.sum(axis=1, dtype=float)).sum())


def _matches(a: Bits, w: Bits, skips: tuple[bool, bool], mask: Bits | None) -> float:
    """Pairs that an engine of law dot multiplies."""
    if mask is not None:
        taken = (bits if skip else np.ones_like(bits) for bits, skip in zip((a, w), skips, strict=True))
        left, right = (bits.astype(np.float32) for bits in taken)
        return sum(float(((x @ y.T) * asked).sum(dtype=float)) for x, y, asked in zip(left, right, mask, strict=True))
    counts = [
        bits.sum(axis=1, dtype=float) if skip else np.full(bits.shape[::2], float(bits.shape[1]))
        for bits, skip in zip((a, w), skips, strict=True)
    ]
    return float((counts[0] * counts[1]).sum())


class _Waits:
    """Adds lane times up, round by round, to the time of every group of lanes that wait for each other."""

    def __init__(self, skipping: Skipping, lay: Layout) -> None:
        self.work = self.edge = 0.0
        self._skipping, self._lay = skipping, lay
        self._group = skipping.sync_group or skipping.lanes
        self._cycles = np.zeros(skipping.lanes // self._group)
        self._ramp = np.zeros_like(self._cycles)
        self._alone, self._ramp_alone = np.zeros(skipping.lanes), np.zeros(skipping.lanes)

    def add(self, rows: slice, times: Array) -> None:
        """Take the lane times of some of M's rounds: [batch, m, n, k rounds, m, n, k lanes]."""
        step, fill = self._skipping.step_cycles, self._skipping.fill_cycles
        self.work += float(times.sum(dtype=float))
        self.edge += self._edge(rows, times)
        times = _with_batch_lanes(times, self._lay.batch)
        if self._skipping.wait == "never":
            ramp_alone = step * (times > 0).sum(axis=(0, 1, 2, 3))
            self._alone += times.sum(axis=(0, 1, 2, 3), dtype=float) + ramp_alone
            self._ramp_alone += ramp_alone
            return
        split = grouped(times, self._group)
        if self._skipping.wait == "step":
            spent = at_steps(split, self._skipping.queue, step)
        else:
            spent = at_outputs(split, step)
        works: NDArray[np.bool_] = np.asarray((split > 0).any(axis=-1))
        ramp = step * works.sum(axis=3) + fill * works.any(axis=3)
        self._ramp += ramp.sum(axis=(0, 1, 2))
        self._cycles += (spent + fill * works.any(axis=3)).sum(axis=(0, 1, 2), dtype=float)

    def slowest(self) -> tuple[float, float]:
        """Cycles of the group that ends last, and those of its ramps."""
        if self._skipping.wait == "never":
            last, fill = int(self._alone.argmax()), self._skipping.fill_cycles
            return float(self._alone[last]) + fill, float(self._ramp_alone[last]) + fill
        last = int(self._cycles.argmax())
        return float(self._cycles[last]), float(self._ramp[last])

    def _edge(self, rows: slice, times: Array) -> float:
        """Cycles that lanes without any element would have taken off the others."""
        lay = self._lay
        m, n, k, batch = ((d.shares > 0).mean(axis=1) for d in (lay.m, lay.n, lay.k, lay.batch))
        items = batch[lay.batch.holders // lay.batch.lanes]
        used = items[:, None, None, None] * m[rows, None, None] * n[:, None] * k
        work = times.sum(axis=(4, 5, 6), dtype=float)
        return float((work * (1 / used - 1)).sum()) / self._skipping.lanes


def _with_batch_lanes(times: Array, dealt: Dealt) -> Array:
    """[batch, m, n, k rounds, lanes..] -> [batch rounds, m, n, k rounds, lanes], batch lanes outermost."""
    flat = np.asarray(dealt.sums(times.reshape(len(times), -1)))
    split = flat.reshape(dealt.rounds, dealt.lanes, *times.shape[1:])
    moved = np.moveaxis(split, 1, 4)
    return moved.reshape(*moved.shape[:4], -1)

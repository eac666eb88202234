"""Cycles of an engine in expectation: order statistics of the lanes under the law of the zeros.

Zeros are independent, each with the density of its channel where that is known; others are drawn (`sampled.py`).
Rounds of one rank differ only where the last one is not full, so that a product has at most sixteen kinds of rounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement, Skipping
from zerocast.simulator.laws.lanes.losses import EngineCycles, LaneWork, split_cycles
from zerocast.simulator.laws.lanes.operands import scattered
from zerocast.simulator.laws.lanes.times.lane_times import Kind, LaneTimes, kinds_of, lane_times
from zerocast.simulator.laws.lanes.times.slowest import expected_slowest
from zerocast.simulator.laws.lanes.work import Layout, layout
from zerocast.simulator.products.gemm import Gemm

Array = NDArray[np.float64]


def expected_cycles(
    gemm: Gemm,
    skipping: Skipping,
    arrangement: Arrangement,
    shares: tuple[Array, Array],
    runs: tuple[int | None, int | None],
) -> EngineCycles:
    """Expectation of what `walked_cycles` finds, laws cartesian and dot.

    shares: of the elements of a and w that take time at each index of K, as `shares_along_k` gives them.

    runs: width of the run field in which each is held, if any.
    """
    conv = scattered(gemm, skipping)
    taps, rows = (conv.taps, conv.positions) if conv is not None else (1, gemm.m)
    lay = layout(arrangement, gemm.batch, rows, gemm.n * taps, gemm.k // taps, taps)
    total = _Total(skipping, lay)
    for kind in kinds_of(lay):
        total.add(kind, lane_times(skipping, lay, kind, shares, runs, gemm.mask.density))
    return total.result(conv.useful if conv is not None else 1.0)


class _Total:
    """Adds the expected times of all kinds of rounds."""

    def __init__(self, skipping: Skipping, lay: Layout) -> None:
        self._skipping, self._lay = skipping, lay
        group = skipping.sync_group or skipping.lanes
        self._groups = 1 if skipping.wait == "never" else skipping.lanes // group
        self._cycles = np.zeros(self._groups)
        self._ramp = self._edge = 0.0
        self._work = np.zeros(4)  # the fields of LaneWork
        self._mean = self._variance = self._most = np.zeros(skipping.lanes)

    def add(self, kind: Kind, found: LaneTimes) -> None:
        """Take `kind.count` rounds over batch, M and N with the lane times `found` along K."""
        items = float(kind.batch.sum())
        spent = float((found.weight * found.mean.sum(axis=(1, 2, 3))).sum())
        self._work = self._work + kind.count * items * np.array([found.pairs, found.bare, found.padded, spent])
        lanes = [(part > 0).mean() for part in (kind.batch, kind.m, kind.n)]
        along = (self._lay.k.shares > 0).mean()
        used = float(np.prod(lanes) * along)
        self._edge += kind.count * items * spent * (1 / used - 1) / self._skipping.lanes
        mean = self._lanes(kind, found.mean)
        skipping = self._skipping
        if skipping.wait == "never":
            weight = found.weight[:, None] * kind.batches
            self._mean = self._mean + (weight * kind.ms * kind.ns * mean).sum(axis=0)
            self._variance = self._variance + (weight * self._lanes(kind, found.variance)).sum(axis=0)
            self._most = self._most + (weight * kind.ms * kind.ns * self._lanes(kind, found.most)).sum(axis=0)
            busy = float((found.weight * found.some).sum()) * kind.count
            self._ramp += skipping.step_cycles * busy
            return
        busy = float((found.weight * found.some).sum())
        variance = self._lanes(kind, found.variance)
        split = [part.reshape(len(part), self._groups, -1) for part in (mean, variance)]
        weight = found.weight[:, None, None]
        spent_each = expected_slowest((weight * split[0]).sum(axis=0), (weight * split[1]).sum(axis=0))
        most = self._lanes(kind, found.most).reshape(split[0].shape)
        spent_each = np.minimum(spent_each, (weight * most).sum(axis=0).max(axis=-1))
        if skipping.wait == "step":
            lively = self._lanes(kind, found.lively).reshape(split[0].shape)
            spent_each = _stepwise(found, split[0], lively, most, skipping.queue, spent_each)
        ramp = skipping.step_cycles * busy + skipping.fill_cycles * min(busy, 1.0)
        self._cycles += kind.count * (spent_each + ramp)
        self._ramp += kind.count * ramp

    def _lanes(self, kind: Kind, part: Array) -> Array:
        """[classes, m, n, k lanes] -> [classes, all lanes], batch lanes outermost."""
        flat = part.reshape(len(part), 1, -1)
        return np.asarray((flat * kind.batch[None, :, None]).reshape(len(part), -1))

    def result(self, useful: float) -> EngineCycles:
        """Totals; `useful` as in `split_cycles`."""
        skipping = self._skipping
        if skipping.wait == "never":
            self._ramp += skipping.fill_cycles
            slowest = min(float(expected_slowest(self._mean, self._variance)), float(self._most.max()))
            cycles = slowest + self._ramp
        else:
            cycles = float(self._cycles.max())
        work = LaneWork(*map(float, self._work))
        return split_cycles(skipping, cycles, work, self._edge, self._ramp, useful)


def _stepwise(found: LaneTimes, mean: Array, lively: Array, most: Array, queue: int, free: Array) -> Array:
    """Time of one pass over K in which lanes are at most `queue` rounds apart, [groups]; `free` without that limit.

    Rounds without work vanish, and at most one is broadcast per cycle. Without a queue each round lasts as long as
    its slowest lane. With one, the backlog of a lane has the exponential law of heavy traffic (Kingman 1962): where a
    round is broadcast every c cycles, P(backlog > x) = exp(-2 (c - mean) x / variance). One of L lanes has its queue
    of Q + 1 rounds full most of the time once L exp(-2 (c - mean) (Q + 1) mean / variance) = 1, which gives c.
    """
    some = np.maximum(found.some, 1e-12)[:, None]
    rounds = (found.weight * found.some)[:, None]
    alive = mean / some[..., None]
    slowest = np.minimum(expected_slowest(alive, lively), most.max(axis=2))
    lock_step = (rounds * np.maximum(slowest, 1.0)).sum(axis=0)
    if queue == 0:
        return np.asarray(lock_step)
    busy = alive.max(axis=2)
    lag = lively.max(axis=2) * np.log(mean.shape[2]) / (2 * (queue + 1) * np.maximum(busy, 1e-30))
    queued = (rounds * np.maximum(busy + lag, 1.0)).sum(axis=0)
    return np.asarray(np.minimum(np.maximum(queued, free), lock_step))

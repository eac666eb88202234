"""Cycles of an engine in expectation: order statistics of the lanes under the law of the zeros.

Zeros count as independent, each with the density of its channel where that is known. Rounds of one rank differ only
where the last one is not full, so that a product has at most sixteen kinds of rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from accelerators.schema import Arrangement, Skipping
from simulator.engine.losses import EngineCycles, LaneWork, split_cycles
from simulator.engine.moments import Vectors, vectors
from simulator.engine.operands import operand_bits
from simulator.engine.slowest import expected_slowest
from simulator.engine.work import Layout, layout
from simulator.gemm import Gemm, Operand
from workloads.patterns import Mask, PerChannel

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

K_CLASSES = 16
"""Rounds along K told apart at most, where channels have densities of their own."""


def expected_cycles(
    gemm: Gemm,
    skipping: Skipping,
    arrangement: Arrangement,
    shares: tuple[Array, Array],
    runs: tuple[int | None, int | None],
) -> EngineCycles:
    """Expectation of what `walked_cycles` finds, laws cartesian and dot; `shares` are the `channel_shares` of a and w.

    runs: width of the run field in which each is held, if any.
    """
    conv = gemm.conv if skipping.convolution == "scatter" else None
    taps, rows = (conv.taps, conv.positions) if conv is not None else (1, gemm.m)
    lay = layout(arrangement, gemm.batch, rows, gemm.n * taps, gemm.k // taps, taps)
    a_share, w_share = shares
    total = _Total(skipping, lay)
    for kind in _kinds(lay):
        total.add(kind, _lane_moments(skipping, lay, kind, a_share, w_share, runs))
    return total.result()


def channel_shares(gemm: Gemm, side: str, skip: bool, scatter: bool) -> Array:
    """Share of an operand's elements that take time at each index of K, [K], or [1] where all are alike."""
    operand: Operand = getattr(gemm, side)
    pattern = operand.pattern
    if not skip or pattern.is_dense:
        return np.ones(1)
    if isinstance(pattern, Mask):
        return np.asarray(operand_bits(gemm, side, scatter).mean(axis=(0, 1)))
    fiber = [(rank, size) for rank, size in operand.fiber if not (scatter and gemm.conv is not None and rank in "rs")]
    depth = math.prod(size for _, size in fiber)
    if isinstance(pattern, PerChannel) and dict(fiber).get(pattern.rank) == len(pattern.shares):
        at = [rank for rank, _ in fiber].index(pattern.rank)
        inner = math.prod(size for _, size in fiber[at + 1 :])
        outer = depth // (len(pattern.shares) * inner)
        return np.tile(np.repeat(np.asarray(pattern.shares), inner), outer)
    return np.asarray([pattern.density])


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rounds that are alike along batch, M and N: how many, and the elements of each lane along each rank."""

    count: int
    batch: Counts
    m: Counts
    n: Counts


def _kinds(lay: Layout) -> Iterator[_Kind]:
    for (batches, batch), (ms, m), (ns, n) in product(lay.batch.kinds(), lay.m.kinds(), lay.n.kinds()):
        yield _Kind(batches * ms * ns, batch, m, n)


@dataclass(frozen=True, slots=True)
class _Moments:
    """Lane times of one kind of round, class by class along K: [classes, m lanes, n lanes, k lanes].

    weight: rounds of each class. mean: of a lane's time. variance: of what tells lanes apart that share an operand.
    lively: that variance in rounds that have work, whose share is `some`. The rest: sums over the lanes.
    """

    weight: Array
    mean: Array
    variance: Array
    lively: Array
    some: Array
    pairs: float
    bare: float
    padded: float


def _lane_moments(
    skipping: Skipping, lay: Layout, kind: _Kind, a_share: Array, w_share: Array, runs: tuple[int | None, int | None]
) -> _Moments:
    if len(a_share) == len(w_share) == 1:
        kinds = lay.k.kinds()
        weight = np.array([float(count) for count, _ in kinds])
        here = np.array([held for _, held in kinds], dtype=float)[..., None]
        shares = [share[:, None, None] for share in (a_share, w_share)]
    else:
        places = lay.k.places()  # [rounds, lanes, slots]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(K_CLASSES, len(places))).astype(int))
        places, weight = places[chosen], np.full(len(chosen), lay.k.rounds / len(chosen))
        here = (places < lay.k.size).astype(float)
        whole = [np.broadcast_to(share, (lay.k.size,)) for share in (a_share, w_share)]
        shares = [np.take(np.append(share, share[-1]), places) for share in whole]
    if skipping.law == "dot":
        return _dot(skipping, kind, shares, here, weight)
    x = vectors(kind.m, shares[0], skipping.vector.input, runs[0])
    y = vectors(kind.n, shares[1], skipping.vector.weight, runs[1])
    return _cartesian(skipping, lay, x, y, here, weight)


def _cartesian(skipping: Skipping, lay: Layout, x: Vectors, y: Vectors, here: Array, weight: Array) -> _Moments:
    def over(a: Array, w: Array) -> Array:
        """Sum over a lane's slots of the product: [classes, m lanes, n lanes, k lanes]."""
        left, right = (np.broadcast_to(v, (len(v), *here.shape)) for v in (a, w))
        return np.einsum("xckt,yckt,ckt->cxyk", left, right, here, optimize=True)

    mean, squares = over(x.mean, y.mean), over(x.square, y.square)
    variance = squares - over(x.mean**2, y.mean**2)
    alone = _alone(skipping, lay)
    if alone == "m":
        variance = over(x.square - x.mean**2, y.square)
    elif alone == "n":
        variance = over(x.square, y.square - y.mean**2)
    elif alone == "none":
        variance = np.zeros_like(mean)
    a_some, w_some = 1 - np.prod(1 - x.some, axis=0), 1 - np.prod(1 - y.some, axis=0)
    some = 1 - np.prod((1 - a_some * w_some) ** here, axis=(1, 2))
    padded = float((weight * over(x.mean, y.mean).sum(axis=(1, 2, 3))).sum())
    if skipping.accumulate_words_per_cycle is not None:
        ratio = np.maximum(over(x.words, y.words) / skipping.accumulate_words_per_cycle, mean) / np.maximum(mean, 1e-30)
        mean, variance = mean * ratio, variance * ratio**2
    pairs = float((weight * over(x.nonzeros, y.nonzeros).sum(axis=(1, 2, 3))).sum())
    bare = float((weight * over(x.bare, y.bare).sum(axis=(1, 2, 3))).sum())
    alive = np.maximum(some, 1e-12)[:, None, None, None]
    lively = (variance + mean**2) / alive - (mean / alive) ** 2 if alone == "all" else variance / alive
    return _Moments(weight, mean, np.maximum(variance, 0), np.maximum(lively, 0), some, pairs, bare, padded)


def _alone(skipping: Skipping, lay: Layout) -> str:
    """Ranks along which lanes that wait for one another differ: "m" or "n" alone, "none", or "all"."""
    group = skipping.sync_group or skipping.lanes
    if skipping.wait == "never":
        group = skipping.lanes
    inner = {"k": 1, "n": lay.k.lanes, "m": lay.k.lanes * lay.n.lanes}
    wide = {rank for rank, step in inner.items() if getattr(lay, rank).lanes > 1 and group > step}
    if group > lay.k.lanes * lay.n.lanes * lay.m.lanes or "k" in wide or wide == {"m", "n"}:
        return "all"
    return next(iter(wide)) if wide else "none"


def _dot(skipping: Skipping, kind: _Kind, shares: list[Array], here: Array, weight: Array) -> _Moments:
    """Pairs of a chunk are binomial; outputs of a lane count as independent, rows as equal where none is skipped."""
    slots = here.sum(axis=2)
    chunk = float(skipping.chunk or slots.max())
    density = (np.broadcast_to(shares[0] * shares[1], here.shape) * here).sum(axis=2) / np.maximum(slots, 1)
    whole, rest = np.divmod(slots, chunk)
    mean, variance = (np.zeros_like(slots) for _ in range(2))
    for elements, count in ((chunk, whole), *((float(part), rest == part) for part in np.unique(rest[rest > 0]))):
        turns = vectors(np.array([elements]), density, skipping.vector.weight, None)
        mean = mean + count * turns.mean[0]
        variance = variance + count * (turns.square - turns.mean**2)[0]
    outputs = np.multiply.outer(kind.m, kind.n).astype(float)[None, :, :, None]
    equal = np.ones_like(outputs) if (shares[0] < 1).any() else kind.m[None, :, None, None]
    some = 1 - np.prod((1 - density) ** slots, axis=1)
    pairs = float((weight[:, None] * slots * density).sum() * outputs.sum())
    lane = mean[:, None, None, :] * outputs
    work = float((weight[:, None, None, None] * lane).sum())
    spread = variance[:, None, None, :] * outputs * equal
    return _Moments(weight, lane, spread, spread, some, pairs, work, work)


class _Total:
    """Adds the expected times of all kinds of rounds."""

    def __init__(self, skipping: Skipping, lay: Layout) -> None:
        self._skipping, self._lay = skipping, lay
        group = skipping.sync_group or skipping.lanes
        self._groups = 1 if skipping.wait == "never" else skipping.lanes // group
        self._cycles = np.zeros(self._groups)
        self._ramp = self._edge = 0.0
        self._work = np.zeros(4)  # the fields of LaneWork
        self._mean = self._variance = np.zeros(skipping.lanes)

    def add(self, kind: _Kind, found: _Moments) -> None:
        """Take `kind.count` rounds over batch, M and N with the lane times `found` along K."""
        items = float(kind.batch.sum())
        spent = float((found.weight * found.mean.sum(axis=(1, 2, 3))).sum())
        self._work = self._work + kind.count * items * np.array([found.pairs, found.bare, found.padded, spent])
        lanes = [(part > 0).mean() for part in (kind.batch, kind.m, kind.n)]
        along = (self._lay.k.shares > 0).mean()
        used = float(np.prod(lanes) * along)
        self._edge += kind.count * items * spent * (1 / used - 1) / self._skipping.lanes
        mean, variance = (self._lanes(kind, part) for part in (found.mean, found.variance))
        skipping = self._skipping
        if skipping.wait == "never":
            weight = found.weight[:, None] * kind.count
            self._mean = self._mean + (weight * mean).sum(axis=0)
            self._variance = self._variance + (weight * variance).sum(axis=0)
            busy = float((found.weight * found.some).sum()) * kind.count
            self._ramp += skipping.step_cycles * busy
            return
        busy = float((found.weight * found.some).sum())
        split = [part.reshape(len(part), self._groups, -1) for part in (mean, variance)]
        weight = found.weight[:, None, None]
        spent_each = expected_slowest((weight * split[0]).sum(axis=0), (weight * split[1]).sum(axis=0))
        if skipping.wait == "step":
            lively = self._lanes(kind, found.lively).reshape(split[0].shape)
            spent_each = _stepwise(found, split[0], lively, skipping.queue, spent_each)
        ramp = skipping.step_cycles * busy + skipping.fill_cycles * min(busy, 1.0)
        self._cycles += kind.count * (spent_each + ramp)
        self._ramp += kind.count * ramp

    def _lanes(self, kind: _Kind, part: Array) -> Array:
        """[classes, m, n, k lanes] -> [classes, all lanes], batch lanes outermost."""
        flat = part.reshape(len(part), 1, -1)
        return np.asarray((flat * kind.batch[None, :, None]).reshape(len(part), -1))

    def result(self) -> EngineCycles:
        """Totals."""
        skipping = self._skipping
        if skipping.wait == "never":
            self._ramp += skipping.fill_cycles
            cycles = float(expected_slowest(self._mean, self._variance)) + self._ramp
        else:
            cycles = float(self._cycles.max())
        work = LaneWork(*map(float, self._work))
        return split_cycles(skipping, cycles, work, self._edge, self._ramp)


def _stepwise(found: _Moments, mean: Array, lively: Array, queue: int, free: Array) -> Array:
    """Time of one pass over K in which lanes are at most `queue` rounds apart, [groups]; `free` without that limit.

    Rounds without work vanish, and at most one is broadcast per cycle. Without a queue each round lasts as long as
    its slowest lane. With one, the backlog of a lane has the exponential law of heavy traffic (Kingman 1962),
    P(backlog > x) = exp(-2 d x mean / variance) at a load of 1 - d; one of L lanes has filled Q + 1 rounds of queue
    most of the time once L exp(-2 d (Q + 1) mean^2 / variance) = 1, which gives the share d of lost cycles.
    """
    some = np.maximum(found.some, 1e-12)[:, None]
    rounds = (found.weight * found.some)[:, None]
    alive = mean / some[..., None]
    lock_step = (rounds * np.maximum(expected_slowest(alive, lively), 1.0)).sum(axis=0)
    if queue == 0:
        return np.asarray(lock_step)
    busy = alive.max(axis=2)
    ratio = lively.max(axis=2) / np.maximum(busy, 1e-30) ** 2
    lost = np.minimum(ratio / (2 * (queue + 1)) * np.log(mean.shape[2]), 0.999)
    queued = (rounds * np.maximum(busy / (1 - lost), 1.0)).sum(axis=0)
    return np.asarray(np.minimum(np.maximum(queued, free), lock_step))

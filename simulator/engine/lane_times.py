"""Mean and variance of the lane times of a round, when the zeros are known as laws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from accelerators.schema import Skipping
from simulator.engine.laws import Law
from simulator.engine.moments import Vectors, accumulating, vectors
from simulator.engine.work import Layout

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

K_CLASSES = 16
"""Rounds along K told apart at most, where channels have densities of their own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Rounds that are alike along batch, M and N: how many of each, and the elements of each lane along each rank."""

    batches: int
    ms: int
    ns: int
    batch: Counts
    m: Counts
    n: Counts

    @property
    def count(self) -> int:
        """Rounds of this kind."""
        return self.batches * self.ms * self.ns


def kinds_of(lay: Layout) -> Iterator[Kind]:
    """The kinds of rounds of a product: along each rank only the last can differ."""
    for (batches, batch), (ms, m), (ns, n) in product(lay.batch.kinds(), lay.m.kinds(), lay.n.kinds()):
        yield Kind(batches, ms, ns, batch, m, n)


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """Lane times of one kind of round, class by class along K: [classes, m lanes, n lanes, k lanes].

    weight: rounds of each class. mean: of a lane's time. variance: of what tells lanes apart that share an operand,
    over one pass along K; where lanes never wait, over all rounds along M and N, which meet the same nonzeros again.
    lively: the variance in rounds that have work, whose share is `some`. The rest: sums over the lanes.
    """

    weight: Array
    mean: Array
    variance: Array
    lively: Array
    some: Array
    pairs: float
    bare: float
    padded: float


def lane_times(
    skipping: Skipping, lay: Layout, kind: Kind, laws: tuple[Law, Law], runs: tuple[int | None, int | None]
) -> LaneTimes:
    """Moments of the lane times of one kind of round; `laws` and `runs` as in `expected_cycles`."""
    a_share, w_share = (law.share for law in laws)
    if len(a_share) == len(w_share) == 1:
        alike = lay.k.kinds()
        weight = np.array([float(count) for count, _ in alike])
        here = np.array([held for _, held in alike], dtype=float)[..., None]
        shares = [share[:, None, None] for share in (a_share, w_share)]
    else:
        places = lay.k.places()  # [rounds, lanes, slots]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(K_CLASSES, len(places))).astype(int))
        places, weight = places[chosen], np.full(len(chosen), lay.k.rounds / len(chosen))
        here = (places < lay.k.size).astype(float)
        whole = [np.broadcast_to(share, (lay.k.size,)) for share in (a_share, w_share)]
        shares = [np.take(np.append(share, share[-1]), places) for share in whole]
    if skipping.law == "dot":
        return _dot(skipping, lay, kind, laws, shares, here, weight)
    x = vectors(kind.m, shares[0], skipping.vector.input, runs[0])
    y = vectors(kind.n, shares[1], skipping.vector.weight, runs[1])
    return _cartesian(skipping, lay, kind, laws, (x, y), here, weight)


def _cartesian(
    skipping: Skipping,
    lay: Layout,
    kind: Kind,
    laws: tuple[Law, Law],
    sides: tuple[Vectors, Vectors],
    here: Array,
    weight: Array,
) -> LaneTimes:
    alone, (x, y) = _alone(skipping, lay), sides

    def over(a: Array, w: Array) -> Array:
        """Sum over a lane's slots of the product: [classes, m lanes, n lanes, k lanes]."""
        left, right = (np.broadcast_to(v, (len(v), *here.shape)) for v in (a, w))
        sums = (left * here).transpose(1, 2, 0, 3) @ right.transpose(1, 2, 3, 0)
        return np.asarray(sums.transpose(0, 2, 3, 1))

    def spread(elements: float, ms: int = 1, ns: int = 1) -> Array:
        """Variance that tells lanes apart: what they share drops out. `elements` of K lie between two waits, `ms`
        rounds along M and `ns` along N."""
        of_x = ms * laws[0].evenness(elements, y.some) * (x.square - x.mean**2)
        of_y = ns * laws[1].evenness(elements, x.some) * (y.square - y.mean**2)
        x_square, y_square = (ms * x.mean) ** 2, (ns * y.mean) ** 2
        if alone == "m":
            return over(of_x, y_square + ns * (y.square - y.mean**2))
        if alone == "n":
            return over(x_square + ms * (x.square - x.mean**2), of_y)
        if alone == "none":
            return np.zeros((len(here), len(x.mean), len(y.mean), here.shape[1]))
        return over(of_x, y_square) + over(x_square, of_y) + over(of_x, of_y)

    mean = over(x.mean, y.mean)
    along_k = lay.k.size / lay.k.lanes
    free = skipping.wait == "never"
    variance = spread(along_k, kind.ms, kind.ns) if free else spread(along_k)
    stepwise = spread((skipping.queue + 1.0) * lay.k.tile) if skipping.wait == "step" else variance
    a_some, w_some = 1 - np.prod(1 - x.some, axis=0), 1 - np.prod(1 - y.some, axis=0)
    some = 1 - np.prod((1 - a_some * w_some) ** here, axis=(1, 2))
    padded = float((weight * mean.sum(axis=(1, 2, 3))).sum())
    if skipping.accumulate_words_per_cycle is not None:
        held = (int(kind.m.max()), int(kind.n.max()))
        density = [float(np.mean(v.words.max(axis=0))) / most for v, most in zip(sides, held, strict=True)]
        vector = (skipping.vector.input, skipping.vector.weight)
        ratio = accumulating(held, (density[0], density[1]), vector, skipping.accumulate_words_per_cycle)
        mean, variance, stepwise = mean * ratio, variance * ratio**2, stepwise * ratio**2
    pairs = float((weight * over(x.nonzeros, y.nonzeros).sum(axis=(1, 2, 3))).sum())
    bare = float((weight * over(x.bare, y.bare).sum(axis=(1, 2, 3))).sum())
    alive = np.maximum(some, 1e-12)[:, None, None, None]
    lively = (stepwise + mean**2) / alive - (mean / alive) ** 2 if alone == "all" else stepwise / alive
    return LaneTimes(weight, mean, np.maximum(variance, 0), np.maximum(lively, 0), some, pairs, bare, padded)


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


def _dot(
    skipping: Skipping,
    lay: Layout,
    kind: Kind,
    laws: tuple[Law, Law],
    shares: list[Array],
    here: Array,
    weight: Array,
) -> LaneTimes:
    """Pairs of a chunk are binomial, or fixed where whole N:M groups meet a side that is not skipped on; outputs of a
    lane count as independent, rows as equal where the input is not skipped on. Lanes that share an operand differ by
    the other's zeros alone: of the variance p (1 - p) of a pair, p = p_a p_w, the part p (1 - p_w) or p (1 - p_a)."""
    slots = here.sum(axis=2)
    chunk = float(skipping.chunk or slots.max())
    density = (np.broadcast_to(shares[0] * shares[1], here.shape) * here).sum(axis=2) / np.maximum(slots, 1)
    whole, rest = np.divmod(slots, chunk)
    mean, variance = (np.zeros_like(slots) for _ in range(2))
    for elements, count in ((chunk, whole), *((float(part), rest == part) for part in np.unique(rest[rest > 0]))):
        turns = vectors(np.array([elements]), density, skipping.vector.weight, None)
        even = min(law.evenness(float(elements), other.share) if law.groups else 1.0
                   for law, other in (laws, laws[::-1]))  # fmt: skip
        fixed = np.ceil(np.round(elements * density, 9) / skipping.vector.weight)
        mean = mean + count * (even * turns.mean[0] + (1 - even) * fixed)
        variance = variance + count * even * (turns.square - turns.mean**2)[0]
    outputs = np.multiply.outer(kind.m, kind.n).astype(float)[None, :, :, None]
    equal = np.ones_like(outputs) if (shares[0] < 1).any() else kind.m[None, :, None, None]
    some = 1 - np.prod((1 - density) ** slots, axis=1)
    pairs = float((weight[:, None] * slots * density).sum() * outputs.sum())
    lane = mean[:, None, None, :] * outputs
    work = float((weight[:, None, None, None] * lane).sum())
    alone, (a, w) = _alone(skipping, lay), (float(np.mean(share)) for share in shares)
    own = {"all": 1.0, "none": 0.0, "n": (1 - w) / max(1 - a * w, 1e-12), "m": (1 - a) / max(1 - a * w, 1e-12)}
    spread = own[alone] * variance[:, None, None, :] * outputs * equal
    again = kind.ms * kind.ns * (1 if (shares[0] < 1).any() else kind.ms) * (1 if (shares[1] < 1).any() else kind.ns)
    variance = again * spread if skipping.wait == "never" else spread
    return LaneTimes(weight, lane, variance, spread, some, pairs, work, work)

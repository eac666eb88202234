"""Mean and variance of the lane times of a round, when the zeros are known as laws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.laws.lanes.times.moments import Vectors, vectors
from zerocast.simulator.laws.lanes.work import Layout

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
    lively: the variance in rounds that have work for their group, whose share is `some`. most: the time without zeros.
    The rest: sums over the lanes.
    """

    weight: Array
    mean: Array
    variance: Array
    lively: Array
    most: Array
    some: Array
    pairs: float
    bare: float
    padded: float


def lane_times(
    skipping: Skipping, lay: Layout, kind: Kind, shares: tuple[Array, Array], runs: tuple[int | None, int | None],
    asked: float = 1.0,
) -> LaneTimes:  # fmt: skip
    """Moments of the lane times of one kind of round; `shares` and `runs` as in `expected_cycles`. asked: share of the
    outputs that are asked for, law dot."""
    a_share, w_share = shares
    if len(a_share) == len(w_share) == 1:
        alike = lay.k.kinds()
        weight = np.array([float(count) for count, _ in alike])
        here = np.array([held for _, held in alike], dtype=float)[..., None]
        at = [share[:, None, None] for share in (a_share, w_share)]
    else:
        places = lay.k.places()  # [rounds, lanes, slots]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(K_CLASSES, len(places))).astype(int))
        places, weight = places[chosen], np.full(len(chosen), lay.k.rounds / len(chosen))
        here = (places < lay.k.size).astype(float)
        whole = [np.broadcast_to(share, (lay.k.size,)) for share in (a_share, w_share)]
        at = [np.take(np.append(share, share[-1]), places) for share in whole]
    if skipping.law == "dot":
        return _dot(skipping, lay, kind, at, here, weight, asked)
    free, x = (vectors(kind.m, at[0], skipping.vector.input, runs[0], pace)
               for pace in (0.0, skipping.accumulate_pace))  # fmt: skip
    y = vectors(kind.n, at[1], skipping.vector.weight, runs[1])
    return _cartesian(skipping, lay, kind, (free, x, y), here, weight)


def _cartesian(
    skipping: Skipping, lay: Layout, kind: Kind, sides: tuple[Vectors, Vectors, Vectors], here: Array, weight: Array
) -> LaneTimes:
    """sides: the input as its vectors alone would take, the input held up by the accumulators, the weight."""
    (own_x, own_y), (unheld, x, y) = _own(skipping, lay), sides

    def over(a: Array, w: Array) -> Array:
        """Sum over a lane's slots of the product: [classes, m lanes, n lanes, k lanes]."""
        left, right = (np.broadcast_to(v, (len(v), *here.shape)) for v in (a, w))
        sums = (left * here).transpose(1, 2, 0, 3) @ right.transpose(1, 2, 3, 0)
        return np.asarray(sums.transpose(0, 2, 3, 1))

    def spread(ms: int = 1, ns: int = 1) -> Array:
        """Variance that tells lanes apart between two waits, `ms` rounds along M and `ns` along N: what they share
        drops out."""
        of_x, of_y = ms * (x.square - x.mean**2), ns * (y.square - y.mean**2)
        x_square, y_square = (ms * x.mean) ** 2, (ns * y.mean) ** 2
        return own_x * over(of_x, y_square) + own_y * over(x_square, of_y) + over(of_x, of_y)

    mean = over(x.mean, y.mean)
    stepwise = spread()
    variance = spread(kind.ms, kind.ns) if skipping.wait == "never" else stepwise
    ms, ns, ks = _together(skipping, lay)
    a_some, w_some = 1 - np.prod(1 - x.some[:ms], axis=0), 1 - np.prod(1 - y.some[:ns], axis=0)
    some = 1 - np.prod(((1 - a_some * w_some) ** here)[:, :ks], axis=(1, 2))
    padded = float((weight * over(unheld.mean, y.mean).sum(axis=(1, 2, 3))).sum())
    pairs = float((weight * over(x.nonzeros, y.nonzeros).sum(axis=(1, 2, 3))).sum())
    bare = float((weight * over(x.bare, y.bare).sum(axis=(1, 2, 3))).sum())
    idle = float(np.mean(1 - a_some)), float(np.mean(1 - w_some))
    share = (own_x * idle[0] + own_y * idle[1]) / max(sum(idle), 1e-12)
    lively = _in_live_rounds(mean, stepwise, some, share)
    full = np.maximum(np.ceil(kind.m / skipping.vector.input), skipping.accumulate_pace * kind.m)
    slots = here.sum(axis=2)[:, None, None, :]
    most = slots * np.multiply.outer(full, np.ceil(kind.n / skipping.vector.weight))[None, :, :, None]
    return LaneTimes(weight, mean, np.maximum(variance, 0), lively, most, some, pairs, bare, padded)


def _lanes_of(group: int, lay: Layout) -> tuple[int, int, int, int]:
    """Lanes along the batch, M, N and K of a group of so many consecutive lanes."""
    inner = lay.k.lanes * lay.n.lanes
    ms = min(lay.m.lanes, max(group // inner, 1))
    ns = min(lay.n.lanes, max(group // lay.k.lanes, 1))
    return max(group // (inner * lay.m.lanes), 1), ms, ns, min(lay.k.lanes, group)


def _together(skipping: Skipping, lay: Layout) -> tuple[int, int, int]:
    """Lanes along M, N and K of a group that shares its rounds; of one lane where none waits."""
    group = 1 if skipping.wait == "never" else skipping.sync_group or skipping.lanes
    return _lanes_of(group, lay)[1:]


def _own(skipping: Skipping, lay: Layout) -> tuple[float, float]:
    """Weights of the variances that stem from the input and from the weight, for lanes taken as independent.

    Lanes of a group that share an operand have its part of the variance in common: of L lanes of which D differ in it,
    it moves the slowest as far as the maximum of D normals, so its variance counts (c_D / c_L)^2, c being the expected
    maximum (0 for one).
    """
    group = skipping.lanes if skipping.wait == "never" else skipping.sync_group or skipping.lanes
    items, ms, ns, ks = _lanes_of(group, lay)
    most = _normal_maximum(items * ms * ns * ks)
    if most == 0:
        return 0.0, 0.0
    return (_normal_maximum(items * ms * ks) / most) ** 2, (_normal_maximum(items * ns * ks) / most) ** 2


@cache
def _normal_maximum(lanes: int) -> float:
    """Expected maximum of so many standard normals."""
    from scipy.special import ndtr

    at = np.linspace(-8, 8, 2001)
    below = ndtr(at) ** lanes
    return float(at[-1] - np.trapezoid(below, at)) if lanes > 1 else 0.0


def _in_live_rounds(mean: Array, variance: Array, some: Array, share: float) -> Array:
    """Variance in the rounds that have work, `some` of all: those without it explain `share` of mean^2 (1 - some)."""
    alive = np.maximum(some, 1e-12)[:, None, None, None]
    return np.asarray(np.maximum(variance / alive - share * mean**2 * (1 - alive) / alive**2, 0.0))


def _dot(
    skipping: Skipping, lay: Layout, kind: Kind, shares: list[Array], here: Array, weight: Array, asked: float
) -> LaneTimes:
    """Pairs of a chunk are binomial, and so is how many outputs of a lane are asked for. Of the variance p (1 - p) of a
    pair, p = a w, the part p (1 - a) w stems from the input, which meets all columns of the lane alike, the part
    p a (1 - w) from the weight, which meets all its rows, the rest from both."""
    slots = here.sum(axis=2)
    chunk = float(skipping.chunk or slots.max())
    density = (np.broadcast_to(shares[0] * shares[1], here.shape) * here).sum(axis=2) / np.maximum(slots, 1)
    whole, rest = np.divmod(slots, chunk)
    mean, variance = (np.zeros_like(slots) for _ in range(2))
    for elements, count in ((chunk, whole), *((float(part), rest == part) for part in np.unique(rest[rest > 0]))):
        turns = vectors(np.array([elements]), density, skipping.vector.weight, None)
        mean = mean + count * turns.mean[0]
        variance = variance + count * (turns.square - turns.mean**2)[0]
    held = np.multiply.outer(kind.m, kind.n).astype(float)[None, :, :, None]
    outputs = held * asked
    some = _some_match(skipping, lay, kind, shares, here)
    # variance of how many outputs a lane has, which all rounds along K share
    number = held * asked * (1 - asked)
    numbers = (mean * (weight[:, None] * mean).sum(axis=0))[:, None, None, :] * number
    pairs = float((weight[:, None] * slots * density).sum() * outputs.sum())
    lane = mean[:, None, None, :] * outputs
    work = float((weight[:, None, None, None] * lane).sum())
    (own_a, own_w), (a, w) = _own(skipping, lay), (float(np.mean(share)) for share in shares)
    parts = np.array([own_a * (1 - a) * w, own_w * a * (1 - w), (1 - a) * (1 - w)]) / max(1 - a * w, 1e-12)
    own = float(parts.sum())

    def spread(ms: int = 1, ns: int = 1) -> Array:
        """Variance between two waits, `ms` rounds along M and `ns` along N."""
        rows, columns = (each * asked for each in (ms * kind.m[:, None, None], ns * kind.n[:, None]))
        together = parts[0] * np.maximum(columns, 1) + parts[1] * np.maximum(rows, 1) + parts[2]
        return np.asarray(variance[:, None, None, :] * ms * ns * outputs * together)

    never = skipping.wait == "never"
    between = spread(kind.ms, kind.ns) + kind.ms * kind.ns * numbers if never else spread() + numbers
    lively = _in_live_rounds(lane, spread() + mean[:, None, None, :] ** 2 * number, some, own)
    width = skipping.vector.weight
    most = (whole * np.ceil(chunk / width) + np.ceil(rest / width))[:, None, None, :] * held
    return LaneTimes(weight, lane, between, lively, most, some, pairs, work, work)


def _some_match(skipping: Skipping, lay: Layout, kind: Kind, shares: list[Array], here: Array) -> Array:
    """Probability that a round of a group has a matching pair, [classes]."""
    ms, ns, ks = _together(skipping, lay)
    rows, columns = kind.m[:ms].sum(), kind.n[:ns].sum()
    meets = (1 - (1 - shares[0]) ** rows) * (1 - (1 - shares[1]) ** columns)
    return np.asarray(1 - np.prod(((1 - meets) ** here)[:, :ks], axis=(1, 2)))

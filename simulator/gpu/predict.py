"""Time of matrix products on a card, with how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.gpu.fit.calibration import LEVELS, Calibrated
from zerocast.simulator.gpu.fit.lattice import Lattice, corrections
from zerocast.simulator.gpu.fit.neighbours import correction, log_shapes, nearest
from zerocast.simulator.gpu.problem import Problem
from zerocast.simulator.gpu.times import MIXED_KERNELS, Chosen, choose

Array = NDArray[np.float64]

NEAR = 2.0
"""Distance to a calibrated shape, in doublings, up to which the error bar is that of shapes left out."""
UNSEEN_ERROR = (0.13 + 0.16 + 0.39) / 3
"""Mean error of an unfitted tile model on B200, A100 and L40S, computed from public measurement tables."""
UNSEEN_BAR = float(np.log(10) * np.log1p(UNSEEN_ERROR))
"""Half-width, in log time, that holds 9 of 10 where |log error| is exponentially distributed (assumption): of cards and
of kinds of kernels that no constant was fitted to."""
COLLECTION = 0.13
"""Half-width, in log time, that holds 9 of 10 differences between two collections of the same products on the same card
(another library, clock and way to measure), which lie between 3 and 15 % in public tables."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Times of products and their trust; arrays have shape (shapes,).

    seconds: the prediction; low_s, high_s: 9 of 10 measurements are to lie between them. distance: doublings to the
    nearest calibrated shape. level: what the prediction rests on. chosen: the kernel, which is the mapping.
    """

    seconds: Array
    low_s: Array
    high_s: Array
    distance: Array
    level: str
    chosen: Chosen

    def times(self, factor: Array) -> Prediction:
        """The same products, each slower by a factor, its bounds with it."""
        return replace(self, seconds=self.seconds * factor, low_s=self.low_s * factor, high_s=self.high_s * factor)

    def __getitem__(self, rows: NDArray[np.intp]) -> Prediction:
        """Some of the products."""
        chosen = Chosen(*(getattr(self.chosen, name)[rows] for name in Chosen.__slots__))
        parts = {name: getattr(self, name)[rows] for name in ("seconds", "low_s", "high_s", "distance")}
        return replace(self, chosen=chosen, **parts)


def predict(
    problem: Problem, calibrated: Calibrated, lattice: Lattice | None = None, mixed: bool = False
) -> Prediction:
    """Times of products under the constants of their class, corrected by the user's nearest measurements if any, else
    by the lattice of a measured card if there is one. mixed: the weights are stored narrower than they are multiplied.

    The error bar of shapes left out holds up to `NEAR` doublings from a calibrated one; farther away it grows in
    proportion (assumption). Where the constants are not of the user's own measurements, what differs between two
    collections comes on top, as an independent error does.
    """
    chosen = choose(problem, calibrated.constants, MIXED_KERNELS if mixed else calibrated.kernels)
    shapes = log_shapes(problem.m, problem.n, problem.k)
    known = log_shapes(*calibrated.shapes.T)
    seconds = chosen.seconds
    if calibrated.residuals is not None:
        seconds = seconds * np.exp(correction(shapes, known, calibrated.residuals))
    elif lattice is not None:
        seconds = seconds * np.exp(corrections(lattice, problem, seconds, calibrated.constants))
    distance = nearest(shapes, known)
    wider = np.maximum(distance / NEAR, 1.0)
    other = 0.0 if calibrated.level == LEVELS[2] else COLLECTION
    low, high = (seconds * np.exp(np.copysign(np.hypot(bound * wider, other), bound))
                 for bound in (calibrated.low, calibrated.high))  # fmt: skip
    return Prediction(seconds, low, high, distance, calibrated.level, chosen)


def with_doubt(sparse: Prediction, dense: Prediction) -> Prediction:
    """The 2:4 kernels of products, their gain over the dense ones taken only as far as it was measured.

    Tables of 2:4 products have neither few rows nor narrow layers. The gain that constants say far from all of them
    rests on no measurement, so its logarithm shrinks as the distance grows beyond `NEAR`, to no gain and no loss.
    """
    believed = np.minimum(NEAR / np.maximum(sparse.distance, NEAR), 1.0)
    factor = (dense.seconds / sparse.seconds) ** (1 - believed)
    return replace(
        sparse, seconds=sparse.seconds * factor, low_s=sparse.low_s * factor, high_s=sparse.high_s * factor
    )  # fmt: skip


def quicker(one: Prediction, other: Prediction, where: NDArray[np.intp]) -> Prediction:
    """The first predictions, those at `where` replaced by the second ones where these are quicker; to those, which no
    constant was fitted to, the bar of unseen kernels."""
    taken = other.seconds < one.seconds[where]
    at, bar = where[taken], np.exp(UNSEEN_BAR)

    def mixed(mine: Array, theirs: Array) -> Array:
        out = np.array(mine)
        out[at] = theirs[taken]
        return out

    chosen = Chosen(*(mixed(getattr(one.chosen, name), getattr(other.chosen, name)) for name in Chosen.__slots__))
    seconds, distance = mixed(one.seconds, other.seconds), mixed(one.distance, other.distance)
    low, high = mixed(one.low_s, other.seconds / bar), mixed(one.high_s, other.seconds * bar)
    return Prediction(seconds, low, high, distance, one.level, chosen)


def datasheet_roofline(problem: Problem) -> Array:
    """The longer of computing at the datasheet's rate and moving every byte once at its bandwidth, in s."""
    compute, memory = roofline_parts(problem)
    return np.maximum(compute, memory)


def fitted_roofline(problem: Problem, rate: ArrayLike, bandwidth: ArrayLike, floor_s: ArrayLike) -> Array:
    """The same with a share of the rate, a share of the bandwidth, and a floor in s."""
    compute, memory = roofline_parts(problem)
    return np.maximum(compute / np.asarray(rate), memory / np.asarray(bandwidth)) + np.asarray(floor_s)


def roofline_parts(problem: Problem) -> tuple[Array, Array]:
    """Seconds to compute at the datasheet's rate, and to move every byte once at its bandwidth."""
    p = problem
    compute = p.batch * p.m * p.n * p.k / p.macs_per_s
    memory = (p.x_bytes + p.weight_bytes + p.out_bytes) / p.dram_bytes_per_s
    return compute[:, 0], memory[:, 0]

"""Time of matrix products on a card, with how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.gpu.calibration import Calibrated
from zerocast.simulator.gpu.neighbours import correction, log_shapes, nearest
from zerocast.simulator.gpu.problem import Problem
from zerocast.simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, Chosen, choose

Array = NDArray[np.float64]

NEAR = 2.0


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


def predict(problem: Problem, calibrated: Calibrated, sparse: bool = False) -> Prediction:
    """Times of products under the constants of their class, corrected by the user's nearest measurements if any.

    The error bar holds up to `NEAR` doublings from a calibrated shape; farther away it grows in proportion
    (assumption).
    """
    chosen = choose(problem, calibrated.constants, SPARSE_KERNELS if sparse else DENSE_KERNELS)
    shapes = log_shapes(problem.m, problem.n, problem.k)
    known = log_shapes(*calibrated.shapes.T)
    seconds = chosen.seconds
    if calibrated.residuals is not None:
        seconds = seconds * np.exp(correction(shapes, known, calibrated.residuals))
    distance = nearest(shapes, known)
    wider = np.maximum(distance / NEAR, 1.0)
    low, high = seconds * np.exp(calibrated.low * wider), seconds * np.exp(calibrated.high * wider)
    return Prediction(seconds, low, high, distance, calibrated.level, chosen)


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

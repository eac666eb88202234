"""Fit the constants of a class to measured times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.problem import Problem
from zerocast.simulator.gpu.times import Kernels, choose

Array = NDArray[np.float64]

REACH = 4.0
"""Constants stay within exp(+-REACH) of where they start."""
OUTLIER = 0.05
"""Log residual from which a product counts linearly, not squared: libraries choose badly now and then."""
INSIDE = 0.05
"""Distance from its bounds, in log, at which a constant starts: on a bound the search would hardly move."""
STEP = 1e-3
"""Relative step of the finite differences."""
CEILINGS = {"mma": 1.1, "dram": 1.0}
"""Tensor cores outrun the datasheet by no more than the highest clock over its boost clock (1,980 over 1,830 MHz on
an H100 SXM), the memory not at all."""
GEMM_CONSTANTS = tuple(name for name in Constants.names() if not name.startswith("quantise"))
"""All constants but those of the quantising kernel."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Products with their measured times in s, shape (shapes,), and the weight of each in the fit."""

    problem: Problem
    seconds: Array
    weight: float = 1.0


def fit(
    tables: list[Measured],
    start: Constants,
    kernels: Kernels,
    *,
    names: tuple[str, ...] = GEMM_CONSTANTS,
    shrinkage: float = 0.02,
    evaluations: int = 30,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> Constants:
    """Constants by least squares on log time (Huber-like loss), each drawn to its start by `shrinkage`.

    names: the constants that are free. shrinkage: residual for a change by a factor e, in log time, so that n
    products with residuals of 0.05 outweigh it when shrinkage is far below 0.05 sqrt(n). bounds: least and largest
    value of constants; `SimulationError` where a free one has no room between them.
    """
    low, high = _room(names, start, bounds or {})
    origin = np.clip(start.logs(names), low, high)
    wanted = [np.log(table.seconds) for table in tables]

    def residuals(logs: Array) -> Array:
        constants = start.with_logs(names, logs)
        parts = [
            table.weight * (np.log(choose(table.problem, constants, kernels).seconds) - seconds)
            for table, seconds in zip(tables, wanted, strict=True)
        ]
        return np.concatenate([*parts, shrinkage * (logs - origin)])

    inside = np.minimum(INSIDE, (high - low) / 4)
    found = least_squares(
        residuals, np.clip(origin, low + inside, high - inside), bounds=(low, high),
        loss="soft_l1", f_scale=OUTLIER, max_nfev=evaluations, diff_step=STEP,
    )  # fmt: skip
    return start.with_logs(names, found.x)


def _room(names: tuple[str, ...], start: Constants, bounds: Mapping[str, tuple[float, float]]) -> tuple[Array, Array]:
    """Least and largest logarithm of each constant: its own bounds, the ceilings, and `REACH` around the start."""
    given = np.array([bounds.get(name, (0.0, np.inf)) for name in names])
    with np.errstate(divide="ignore"):
        least, most = np.log(given.T)
    most = np.minimum(most, np.log([CEILINGS.get(name, np.inf) for name in names]))
    origin = np.clip(start.logs(names), least, most)
    low, high = np.maximum(origin - REACH, least), np.minimum(origin + REACH, most)
    if stuck := [name for name, free in zip(names, high > low, strict=True) if not free]:
        raise SimulationError(f"no room for {', '.join(stuck)}; leave them out of the names to fit")
    return low, high

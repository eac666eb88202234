"""Which designs no other one beats, and how much they have won."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def losses(values: Values, directions: Sequence[str]) -> Values:
    """Values [designs, objectives] turned so that less is better everywhere."""
    signs = np.array([1.0 if direction == "min" else -1.0 for direction in directions])
    return np.asarray(values, dtype=float) * signs


def front(values: Values) -> NDArray[np.intp]:
    """Places of the designs that no other beats, in the order given; of equal ones the first. values: losses
    [designs, objectives]; rows with NaN are no candidates."""
    candidates = np.flatnonzero(~np.isnan(values).any(axis=1))
    order = candidates[np.lexsort(values[candidates].T[::-1])]  # whoever is beaten comes after who beats it
    kept: list[int] = []
    best = np.empty((0, values.shape[1]))
    for place in order:
        if not (best <= values[place]).all(axis=1).any():
            kept.append(int(place))
            best = np.vstack([best, values[place]])
    return np.array(sorted(kept), dtype=np.intp)


def crowding(values: Values) -> Values:
    """How far each design of a front is from its neighbours, above 0: per objective the distance between the two
    beside it, as a share of the front's extent, summed (Deb et al. 2002, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", section III-B). The ends, infinitely far there, count twice the greatest finite share, 2."""
    found = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        extent = ordered[-1] - ordered[0]
        gaps = np.full(len(ordered), 2.0)
        if extent > 0:
            gaps[1:-1] = (ordered[2:] - ordered[:-2]) / extent
        found[order] += gaps
    return np.maximum(found, 1e-3)

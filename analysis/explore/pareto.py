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


def hypervolume(values: Values, reference: Sequence[float]) -> float:
    """Volume that designs dominate below a reference point, in the product of the objectives' units.

    values: losses [designs, objectives], any number of objectives. Points that do not lie below the reference in all
    of them count nothing. Computed by slicing along the last objective (Zitzler 1999, "hypervolume by slicing
    objectives"), which for the fronts here (hundreds of points, 2 or 3 objectives) takes milliseconds.
    """
    corner = np.asarray(reference, dtype=float)
    points = np.asarray(values, dtype=float).reshape(-1, len(corner))
    points = points[(points < corner).all(axis=1)]
    return _volume(points[front(points)], corner) if len(points) else 0.0


def _volume(points: Values, corner: Values) -> float:
    if len(corner) == 1:
        return float(corner[0] - points.min())
    if len(corner) == 2:
        ordered = points[np.argsort(points[:, 0], kind="stable")]
        heights = np.minimum.accumulate(ordered[:, 1])
        ends = np.append(ordered[1:, 0], corner[0])
        return float(np.sum((ends - ordered[:, 0]) * (corner[1] - heights)))
    ordered = points[np.argsort(points[:, -1], kind="stable")]
    depths = np.append(ordered[1:, -1], corner[-1]) - ordered[:, -1]
    found = 0.0
    for count, depth in enumerate(depths, 1):
        if depth > 0:
            below = ordered[:count, :-1]
            found += float(depth) * _volume(below[front(below)], corner[:-1])
    return found

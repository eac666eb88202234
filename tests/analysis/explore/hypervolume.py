"""How much of the space of objectives a set of designs dominates: what searches are compared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zerocast.analysis.explore.search.pareto import Values, front


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

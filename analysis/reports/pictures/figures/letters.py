"""Letters of points, put where no point and no other letter is, each with a line to its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HALF = 4.5
"""Half the side in points of the square that a letter of 7 points takes."""
RADII = (10.0, 15.0, 21.0, 28.0, 36.0, 46.0)
"""Distances in points at which a letter may stand; at the first it needs no line."""
ANGLES = np.deg2rad(np.arange(45, 405, 22.5))
"""Directions from its point, the upper right first."""
CROWDED = 1e3
"""Cost of a letter on another letter, on another's point or outside the axes: worse than any crowd of points."""


def put(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    names: Mapping[int, str],
    weights: NDArray[np.float64] | None = None,
    colours: Mapping[int, str] | None = None,
) -> None:
    """Write each letter of `names`, by the row of its point, where it hides the least.

    x, y: all points that letters avoid, shape (points,), in the axes' data. weights: what it costs to hide a point,
    1 each without them. The limits of the axes must stand. colours: of the letters, by row; black without them.
    """
    from matplotlib.patheffects import withStroke

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # only a layout knows the places on paper
    points = axes.transData.transform(np.column_stack([x, y])) * 72 / axes.figure.dpi
    frame = axes.bbox.get_points() * 72 / axes.figure.dpi
    for row, offset in offsets(points, list(names), np.ones(len(x)) if weights is None else weights, frame).items():
        colour = (colours or {}).get(row, "black")
        line = {"arrowstyle": "-", "linewidth": 0.6, "color": colour, "shrinkA": 0, "shrinkB": 3.2}
        axes.annotate(names[row], (x[row], y[row]), xytext=tuple(offset), textcoords="offset points", fontsize=7,
                      fontweight="bold", ha="center", va="center", color=colour, zorder=5,
                      path_effects=[withStroke(linewidth=1.5, foreground="white")],
                      arrowprops=line if np.hypot(*offset) > RADII[0] + 1 else None)  # fmt: skip


def offsets(
    points: NDArray[np.float64], rows: list[int], weights: NDArray[np.float64], frame: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """For each row the offset of its letter from its point, in points of 1/72 inch as all arguments are.

    points: shape (points, 2). weights: shape (points,). frame: lower left and upper right corner, shape (2, 2).
    Letters are placed in turn, each at the least cost: what it hides and the length of its line.
    """
    ways = np.array([[r * np.cos(a), r * np.sin(a)] for r in RADII for a in ANGLES])
    known = np.isfinite(points).all(axis=1)
    taken: list[NDArray[np.float64]] = []
    found = {}
    for row in rows:
        places = points[row] + ways
        near = known & (np.abs(points - points[row]) < max(RADII) + 2 * HALF).all(axis=1)
        hidden = (np.abs(places[:, None] - points[near]) < HALF + 1.5).all(axis=2) @ weights[near]
        cost = hidden + np.hypot(*ways.T) / 4
        cost += CROWDED * ((places < frame[0] + HALF) | (places > frame[1] - HALF)).any(axis=1)
        for other in (*taken, *(points[each] for each in rows if each != row)):
            cost += CROWDED * (np.abs(places - other) < 2 * HALF).all(axis=1)
        best = int(np.argmin(cost))
        taken.append(places[best])
        found[row] = ways[best]
    return found

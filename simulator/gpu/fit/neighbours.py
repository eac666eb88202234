"""How far a product lies from those that were measured, and what the nearest of them say about the error."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NEIGHBOURS = 6
"""Measured products that correct a prediction."""
PRIOR = 1.0
"""Weight of "no error" beside theirs, in products at a distance of one doubling (assumption)."""
NEAR = 0.1
"""Distance, in doublings, below which nearer does not count for more (assumption)."""
CHUNK = 1024
REPRESENTATIVES = 96
"""Products kept to stand for all that were fitted."""


def log_shapes(m: ArrayLike, n: ArrayLike, k: ArrayLike) -> Array:
    """Coordinates of shapes in doublings, shape (shapes, 3)."""
    return np.log2(np.stack([np.asarray(side, dtype=float).ravel() for side in (m, n, k)], axis=1))


def distances(shapes: Array, to: Array) -> Array:
    """Euclidean distances in doublings, shape (shapes, measured); both sides as `log_shapes` gives them."""
    return np.sqrt(((shapes[:, None, :] - to[None, :, :]) ** 2).sum(axis=2))


def nearest(shapes: Array, to: Array) -> Array:
    """Distance of each shape to the nearest measured one, in doublings."""
    starts = range(0, len(shapes), CHUNK)
    return np.concatenate([distances(shapes[s : s + CHUNK], to).min(axis=1) for s in starts])


def correction(shapes: Array, to: Array, residuals: Array) -> Array:
    """log(measured / predicted) to expect: the mean of the nearest ones by inverse squared distance, shrunken to 0."""
    starts = range(0, len(shapes), CHUNK)
    return np.concatenate([_correction(shapes[s : s + CHUNK], to, residuals) for s in starts])


def _correction(shapes: Array, to: Array, residuals: Array) -> Array:
    count = min(NEIGHBOURS, len(to))
    apart = distances(shapes, to)
    near = np.argpartition(apart, count - 1, axis=1)[:, :count]
    weights = 1 / (np.take_along_axis(apart, near, axis=1) ** 2 + NEAR**2)
    return (weights * residuals[near]).sum(axis=1) / (weights.sum(axis=1) + PRIOR)


def spread(shapes: Array, count: int = REPRESENTATIVES) -> NDArray[np.intp]:
    """Indices of shapes that lie far apart: each is the farthest from those chosen before (Gonzalez 1985)."""
    chosen = [0]
    apart = distances(shapes, shapes[:1])[:, 0]
    while len(chosen) < min(count, len(shapes)) and apart.max() > 0:
        chosen.append(int(apart.argmax()))
        apart = np.minimum(apart, distances(shapes, shapes[chosen[-1:]])[:, 0])
    return np.array(chosen)

"""The one interface of all sparsity patterns: how many nonzeros fall in a tile, and their spread.

A tile is given by the extent of each rank. Every extent may be a numpy array: results broadcast over them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Extents = Mapping[str, ArrayLike]
"""Tile shape: extent in elements of each rank of the tensor."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Nonzeros of a tile, in elements: expectation, variance over tiles, and the most any tile can hold."""

    mean: Array
    variance: Array
    maximum: Array


class Pattern(ABC):
    """Where the zeros are. Subclasses are frozen dataclasses; equal patterns compare equal."""

    @property
    @abstractmethod
    def density(self) -> float:
        """Share of nonzeros in the whole tensor, in [0, 1]."""

    @abstractmethod
    def occupancy(self, tile: Extents) -> Occupancy:
        """Nonzeros in a tile of shape `tile`, broadcast over its extents."""

    def expected(self, tile: Extents) -> Array:
        """Mean of `occupancy`, for those who need no more."""
        return np.asarray(self.density * tile_size(tile))

    def slowest(self, tile: Extents, group: ArrayLike) -> Array:
        """Expected maximum of the nonzeros over `group` tiles that run in lock step.

        Normal order statistics (Blom 1958, E[max of n] = mean + sd * Phi^-1((n - 0.375) / (n + 0.25))),
        never above what a tile can hold; patterns with an exact law override it.
        """
        from scipy.special import ndtri

        occupancy = self.occupancy(tile)
        lanes = np.asarray(group, dtype=float)
        score = np.where(lanes > 1, ndtri((lanes - 0.375) / (lanes + 0.25)), 0.0)
        return np.minimum(occupancy.mean + np.sqrt(occupancy.variance) * score, occupancy.maximum)

    @property
    def is_dense(self) -> bool:
        """True where no element is known to be zero."""
        return self.density >= 1.0


def tile_size(tile: Extents) -> Array:
    """Number of elements of a tile, broadcast over its extents."""
    size = np.asarray(1.0)
    for extent in tile.values():
        size = size * np.asarray(extent, dtype=float)
    return size

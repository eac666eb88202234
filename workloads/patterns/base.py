"""The one interface of all sparsity patterns: how many nonzeros fall in a tile and their spread, and where they lie.

A tile is given by the extent of each rank. Every extent may be a numpy array: results broadcast over them.

Arrays that skip zeros in order ask for `occupancy` and `slowest`; engines that find them at run time need more than
counts, and ask for `shares_along` and, where that has no answer, for a `draw`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

Extents = Mapping[str, ArrayLike]
"""Tile shape: extent in elements of each rank of the tensor."""

if TYPE_CHECKING:
    from zerocast.workloads.patterns.nm import NM

Array = NDArray[np.float64]
Bits = NDArray[np.bool_]

TILES = 48
"""Tiles along each rank of the draw that says how many of them hold a nonzero: about 2,300 of two ranks."""


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

    @abstractmethod
    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        """The zeros of one tensor whose ranks have these `sizes`: names of its dimensions, and True for a nonzero.

        A law draws with `rng`, a mask returns its own. The tensor may be cut from a larger one.
        """

    def shares_along(self, fiber: Sequence[tuple[str, int]]) -> Array | None:
        """Share of nonzeros at each place of a fiber, whose ranks and sizes come outermost first: [size of the
        fiber], or [1] where all places are alike.

        None, unless elements are independent and all fibers alike, so that these shares are all there is to know.
        """
        return None

    @property
    def groups(self) -> NM | None:
        """The N:M groups that the nonzeros keep to, by which arrays skip in order; None where they keep to none."""
        return None

    @property
    def panel(self) -> int:
        """Neighbouring rows that agree on the columns from which their N:M groups take; 1 where each has its own."""
        return 1

    def filled(self, tile: Mapping[str, int]) -> float:
        """Share of the tiles of a shape that hold a nonzero: what a format stores whose entries are such tiles.

        Counted on a draw of `TILES` tiles along each rank, where a pattern does not know it.
        """
        ranks, bits = self.draw({rank: TILES * extent for rank, extent in tile.items()}, np.random.default_rng(0))
        for rank, extent in tile.items():
            if rank in ranks:
                axis = ranks.index(rank)
                starts = np.arange(0, bits.shape[axis], extent)
                bits = np.logical_or.reduceat(bits, starts, axis=axis)
        return float(bits.mean())

    def facing(self, ranks: Collection[str]) -> Pattern:
        """The same zeros as a pass sees them that reduces over `ranks`: groups along one of these come first."""
        return self

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


def drawn(share: Array | float, sizes: Mapping[str, int], rng: np.random.Generator) -> Bits:
    """Independent zeros over the ranks of `sizes`; `share` broadcasts over them."""
    return np.asarray(rng.random(tuple(sizes.values()), dtype=np.float32) < np.asarray(share, dtype=np.float32))


def tile_size(tile: Extents) -> Array:
    """Number of elements of a tile, broadcast over its extents."""
    size = np.asarray(1.0)
    for extent in tile.values():
        size = size * np.asarray(extent, dtype=float)
    return size

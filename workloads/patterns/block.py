"""Blocks: rectangles of elements that are zero or nonzero together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, tile_size
from zerocast.workloads.patterns.binomial import EXACT_UP_TO, expected_maximum
from zerocast.workloads.patterns.uniform import check_density


@dataclass(frozen=True, slots=True)
class Block(Pattern):
    """Blocks of `shape` = ((rank, extent), ...), each kept with probability `share`, independently.

    A channel, filter or head group is a block that spans all the other ranks: leave those out of `shape`
    and name only the grouped rank, with `whole=True`.
    """

    shape: tuple[tuple[str, int], ...]
    share: float
    whole: bool = False

    def __post_init__(self) -> None:
        check_density(self.share, "block")
        if not self.shape or any(extent < 1 for _, extent in self.shape):
            raise WorkloadError(f"block pattern: shape {self.shape} needs a rank, and extents of 1 or more")

    @property
    def density(self) -> float:
        return self.share

    def occupancy(self, tile: Extents) -> Occupancy:
        """Tiles start at block edges and meet ceil(extent / block) blocks in each rank, the last one cut.

        The variance is share (1 - share) times the sum of squared block areas inside the tile.
        """
        size = tile_size(tile)
        return Occupancy(size * self.share, self.share * (1 - self.share) * self._squares(tile), size)

    def slowest(self, tile: Extents, group: ArrayLike) -> Array:
        """Expected maximum of `group` tiles, each of which holds a binomial number of equal blocks.

        The number of blocks is size^2 / (sum of squared areas), so that the variance is kept: exact where no
        block is cut, and where the whole tile lies in one block. Tiles are independent, as for every law:
        tiles of a group that share a block are slower in the law than in truth.
        """
        size = tile_size(tile)
        blocks = size**2 / self._squares(tile)
        exact = expected_maximum(np.minimum(blocks, EXACT_UP_TO), self.share, group) * size / blocks
        return np.where(blocks <= EXACT_UP_TO, exact, Pattern.slowest(self, tile, group))

    def filled(self, tile: Mapping[str, int]) -> float:
        """A tile is empty where every block that it meets is; one that divides blocks or is divided by them meets the
        same number everywhere."""
        blocks = 1
        for rank, extent in self.shape:
            size = tile.get(rank, 1)
            if size % extent and extent % size:
                return Pattern.filled(self, tile)
            blocks *= max(size // extent, 1)
        free = tile_size({rank: size for rank, size in tile.items() if rank not in dict(self.shape)})
        return 1 - (1 - self.share) ** (blocks * (1 if self.whole else int(free)))

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        """One draw for each block; ranks that a block spans whole have one draw, others a draw for each element."""
        extents, shape = dict(self.shape), tuple(sizes.values())
        sides = [extents.get(rank, size if self.whole else 1) for rank, size in sizes.items()]
        bits: Bits = rng.random([-(-size // side) for size, side in zip(shape, sides, strict=True)]) < self.share
        for axis, (size, side) in enumerate(zip(shape, sides, strict=True)):
            if side > 1:
                bits = np.repeat(bits, side, axis=axis).take(range(size), axis=axis)
        return tuple(sizes), bits

    def _squares(self, tile: Extents) -> Array:
        """Sum of the squared areas of the blocks inside the tile, in elements^2."""
        squares = np.asarray(1.0)
        for rank, extent in self.shape:
            whole, rest = np.divmod(np.asarray(tile.get(rank, 1), dtype=float), extent)
            squares = squares * (whole * extent**2 + rest**2)
        blocked = [rank for rank, _ in self.shape]
        free = tile_size({rank: extent for rank, extent in tile.items() if rank not in blocked})
        return squares * (free**2 if self.whole else free)


def channel_group(rank: str, share: float, group: int = 1) -> Block:
    """Whole slices along `rank`, `group` neighbours at a time: channels, filters, heads."""
    return Block(((rank, group),), share, whole=True)

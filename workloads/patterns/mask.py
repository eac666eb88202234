"""A real mask: the exact zeros of a pruned tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, tile_size
from zerocast.workloads.patterns.nm import NM


@dataclass(frozen=True, slots=True, eq=False)
class Mask(Pattern):
    """Bits of a tensor whose dimensions are `ranks`; True marks a nonzero. Kept packed, eight to a byte.

    laws: the N:M groups, as (n, m, rank), that the bits keep to, at most one for each rank; a pass uses the first.
    digest: of the packed bits, made of them where none is given.
    """

    ranks: tuple[str, ...]
    shape: tuple[int, ...]
    packed: NDArray[np.uint8] = field(repr=False)
    nonzeros: int
    laws: tuple[tuple[int, int, str], ...] = ()
    digest: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.digest:  # once: masks are compared often, and those of large layers are long
            object.__setattr__(self, "digest", hashlib.sha256(self.packed.data).hexdigest())

    @classmethod
    def of(cls, mask: ArrayLike, ranks: Sequence[str]) -> Mask:
        """Mask from an array of booleans with one dimension per rank name."""
        bits = np.asarray(mask, dtype=bool)
        if bits.ndim != len(ranks):
            raise WorkloadError(f"mask of shape {bits.shape} does not fit ranks {tuple(ranks)}")
        return cls(tuple(ranks), bits.shape, np.packbits(bits), int(bits.sum()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.ranks, self.shape, self.laws, self.digest

    @property
    def bits(self) -> NDArray[np.bool_]:
        """The unpacked mask."""
        size = int(np.prod(self.shape))
        return np.unpackbits(self.packed, count=size).astype(bool).reshape(self.shape)

    @property
    def groups(self) -> NM | None:
        return NM(*self.laws[0]) if self.laws else None

    def facing(self, ranks: Collection[str]) -> Mask:
        """The mask with the laws along `ranks` before the others."""
        return replace(self, laws=tuple(sorted(self.laws, key=lambda law: law[2] not in ranks)))

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        return self.ranks, self.bits

    @property
    def density(self) -> float:
        return self.nonzeros / max(int(np.prod(self.shape)), 1)

    def counts(self, tile: Extents) -> NDArray[np.int64]:
        """Nonzeros of every tile of the grid laid from the origin (edge tiles are cut): one entry per tile.

        As for every pattern, a rank that `tile` does not name has extent 1.
        """
        edges = []
        for rank, size in zip(self.ranks, self.shape, strict=True):
            extent = max(int(np.asarray(tile.get(rank, 1))), 1)
            edges.append(np.append(np.arange(0, size, extent), size))
        counts = _prefix_sums(self)[np.ix_(*edges)]
        for axis in range(len(edges)):
            counts = np.diff(counts, axis=axis)
        return counts

    def filled(self, tile: Mapping[str, int]) -> float:
        return float((self.counts(tile) > 0).mean())

    def occupancy(self, tile: Extents) -> Occupancy:
        """Mean, variance and maximum over the grid of tiles, a tile larger than the mask being cut to it.

        The mean is density * size, so that totals are kept; variance and maximum come from the tiles that
        the mask's edge does not cut (the maximum is never below the mean). Ranks the mask lacks repeat it.
        """
        mean, variance, maximum, outside = self._over_grids(tile, (), self._moments)
        return Occupancy(mean * outside, variance * outside**2, maximum * outside)

    def slowest(self, tile: Extents, group: ArrayLike) -> Array:
        """Mean, over consecutive runs of `group` tiles, of the fullest of the run: what lock step waits for.

        Tiles are in row-major order of the mask's ranks, those cut by its edge left out. Broadcasts.
        """
        fullest, outside = self._over_grids(tile, (group,), self._fullest)
        return fullest * outside

    def _over_grids(
        self, tile: Extents, more: tuple[ArrayLike, ...], function: Callable[..., tuple[float, ...]]
    ) -> tuple[Array, ...]:
        """`function(extents, *more)` at every point of the broadcast extents, each distinct point once.

        The last array of the result is the extent of the ranks that the mask lacks.
        """
        outside = tile_size({rank: extent for rank, extent in tile.items() if rank not in self.ranks})
        inside = [np.asarray(tile.get(rank, 1)) for rank in self.ranks]
        *grids, outside = np.broadcast_arrays(*inside, *more, outside)
        for axis, size in enumerate(self.shape):
            grids[axis] = np.minimum(grids[axis], size)
        points, back = np.unique(np.stack([grid.ravel() for grid in grids]), axis=1, return_inverse=True)
        last = len(self.ranks)
        rows = [
            function(dict(zip(self.ranks, point[:last], strict=True)), *point[last:])
            for point in points.astype(np.int64).T.tolist()
        ]
        columns = np.asarray(rows)[back.ravel()].T
        return *(column.reshape(outside.shape) for column in columns), outside

    def _uncut(self, extents: Mapping[str, int]) -> NDArray[np.int64]:
        """Counts of the tiles that lie wholly inside the mask."""
        inside = tuple(slice(size // max(extents[rank], 1)) for rank, size in zip(self.ranks, self.shape, strict=True))
        return self.counts(extents)[inside]

    def _moments(self, extents: Mapping[str, int]) -> tuple[float, float, float]:
        counts = self._uncut(extents)
        mean = self.density * float(tile_size(extents))
        return mean, float(counts.var()) if counts.size else 0.0, max(float(counts.max(initial=0)), mean)

    def _fullest(self, extents: Mapping[str, int], group: int) -> tuple[float]:
        counts = self._uncut(extents).ravel()
        if not counts.size:
            return (0.0,)
        padded = np.pad(counts, (0, -counts.size % group))
        return (float(padded.reshape(-1, group).max(axis=1).mean()),)


@lru_cache(maxsize=4)
def _prefix_sums(mask: Mask) -> NDArray[np.int64]:
    """Nonzeros of the box from the origin to each point: a tile's count is then a few differences, so that
    the cost of a mapping grows with its number of tiles and not with the tensor."""
    sums = np.pad(mask.bits, [(1, 0)] * len(mask.shape)).astype(np.int64)
    for axis in range(sums.ndim):
        np.cumsum(sums, axis=axis, out=sums)
    return sums

"""N:M: at most N nonzeros in each group of M consecutive elements along one rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, drawn, tile_size


@dataclass(frozen=True, slots=True)
class NM(Pattern):
    """`n` of every `m` along `rank`; groups start at multiples of `m`."""

    n: int
    m: int
    rank: str

    def __post_init__(self) -> None:
        if not 0 < self.n <= self.m:
            raise WorkloadError(f"N:M pattern {self.n}:{self.m}: N must lie between 1 and M = {self.m}")

    @property
    def density(self) -> float:
        return self.n / self.m

    def expected(self, tile: Extents) -> Array:
        return self.occupancy(tile).mean

    def occupancy(self, tile: Extents) -> Occupancy:
        """Whole groups hold exactly N; a group cut at the tile's edge is hypergeometric."""
        length = np.asarray(tile.get(self.rank, 1), dtype=float)
        fibers = tile_size(tile) / length
        groups, rest = np.divmod(length, self.m)
        share = self.n / self.m
        spread = rest * share * (1 - share) * (self.m - rest) / max(self.m - 1, 1)
        return Occupancy(
            mean=fibers * (groups * self.n + rest * share),
            variance=fibers * spread,
            maximum=fibers * (groups * self.n + np.minimum(rest, self.n)),
        )

    def filled(self, tile: Mapping[str, int]) -> float:
        """Whole groups always hold one; pieces of a group are empty by the hypergeometric law, independently."""
        length = tile.get(self.rank, 1)
        if length >= self.m or self.m % length:
            return Pattern.filled(self, tile) if length < self.m else 1.0
        empty = math.comb(self.m - self.n, length) / math.comb(self.m, length)
        return 1 - empty ** (int(tile_size(tile)) // length)

    @property
    def groups(self) -> NM:
        return self

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        """N of every M along the pattern's rank; of a cut last group at most N. A tensor too short for a group, or
        without the rank, has no group to keep to: its elements are drawn by themselves."""
        ranks = tuple(sizes)
        if sizes.get(self.rank, 0) < self.m:
            return ranks, drawn(self.density, sizes, rng)
        axis = ranks.index(self.rank)
        others = [size for rank, size in sizes.items() if rank != self.rank]
        length = sizes[self.rank]
        groups = -(-length // self.m)
        score = rng.random((*others, groups, self.m), dtype=np.float32)
        score[..., -1, length - (groups - 1) * self.m :] = 2.0
        place = np.argsort(np.argsort(score, axis=-1), axis=-1)
        bits = (place < self.n).reshape(*others, -1)[..., :length]
        return ranks, np.moveaxis(bits, -1, axis)

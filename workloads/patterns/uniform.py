"""Uniform random: each element is a nonzero with the same probability, independently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, drawn, tile_size
from zerocast.workloads.patterns.binomial import EXACT_UP_TO, expected_maximum


@dataclass(frozen=True, slots=True)
class Uniform(Pattern):
    """Bernoulli zeros with the given share of nonzeros."""

    share: float

    def __post_init__(self) -> None:
        check_density(self.share, "uniform")

    @property
    def density(self) -> float:
        return self.share

    def occupancy(self, tile: Extents) -> Occupancy:
        size = tile_size(tile)
        return Occupancy(size * self.share, size * self.share * (1 - self.share), size)

    def slowest(self, tile: Extents, group: ArrayLike) -> Array:
        """Expected maximum of `group` binomials: exact for small tiles, the normal law for large ones."""
        size = tile_size(tile)
        exact = expected_maximum(np.minimum(size, EXACT_UP_TO), self.share, group)
        return np.where(size <= EXACT_UP_TO, exact, Pattern.slowest(self, tile, group))

    def filled(self, tile: Mapping[str, int]) -> float:
        return 1 - (1 - self.share) ** int(tile_size(tile))

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        return tuple(sizes), drawn(self.share, sizes, rng)

    def shares_along(self, fiber: Sequence[tuple[str, int]]) -> Array:
        return np.asarray([self.share])


def check_density(share: float, what: str) -> None:
    """Raise `WorkloadError` unless the density lies in [0, 1] and is a number."""
    if not 0.0 <= share <= 1.0:
        raise WorkloadError(f"{what} pattern: density {share} is outside [0, 1]")

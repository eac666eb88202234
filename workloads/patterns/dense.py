"""No zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, tile_size


@dataclass(frozen=True, slots=True)
class Dense(Pattern):
    """Every element is a nonzero."""

    @property
    def density(self) -> float:
        return 1.0

    def occupancy(self, tile: Extents) -> Occupancy:
        size = tile_size(tile)
        return Occupancy(size, np.zeros_like(size), size)

    def filled(self, tile: Mapping[str, int]) -> float:
        return 1.0

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        return tuple(sizes), np.broadcast_to(np.True_, tuple(sizes.values()))

    def shares_along(self, fiber: Sequence[tuple[str, int]]) -> Array:
        return np.ones(1)


DENSE = Dense()

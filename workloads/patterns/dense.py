"""No zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zerocast.workloads.patterns.base import Extents, Occupancy, Pattern, tile_size


@dataclass(frozen=True, slots=True)
class Dense(Pattern):
    """Every element is a nonzero."""

    @property
    def density(self) -> float:
        return 1.0

    def occupancy(self, tile: Extents) -> Occupancy:
        size = tile_size(tile)
        return Occupancy(size, np.zeros_like(size), size)


DENSE = Dense()

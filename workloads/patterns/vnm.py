"""V:N:M: panels of V rows agree on the columns from which each row takes N of every M."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, drawn, tile_size
from zerocast.workloads.patterns.nm import NM

COLUMNS = 4
"""Columns of each M that a panel keeps: those of one group of a 2:4 tensor core."""


@dataclass(frozen=True, slots=True)
class VNM(Pattern):
    """`v` neighbours along `panel_rank` keep the same four columns of every `m` along `rank`, and each of them `n` of
    those (VENOM, Castro et al., SC 2023). Panels and groups start at multiples of `v` and `m`."""

    v: int
    n: int
    m: int
    rank: str
    panel_rank: str

    def __post_init__(self) -> None:
        what = f"V:N:M pattern {self.v}:{self.n}:{self.m}"
        if not 0 < self.n <= COLUMNS <= self.m:
            raise WorkloadError(
                f"{what}: N must lie between 1 and {COLUMNS}, the columns that a panel keeps of every M"
            )
        if self.v < 1 or self.rank == self.panel_rank:
            raise WorkloadError(f"{what}: V must be 1 or more, and panels lie along another rank than groups")

    @property
    def density(self) -> float:
        return self.n / self.m

    @property
    def groups(self) -> NM:
        return NM(self.n, self.m, self.rank)

    @property
    def panel(self) -> int:
        return self.v

    def occupancy(self, tile: Extents) -> Occupancy:
        """Whole groups hold exactly N in each row. Of a cut one, a panel has j of its columns (hypergeometric),
        of which each of its rows takes its share: the law of total variance over j. A tile starts at a panel's edge."""
        flat = self.groups.occupancy(tile)
        rest = np.mod(np.asarray(tile.get(self.rank, 1), dtype=float), self.m)
        inside = rest / self.m
        spread = COLUMNS * inside * (1 - inside) * (self.m - COLUMNS) / max(self.m - 1, 1)
        part = self.n / COLUMNS
        # E[j (4 - j)] = 4 E[j] - Var[j] - E[j]^2
        mean = COLUMNS * inside
        within = part * (1 - part) * (COLUMNS * mean - spread - mean**2) / (COLUMNS - 1)
        rows = np.asarray(tile.get(self.panel_rank, 1), dtype=float)
        panels, last = np.divmod(rows, self.v)
        squares = panels * self.v**2 + last**2
        others = tile_size({name: size for name, size in tile.items() if name not in (self.rank, self.panel_rank)})
        return Occupancy(flat.mean, others * (rows * within + squares * part**2 * spread), flat.maximum)

    def expected(self, tile: Extents) -> Array:
        return self.occupancy(tile).mean

    def filled(self, tile: Mapping[str, int]) -> float:
        """Of one column: rows of a panel agree whether they may keep it, and each that may takes it with N/4."""
        if tile.get(self.rank, 1) != 1:
            return Pattern.filled(self, tile)
        rows = tile.get(self.panel_rank, 1)
        others = int(tile_size({name: size for name, size in tile.items() if name not in (self.rank, self.panel_rank)}))
        kept = COLUMNS / self.m
        empty = 1.0
        for panel in (*(self.v,) * (rows // self.v), rows % self.v):
            empty *= 1 - kept + kept * (1 - self.n / COLUMNS) ** panel
        return 1 - empty**others

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        """Four of every M for each panel, of these N for each row; a cut last group keeps at most as many. A tensor too
        short for a group has none to keep to: its elements are drawn by themselves."""
        ranks = tuple(sizes)
        if sizes.get(self.rank, 0) < self.m:
            return ranks, drawn(self.density, sizes, rng)
        rows, length = sizes.get(self.panel_rank, 1), sizes[self.rank]
        others = [size for name, size in sizes.items() if name not in (self.rank, self.panel_rank)]
        groups, panels = -(-length // self.m), -(-rows // self.v)
        kept = _lowest(rng.random((*others, panels, 1, groups, self.m), dtype=np.float32), COLUMNS)
        score = rng.random((*others, panels, self.v, groups, self.m), dtype=np.float32)
        bits = _lowest(np.where(kept, score, 2.0), self.n)
        bits = bits.reshape(*others, panels * self.v, groups * self.m)[..., :rows, :length]
        if self.panel_rank not in sizes:
            return ranks, np.moveaxis(bits[..., 0, :], -1, ranks.index(self.rank))
        return ranks, np.moveaxis(bits, (-2, -1), (ranks.index(self.panel_rank), ranks.index(self.rank)))


def _lowest(score: NDArray[np.floating[Any]], count: int) -> Bits:
    """The `count` lowest along the last axis."""
    return np.asarray(np.argsort(np.argsort(score, axis=-1), axis=-1) < count)

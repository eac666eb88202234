"""Measured densities along one rank: each channel has its own share of nonzeros."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns.base import Array, Bits, Extents, Occupancy, Pattern, drawn, tile_size
from zerocast.workloads.patterns.uniform import check_density


@dataclass(frozen=True, slots=True)
class PerChannel(Pattern):
    """Bernoulli zeros whose share of nonzeros, `shares[i]`, depends on the position i along `rank`."""

    rank: str
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shares:
            raise WorkloadError(f"per-channel pattern along {self.rank!r}: it needs at least one density")
        for share in self.shares:
            check_density(share, f"per-channel {self.rank!r}")

    @property
    def density(self) -> float:
        return sum(self.shares) / len(self.shares)

    def occupancy(self, tile: Extents) -> Occupancy:
        """Over the tiles of a grid laid from the origin, those that the end of the rank cuts left out.

        With s elements of each of its channels, a tile holds a sum of Binomial(s, share): by the law of
        total variance, Var = s * mean of the tiles' sum of share * (1 - share) + s^2 * variance of their sum of
        shares. A tile longer than the rank repeats it, as for a mask. The mean is density * size.
        """
        length = np.asarray(tile.get(self.rank, 1))
        size = tile_size(tile)
        within, between = self._spread(length)
        each = size / np.maximum(length, 1)
        return Occupancy(size * self.density, each * within + each**2 * between, size)

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], Bits]:
        """Of a tensor cut from a larger one, the channels are taken as spread over all. One without the rank has the
        mean density."""
        if self.rank not in sizes:
            return tuple(sizes), drawn(self.density, sizes, rng)
        channels = np.linspace(0, len(self.shares) - 1, sizes[self.rank]).round().astype(np.intp)
        along = [-1 if rank == self.rank else 1 for rank in sizes]
        return tuple(sizes), drawn(np.asarray(self.shares)[channels].reshape(along), sizes, rng)

    def shares_along(self, fiber: Sequence[tuple[str, int]]) -> Array | None:
        """Where the channels lie along the fiber; where they lie across it, fibers differ."""
        ranks = [rank for rank, _ in fiber]
        if self.rank not in ranks or dict(fiber)[self.rank] != len(self.shares):
            return None
        at = ranks.index(self.rank)
        inner, outer = (math.prod(size for _, size in part) for part in (fiber[at + 1 :], fiber[:at]))
        return np.tile(np.repeat(np.asarray(self.shares), inner), outer)

    def _spread(self, length: Array) -> tuple[Array, Array]:
        """For tiles of `length` channels: mean of the sum of share * (1 - share), variance of the sum of shares."""
        shares = np.asarray(self.shares)
        lengths, back = np.unique(np.asarray(length, dtype=np.int64).ravel(), return_inverse=True)
        rows = np.empty((2, len(lengths)))
        for at, extent in enumerate(lengths):
            step = int(min(max(extent, 1), len(shares)))
            whole = shares[: len(shares) // step * step].reshape(-1, step)
            repeats = max(extent, 1) / step
            rows[:, at] = (whole * (1 - whole)).sum(axis=1).mean() * repeats, whole.sum(axis=1).var() * repeats**2
        within, between = rows[:, back.ravel()].reshape(2, *np.shape(length))
        return within, between

"""Time of a product whose tiles are all alike, as a pipeline over an array and one link or several.

Step i computes tile i while each link stores what tile i - 1 left and loads what tile i + 1 needs; the next step begins
when all are done. Buffers that are not doubled let part of this or none of it go on together (`side_by_side`). First
load and last store stand alone. Steps that move the same are one kind, and counted: `kinds` knows all of a walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.products.mapping import ORDERS, Mapping
from zerocast.simulator.products.traffic import TileBytes
from zerocast.simulator.products.walks.kinds import every_walk

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Link:
    """What crosses a link, in the time that it takes: tiles of an average size, and at every step what only passes
    through. All broadcast."""

    tile: TileBytes
    passing: ArrayLike = 0.0


def pipeline_time(
    mapping: Mapping, batch: ArrayLike, compute: ArrayLike, links: Sequence[Link], overlap: float = 1.0
) -> Array:
    """Time of `batch` walks over the tiles of a mapping, one after the other, in the unit of a tile's `compute` and of
    the links; exact for tiles of one size. overlap: as in `side_by_side`."""
    kinds = _every_kind()
    compute = reduce(np.maximum, (np.asarray(link.passing) for link in links), np.asarray(compute, dtype=float))
    moved = reduce(np.maximum, (kinds.moved(link, compute.ndim) for link in links))
    total = reduce(np.maximum, (link.tile.input + link.tile.weight for link in links))
    total = total + reduce(np.maximum, (link.tile.output for link in links))
    for step in kinds.counted(mapping, batch) * side_by_side(compute, moved, overlap):
        total = total + step  # in order: one mapping and a million are equal
    return np.asarray(total)


def side_by_side(compute: ArrayLike, link: ArrayLike, overlap: float) -> Array:
    """Time of computing and moving together, in their unit: the longer, and of the shorter what does not hide behind it
    (`Memory.overlap`): 1 for double buffers, 0 where the two take turns."""
    longer = np.maximum(compute, link)
    return longer if overlap == 1 else longer + (1 - overlap) * np.minimum(compute, link)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Steps that move the same tiles, of every walk.

    often: how many there are of each by walk (`Walks.start`) and by what stands for several steps (`Walks.between`)
    [3, 6, 4, 4, 4, kinds, 16]. What moves in such a step: input, weight: a tile that was not there; every: one in any
    case, where none stays; sums: tiles of unfinished sums, in or out; output: a tile of finished ones.
    """

    often: Array
    input: Array
    weight: Array
    every: Array
    sums: Array
    output: Array

    def counted(self, mapping: Mapping, batch: ArrayLike) -> Array:
        """How many steps there are of each kind [kinds, ...]."""
        order = ORDERS.index(mapping.order) if isinstance(mapping.order, str) else mapping.order
        order, *loops = np.broadcast_arrays(order, batch, *mapping.trips.values())
        stands = [np.minimum(trips, 3).astype(np.intp) for trips in loops]
        each = np.ones((1, *order.shape))
        for trips, stand in zip(loops, stands, strict=True):
            each = np.stack([each, each * (trips - stand + 1)], axis=1).reshape(-1, *order.shape)
        often = self.often[stands[0] - 1, order, stands[1] - 1, stands[2] - 1, stands[3] - 1]
        return np.asarray(np.einsum("...kb,b...->k...", often, each))

    def moved(self, link: Link, dims: int) -> Array:
        """What a link moves in each kind of step [kinds, ...]."""
        tile = link.tile
        inputs = self.input if tile.input_stays else self.every
        weights = self.weight if tile.weight_stays else self.every
        sides = ((inputs, tile.input), (weights, tile.weight), (self.sums, tile.partial), (self.output, tile.output))
        dims = max(dims, *(np.ndim(size) for _, size in sides), np.ndim(link.passing))
        total: Array = np.asarray(link.passing, dtype=float)
        for times, size in sides:
            total = total + times.reshape(-1, *(1,) * dims) * size
        return total


@cache
def _every_kind() -> _Kinds:
    walks = every_walk()
    kept, _, anew = (walks.input > 0).reshape(3, -1)
    weight, sums = (walks.weight > 0).reshape(3, -1)[0], (walks.sums > 0) + 1 * (walks.stored > 0)
    complete = walks.stored > 4
    moves = np.stack([kept, weight, anew, sums - complete, complete])
    kinds, which = np.unique(moves, axis=1, return_inverse=True)
    often = np.zeros((walks.start.size, kinds.shape[1], 16))
    walk = np.searchsorted(walks.start.ravel(), np.arange(walks.steps), "right") - 1
    np.add.at(often, (walk, which.ravel(), walks.between), 1.0)
    return _Kinds(often.reshape(*walks.start.shape, *often.shape[1:]), *kinds.astype(float))

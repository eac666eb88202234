"""Mappings on several depths of memories: one tiling per depth, each tile the next depth's problem.

Depth 0 is off chip, depths 1 to D are on chip, and the array stands at D + 1. A tiling cuts the tile of the depth
outside of it, lays copies side by side over the fan-out between them, and walks the rest in three loops. What an
operand needs at a depth is brought in just inside the innermost loop that cuts it: loops further in do not repeat it,
loops further out that it does not depend on do, across depths too. All extents may be arrays, of many mappings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow, Memory, Operand
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.traffic import FREE

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Sizes = list[tuple[Array, Array]]
"""Sizes of the tiles along a side, and how many there are of each."""
Mode = Literal["all", "steps", "copies", "one"]
"""What is counted of the tiles of one tiling: all, those of one copy after the other, those side by side, or one."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of one depth: extents m, n, k; order of the loops over them (numbers into `ORDERS`); copies side by side,
    by side of the product (groups, m, n, k; one where it is not named)."""

    m: Array
    n: Array
    k: Array
    order: Index
    spread: dict[str, Array] = field(default_factory=dict)

    def copies(self, side: str) -> Array:
        """Copies side by side along a side of the product."""
        return self.spread.get(side, np.asarray(1.0))


class Counts:
    """How many tiles of each depth a product has under nested mappings, edges included.

    levels: the tilings of depths 1 to D, and that of the array.
    """

    def __init__(self, gemm: Gemm, levels: tuple[Tiling, ...]) -> None:
        self.gemm, self.levels = gemm, levels
        self._known: dict[tuple[str, tuple[Mode, ...]], Sizes] = {}
        self._alone: dict[tuple[str, tuple[Mode, ...]], tuple[Mode, ...]] = {}
        self._numbers: dict[tuple[str, tuple[Mode, ...]], Array] = {}
        self._loops: dict[tuple[int, Operand], tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}

    def sizes(self, side: str, modes: tuple[Mode, ...]) -> Sizes:
        """Sizes along a side of the tiles counted at depths 1, 2, ... as the modes say."""
        if not modes:
            return [(np.asarray(float(getattr(self.gemm, side))), np.asarray(1.0))]
        modes = self.alone(side, modes)
        if (side, modes) not in self._known:
            level = self.levels[len(modes) - 1]
            outside = self.sizes(side, modes[:-1])
            self._known[side, modes] = _cut(outside, getattr(level, side), level.copies(side), modes[-1])
        return self._known[side, modes]

    def alone(self, side: str, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        """The same modes, named alike where a depth has no copies along a side."""
        if (side, modes) not in self._alone:
            same: dict[Mode, Mode] = {"steps": "all", "copies": "one"}
            levels = zip(self.levels, modes, strict=False)
            named = tuple(mode if side in level.spread else same.get(mode, mode) for level, mode in levels)
            self._alone[side, modes] = named
        return self._alone[side, modes]

    def number(self, side: str, modes: tuple[Mode, ...]) -> Array:
        """How many tiles are counted."""
        modes = self.alone(side, modes)
        if (side, modes) not in self._numbers:
            self._numbers[side, modes] = np.asarray(sum(count for _, count in self.sizes(side, modes)))
        return self._numbers[side, modes]

    def every(self, side: str, depth: int, mode: Mode = "all") -> Array:
        """Tiles along a side at a depth, on all copies; mode steps: in time."""
        return self.number(side, repeated(mode, depth))

    def groups(self, depth: int) -> Array:
        """Items of the batch in a tile of a depth: as many as the copies further in take side by side."""
        count = np.asarray(1.0)
        for level in self.levels[depth:]:
            count = count * level.copies("groups")
        return np.minimum(count, self.gemm.batch)

    @property
    def turns(self) -> Array:
        """Times that the batch goes through the copies."""
        return np.asarray(np.ceil(self.gemm.batch / self.groups(0)))

    def steps(self, depth: int) -> Array:
        """Tiles of a depth one after the other, on one of the copies, of the whole batch."""
        return self.turns * np.prod([self.every(side, depth, "steps") for side in "mnk"], axis=0)

    def used(self, depth: int) -> Array:
        """Copies of a depth that work, on average over its steps."""
        tiles = np.prod([self.every(side, depth) for side in "mnk"], axis=0)
        return np.asarray(tiles * np.ceil(self.gemm.batch / self.groups(depth)) / self.steps(depth))

    def trips(self, depth: int) -> dict[str, Array]:
        """Loops over the full tiles of a depth, by side: how many trips each has."""
        level, outside = self.levels[depth - 1], self.levels[depth - 2] if depth > 1 else self.gemm
        return {side: np.ceil(getattr(outside, side) / (getattr(level, side) * level.copies(side))) for side in "mnk"}

    def mapping(self, dataflow: Dataflow, depth: int) -> Mapping:
        """The tiling of a depth as the mapping of one full tile of the depth outside."""
        level, trips = self.levels[depth - 1], self.trips(depth)
        return Mapping(dataflow, level.order, level.m, level.n, level.k, trips["m"], trips["n"], trips["k"])

    def loops(self, dataflow: Dataflow, depth: int, operand: Operand) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether the loops of a depth cut an operand, and whether one of these runs inside the loop that the operand
        does not depend on, which then brings its tiles in again."""
        if (depth, operand) in self._loops:
            return self._loops[depth, operand]
        mapping, free = self.mapping(dataflow, depth), FREE[operand]
        cut, inside = np.asarray(False), np.asarray(False)
        for side in "mnk".replace(free, ""):
            several = mapping.trips[side] > 1
            cut, inside = cut | several, inside | (several & (mapping.position(side) > mapping.position(free)))
        self._loops[depth, operand] = cut, inside
        return cut, inside

    def again(self, dataflow: Dataflow, depth: int, operand: Operand, stays: bool = True) -> Index:
        """Down to which depth the loops that an operand does not depend on bring it into `depth` anew: they do from the
        innermost loop that cuts it outwards. stays: whether a tile is still there for the next step."""
        found, seen = np.asarray(0 if stays else depth), np.asarray(not stays)
        for at in range(depth, 0, -1):
            if np.all(seen):
                break
            cut, inside = self.loops(dataflow, at, operand)
            found = np.where(cut & ~seen, np.where(inside, at, at - 1), found)
            seen = seen | cut
        return found


def _cut(outside: Sizes, tile: Array, spread: Array, mode: Mode) -> Sizes:
    """The tiles counted of each of some tiles outside."""
    full, rest = np.asarray(0.0), []
    for size, count in outside:
        if mode == "one":
            rest.append((np.minimum(tile, size), count))
            continue
        if mode == "steps":
            number = np.ceil(size / (tile * spread))
            last = np.minimum(tile, size - (number - 1) * tile * spread)
        else:
            number = np.ceil(size / tile)
            last = size - (number - 1) * tile
            if mode == "copies":
                number, last = np.minimum(number, spread), np.where(number > spread, tile, last)
        full = full + count * (number - 1)
        rest.append((last, count))
    edges = []
    for last, count in rest:
        if np.any(last != tile):
            edges.append((last, count))
        else:
            full = full + count
    return [(tile, full), *edges] if np.any(full) or not edges else edges


def repeated(mode: Mode, depths: int) -> tuple[Mode, ...]:
    """One mode at each of some depths."""
    return (mode,) * depths


def path(accelerator: Accelerator, operand: Operand) -> tuple[Memory, ...]:
    """Memories that an operand passes on its way to the array, outermost first."""
    return tuple(memory for memory in accelerator.memories if operand in memory.holds)


def depth_of(accelerator: Accelerator, memory: Memory) -> int:
    """Depth of a memory; 0 is the off-chip one."""
    return 0 if memory is accelerator.memories[0] else memory.depth


def boundaries(accelerator: Accelerator, operand: Operand) -> Iterator[tuple[Memory, Memory]]:
    """Memory and next memory inwards, for each two neighbours on an operand's way."""
    return pairwise(path(accelerator, operand))

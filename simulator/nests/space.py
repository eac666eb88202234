"""The mapspace of a product on several depths of memories, and what no mapping of it can be below.

A depth's candidates are the tiles of one grid that fit its memories, with each way to lay copies of them side by side.
What crosses a boundary is at least what the tile further in asks for: each operand as often as the loop that it does
not depend on has tiles, but for one operand, which may stay. So the least of everything further in is, for every tile
of the grid, a minimum over all smaller ones: accumulated along each side, not searched over pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow, Fanout, Memory, Operand
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.law import Unit
from zerocast.simulator.nests.levels import Counts, Tiling, depth_of, path
from zerocast.simulator.nests.tile import tile_cycles, tile_ports
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import tile_extents
from zerocast.simulator.products.traffic import FREE, OPERANDS, element_bits, link_bits, tile_elements
from zerocast.simulator.products.unfit import shortage
from zerocast.simulator.products.walks.pipeline import side_by_side
from zerocast.simulator.rates import Rates

Array = NDArray[np.float64]
Index = NDArray[np.intp]

LIMIT = 16
"""Tile sizes kept per side and depth."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tiles of one depth, each with copies side by side [candidates].

    tile: place in the grid by side; needs: the least place that the tile outside may have, so that no copy idles.
    link, first: cycles of the link that brings them in, and of its first load and last store; whole: least cycles with
    what passes this depth; own: joules of that.
    moved: joules by operand that comes in as often as it has tiles [operands, candidates], and those of one that stays;
    last, what an operand at least costs one depth further in if it does not stay here.
    cycles, joules: what no mapping with this tile is below, from this depth inwards.
    """

    tiling: Tiling
    tile: dict[str, Index]
    needs: dict[str, Index]
    link: Array
    first: Array
    whole: Array
    own: Array
    moved: tuple[Array, Array, Array]
    cycles: Array
    joules: Array
    overlap: float

    def piped(self, at: Any, inside: Array) -> Array:
        """Cycles that no mapping with some of the tiles is below when what lies further in takes `inside`."""
        link, first = self.link[at], self.first[at]
        return np.maximum(first + side_by_side(inside, link - first, self.overlap), self.whole[at])


class NestSpace:
    """Candidates of every depth for one dataflow. timed: whether links count for the cycles."""

    def __init__(
        self, gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, rates: Rates, timed: bool = True,
        limit: int = LIMIT,
    ) -> None:  # fmt: skip
        self.gemm, self.accelerator, self.dataflow = gemm.free, accelerator, dataflow
        self.rates, self.timed, self.depths = rates, timed, accelerator.depths
        units = dict(zip("mnk", law_of(dataflow).grain(gemm, accelerator), strict=True))
        self.units = {side: float(unit) for side, unit in units.items()}
        self.given = gemm.given or Given()
        self.extents = {side: self._extents(side, unit, limit) for side, unit in units.items()}
        self.shape = tuple(len(self.extents[side]) for side in "mnk")
        self.array = [{side: np.asarray(float(count)) for side, count in options.items()}
                      for options in self._options(self.depths)]  # fmt: skip
        self.candidates: list[Candidates] = []
        for depth in range(self.depths, 0, -1):
            self.candidates.insert(0, self._candidates(depth))

    def untimed(self) -> NestSpace:
        """The same candidates, of links that take no time."""
        space = copy(self)
        space.timed, space.candidates = False, []
        for found in reversed(self.candidates):
            cycles = self._busy
            if space.candidates:
                inner = space.candidates[0]
                cycles = self._least(inner, inner.cycles)[tuple(found.tile.values())]
            none = np.zeros_like(cycles)
            space.candidates.insert(0, replace(found, link=none, first=none, whole=none, cycles=cycles))
        return space

    def _extents(self, side: str, unit: Unit, limit: int) -> Array:
        """Grid of the tiles along a side, those that are given among them."""
        given = [getattr(level.tile, side) for level in self.given.levels]
        fixed = [float(each) for each in given if each]
        return np.unique(np.r_[thinned(getattr(self.gemm, side), unit, limit), fixed])

    def _options(self, depth: int) -> list[dict[str, int]]:
        """Ways to lay copies side by side over the fan-out of a depth, as far as they are not given."""
        fanout = self.accelerator.fanout_at(depth)
        if fanout is None:
            return [{}]
        most = {side: math.ceil(getattr(self.gemm, side) / self.units[side]) for side in "mnk"}
        fixed = self.given.level(depth).spread.model_dump(exclude_none=True)
        every = [each | fixed for each in _shares(fanout, most | {"groups": self.gemm.batch})]
        return list({tuple(each.items()): each for each in every if math.prod(each.values()) <= fanout.count}.values())

    def fits(self, depth: int, m: Array, n: Array, k: Array, groups: Array | float = 1.0) -> NDArray[np.bool_]:
        """Whether tiles fit the memories of a depth."""
        fit = np.asarray(True)
        for memory in self.accelerator.at_depth(depth):
            needs = sum(tile_needs(self.gemm, self.accelerator, memory, m, n, k, groups).values(), np.asarray(0.0))
            fit = fit & (needs <= self.rates.capacity_bytes[memory.name])
        return fit

    def fit(self, counts: Counts) -> NDArray[np.bool_]:
        """Whether the tiles of nested mappings fit all memories, items of the batch side by side included."""
        fit = np.asarray(True)
        for depth, level in enumerate(counts.levels[:-1], 1):
            fit = fit & self.fits(depth, level.m, level.n, level.k, counts.groups(depth))
        return fit

    def lacking(self) -> Iterator[str]:
        """What of the smallest tiles, or of the given ones, has no room in the memories of its depth."""
        inside: dict[str, float] = {side: self.extents[side][0] for side in "mnk"}
        for depth in range(self.depths, 0, -1):
            level = self.given.level(depth - 1)
            extents = {side: float(getattr(level.tile, side) or inside[side]) for side in "mnk"}
            for side, extent in extents.items():
                if extent < inside[side]:
                    yield f"the tile's {side} at level {depth} is {extent:g}, level {depth + 1} fills {inside[side]:g}"
            sizes = [np.asarray(extent) for extent in extents.values()]
            tile = " x ".join(f"{extent:g}" for extent in extents.values())
            for memory in self.accelerator.at_depth(depth):
                needs = tile_needs(self.gemm, self.accelerator, memory, *sizes)
                room = float(self.rates.capacity_bytes[memory.name])
                yield from shortage(memory, needs, room, f"its tile of {tile}")
            copies = {side: getattr(level.spread, side) or 1 for side in "mnk"}
            inside = {side: max(extent, (copies[side] - 1) * extent + 1) for side, extent in extents.items()}

    def _candidates(self, depth: int) -> Candidates:
        options = self._options(depth - 1)
        axes = np.meshgrid(*(self.extents[side] for side in "mnk"), indexing="ij")
        fit = np.flatnonzero(self.fits(depth, *(axis.ravel() for axis in axes)))
        which, fit = np.repeat(np.arange(len(options)), len(fit)), np.tile(fit, len(options))
        spread = {side: np.array([float(each[side]) for each in options])[which] for side in options[0]}
        extents = {side: axis.ravel()[fit] for side, axis in zip("mnk", axes, strict=True)}
        first = {side: np.maximum(extents[side], (spread.get(side, 1.0) - 1) * extents[side] + 1) for side in "mnk"}
        needs = {side: np.searchsorted(self.extents[side], first[side]) for side in "mnk"}
        fixed = {side: extent for side in "mnk" if (extent := getattr(self.given.level(depth - 1).tile, side))}
        free = (needs[side] < len(self.extents[side]) for side in "mnk")
        real = np.flatnonzero(np.all([*free, *(extents[side] == size for side, size in fixed.items())], axis=0))
        tile = dict(zip("mnk", (place[real] for place in np.unravel_index(fit, self.shape)), strict=True))
        m, n, k = (extents[side][real] for side in "mnk")
        copies = {side: count[real] for side, count in spread.items()}
        tiling = Tiling(m, n, k, np.zeros(1, dtype=np.intp), copies)
        link, ends, whole, moved = self._boundary(depth, tiling)
        own = least_of(moved[0], moved[1])
        if depth == self.depths:
            arrays = [self._array(tiling, copies) for copies in self.array]
            cycles, joules = (np.min([each[place] for each in arrays], axis=0) for place in (0, 1))
            self._busy = cycles
        else:
            inner = self.candidates[0]
            cycles, joules = (self._least(inner, each)[tuple(tile.values())] for each in (inner.cycles, inner.joules))
        found = Candidates(tiling, tile, {side: needs[side][real] for side in "mnk"}, link, ends, whole, own, moved,
                           cycles, own + joules, self.accelerator.overlap(depth))  # fmt: skip
        return replace(found, cycles=found.piped(np.s_[:], cycles))

    def _least(self, found: Candidates, figure: Array) -> Array:
        """The least of a figure of candidates that lies further in than a tile, for each tile of the grid."""
        table = np.full(self.shape, np.inf)
        np.minimum.at(table, tuple(found.needs[side] for side in "mnk"), figure)
        for axis in range(3):
            table = np.minimum.accumulate(table, axis=axis)
        return table

    def _boundary(self, depth: int, tiling: Tiling) -> tuple[Array, Array, Array, tuple[Array, Array, Array]]:
        """Cycles of the link into a depth, those of its first load and last store, those of the link at the least, and
        joules by operand of what crosses (`Candidates`): no mapping with such tiles is below them. All operands cross
        as often as there are tiles, but for one."""
        shape, steps = np.shape(tiling.m), self._steps(tiling)
        joules, load, past = np.zeros((3, 3, *shape)), np.zeros((2, 3, *shape)), np.zeros((2, 3, *shape))
        ends = np.zeros(shape)
        for place, operand in enumerate(OPERANDS):
            for outer, inner in pairwise(path(self.accelerator, operand)):
                if inner.depth == depth:
                    again, stays, *moved, end = self._moved(depth, tiling, operand, outer, inner)
                    joules[:2, place], load[:, place] = (again, stays), moved
                    ends = ends + end
                elif depth == 1 and outer is self.accelerator.dram:
                    past[:, place] = self._moved(1, tiling, operand, outer, inner)[2:4]
                if inner.depth == depth + 1:
                    joules[2, place] = self._visited(operand, outer, inner, steps[FREE[operand]])
        rate = self._rate(depth) if self.timed else math.inf
        # beside the last step the link brings in nothing for this depth, and may hide what passes it or what it stores
        late = load + past * (1 - 1 / np.prod(list(steps.values()), axis=0))
        outputs = steps["m"] * steps["n"]
        stores = np.where(outputs > 1, self._sums(self.accelerator.dram, np.full(shape, 2.0))[0] / outputs, 0.0)
        whole = np.where(past.any(axis=(0, 1)), least_of(*(load + past)) - stores, 0.0)
        total, ends = least_of(*late), ends if depth == 1 else np.zeros(shape)
        return total / rate, np.minimum(ends, total) / rate, whole / rate, (joules[0], joules[1], joules[2])

    def _steps(self, tiling: Tiling) -> dict[str, Array]:
        """Steps of all loops outside of tiles, by side."""
        return {
            side: np.ceil(getattr(self.gemm, side) / (getattr(tiling, side) * tiling.copies(side))) for side in "mnk"
        }

    def _rate(self, depth: int) -> float:
        """Bytes per cycle of all copies of the memories outside a depth."""
        if depth == 1:
            return float(self.rates.dram_bytes_per_s / self.rates.clock_hz)
        rates = [memory.bytes_per_cycle for memory in self.accelerator.at_depth(depth - 1)]
        return math.inf if None in rates else sum(rate for rate in rates if rate) * self.accelerator.copies(depth - 1)

    def _moved(
        self, depth: int, tiling: Tiling, operand: Operand, outer: Memory, inner: Memory
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Of an operand on its way between two memories: joules when it comes as often as it has tiles, and when it
        stays; bytes on the link, likewise; and those of its first load or last store."""
        gemm, price, free = self.gemm, self.rates.j_per_byte, FREE[operand]
        top, side = depth_of(self.accelerator, outer), getattr(gemm, operand)
        apart = np.ceil(getattr(gemm, free) / getattr(tiling, free))
        shared = np.ceil(getattr(gemm, free) / (getattr(tiling, free) * self._together(operand, top, depth, tiling)))
        link, both, one = float(top == depth - 1), price[outer.name] + price[inner.name], np.ones_like(apart)
        steps = self._steps(tiling)
        tiles = np.prod([steps[each] for each in "mnk" if each != free], axis=0) * math.ceil(gemm.batch)
        if operand != "output":
            size = gemm.batch * side.unique * link_bits(gemm, self.accelerator, operand, outer) / 8
            return (size * (shared * price[outer.name] + apart * price[inner.name]), size * both * one,
                    link * size * shared, link * size * one, link * size / tiles)  # fmt: skip
        out, back, final = self._sums(outer, shared)
        return ((out + back) * both, final * both * one, link * (out + back * (depth == 1)), link * final * one,
                link * final / tiles)  # fmt: skip

    def _sums(self, outer: Memory, visits: Array) -> tuple[Array, Array, float]:
        """Bytes of sums that leave for a memory and come back from it, and of complete ones, when each is visited so
        often."""
        words = self.gemm.batch * self.gemm.m * self.gemm.n / 8
        wide = words * self.accelerator.compute.accumulate_bits
        off_chip = outer is self.accelerator.dram
        final = words * link_bits(self.gemm, self.accelerator, "output", outer) if off_chip else wide
        back = (visits - 1) * wide * (0.0 if self._adds_up(self.depths + 1) else 1.0)
        return (visits - 1) * wide + final, back, final

    def _visited(self, operand: Operand, outer: Memory, inner: Memory, visits: Array) -> Array:
        """Joules of an operand on its way between two memories when it comes so often."""
        price = self.rates.j_per_byte[outer.name] + self.rates.j_per_byte[inner.name]
        if operand == "output":
            out, back, _ = self._sums(outer, visits)
            return (out + back) * price
        bits = link_bits(self.gemm, self.accelerator, operand, outer)
        return self.gemm.batch * getattr(self.gemm, operand).unique * bits / 8 * visits * price

    def _adds_up(self, depth: int) -> bool:
        """Whether a fan-out outside of a depth adds sums up, so that some copies start them from nothing."""
        return any("k" in fan.over for each in range(depth) if (fan := self.accelerator.fanout_at(each)) is not None)

    def _together(self, operand: Operand, top: int, depth: int, *tilings: Tiling) -> Array:
        """Most copies that take an operand together on its way from depth `top` to a depth, the copies of the last
        of its tilings known."""
        together = np.asarray(1.0)
        for level in range(top, depth):
            fan = self.accelerator.fanout_at(level)
            if fan is None or FREE[operand] not in fan.over or not (fan.multicast or operand == "output"):
                continue
            place = level - (depth - len(tilings))
            together = together * (tilings[place].copies(FREE[operand]) if place >= 0 else float(fan.count))
        return together

    def _array(self, tiling: Tiling, spread: dict[str, Array]) -> tuple[Array, Array]:
        """Cycles and joules of the array and its ports that no mapping with such innermost tiles is below."""
        gemm, accelerator = self.gemm, self.accelerator
        inner = array_tiling(self, tiling, spread)
        low = {}
        for side in "mnk":
            over = math.ceil(getattr(gemm, side) / self.units[side]) * self.units[side] - getattr(gemm, side)
            extent = getattr(inner, side)  # the last unit of the product may be cut
            low[side] = np.maximum(extent - over, np.minimum(extent, 1.0))
        cycles = tile_cycles(gemm, accelerator, self.dataflow, low["m"], low["n"], low["k"])
        steps, volume = np.asarray(1.0), np.asarray(1.0)
        for side in "mnk":
            unit, size = self.units[side], math.ceil(getattr(gemm, side) / self.units[side])
            mine = np.maximum(np.floor(getattr(tiling, side) / unit + 1e-6), 1.0)
            turns = np.ceil(size / (mine * tiling.copies(side))) - 1
            reach = turns * mine + np.minimum(mine, size - turns * mine * tiling.copies(side))
            steps = steps * reach / spread.get(side, 1.0)
            volume = volume * np.maximum(np.ceil(getattr(inner, side) / unit - 1e-6), 1.0)
        turns = np.ceil(gemm.batch / tiling.copies("groups")) / spread.get("groups", 1.0)
        total = turns * steps * cycles / volume / accelerator.copies(self.depths - 1)
        return total, self._ports(tiling, inner)

    def _ports(self, tiling: Tiling, inner: Tiling) -> Array:
        gemm, joules = self.gemm, np.asarray(0.0)
        ports = tile_ports(gemm, self.accelerator, self.dataflow, inner.m, inner.n, inner.k)
        for operand in OPERANDS:
            memory = path(self.accelerator, operand)[-1]
            top = depth_of(self.accelerator, memory)
            each = {"input": ports.input_read, "weight": ports.weight_read, "output": ports.output_write}[operand]
            together = self._together(operand, top, self.depths + 1, tiling, inner)
            total = gemm.macs * each / (inner.m * inner.n * inner.k) / together
            if operand == "output":
                once = gemm.batch * gemm.m * gemm.n * self.accelerator.compute.accumulate_bits / 8
                total = np.maximum(total, once)
                total = total if self._adds_up(top) else 2 * total - once
            joules = joules + total * self.rates.j_per_byte[memory.name]
        return joules


def least_of(again: Array, stays: Array) -> Array:
    """The least over which of the operands [operands, ...] it is that stays."""
    return np.asarray(again.sum(axis=0) - (again - stays).max(axis=0, initial=0.0))


def thinned(size: int, unit: Unit, limit: int) -> NDArray[np.float64]:
    """Tile extents of a side, `limit` at most: of those near each place of a log scale the one that leaves the shortest
    edge, as a share of the side."""
    every = tile_extents(size, unit, 1 << 30)
    if len(every) <= limit:
        return every
    place = np.round(np.log(every / every[0]) / np.log(every[-1] / every[0]) * (limit - 1)).astype(int)
    waste = np.ceil(size / every) * every
    best = np.lexsort((-every, waste, place))
    _, first = np.unique(place[best], return_index=True)
    return np.unique(np.r_[every[0], every[best[first]], every[-1]])


def array_tiling(space: NestSpace, tiling: Tiling, spread: dict[str, Array]) -> Tiling:
    """The array's tiling of innermost tiles: copies side by side take whole units each."""
    extents: dict[str, Array] = {}
    for side in "mnk":
        tile, count, unit = getattr(tiling, side), spread.get(side, 1.0), space.units[side]
        units = np.maximum(np.ceil(tile / unit - 1e-6), 1.0)
        cut = np.where(np.asarray(count) > 1, np.minimum(np.ceil(np.ceil(units / count) * unit - 1e-9), tile), tile)
        extents[side] = cut
    return Tiling(extents["m"], extents["n"], extents["k"], np.zeros(1, dtype=np.intp), spread)


def tile_needs(
    gemm: Gemm, accelerator: Accelerator, memory: Memory, m: Array, n: Array, k: Array, groups: Array | float = 1.0
) -> dict[Operand, Array]:
    """Bytes that the tiles of each operand take in an on-chip memory, twice where it is doubled; all of an operand that
    lives there for good, nothing of one that lies there whole (`Gemm.taken` has its place)."""
    sizes = tile_elements(gemm, m, n, k)
    every = {"input": gemm.input.unique, "weight": gemm.weight.unique, "output": gemm.m * gemm.n}
    found: dict[Operand, Array] = {}
    for side in memory.holds:
        bits = (
            accelerator.compute.accumulate_bits if side == "output" else element_bits(memory, side, getattr(gemm, side))
        )
        if side != "output" and getattr(gemm, side).on_chip and memory.depth == 1:
            found[side] = 0.0 * m
            continue
        stays = path(accelerator, side)[0] is memory
        copies = 1 if stays or not memory.double_buffered else 2
        size = gemm.batch * every[side] / accelerator.copies(memory.depth) if stays else groups * sizes[side]
        found[side] = copies * np.asarray(size, dtype=float) * bits / 8 + 0.0 * m
    return found


def _shares(fanout: Fanout, most: dict[str, int]) -> Iterator[dict[str, int]]:
    """Copies by side: all products that divide the count, no side above the most that it can fill."""

    def share(sides: Sequence[str], left: int) -> Iterator[dict[str, int]]:
        if not sides:
            yield {}
            return
        for count in (each for each in range(1, left + 1) if left % each == 0):
            for rest in share(sides[1:], left // count):
                yield {sides[0]: min(count, most[sides[0]])} | rest

    yield from share(fanout.over, fanout.count)

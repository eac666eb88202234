"""The mapping of a product: search of the mapspace for one design, or for many that differ in rates alone.

A mapping's latency is at least what array and link need apart: the first load, the last store, and between them the
longer of all cycles and all bytes. This bound takes one line for a million mappings; only those whose bound comes near
the best are priced step by step (`pipeline_time`), so that the answer is that of pricing all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.energy import gemm_energy
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import law_of
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import (
    ArrayCost,
    GemmCost,
    Objective,
    array_cost,
    gemm_cost,
    timed_cost,
)
from zerocast.simulator.products.given import words
from zerocast.simulator.products.mapping import (
    EVERY_ORDER,
    ORDERS,
    THIN_ABOVE,
    Mapping,
    mapspace,
    orders_of,
)
from zerocast.simulator.products.pipeline import side_by_side
from zerocast.simulator.products.tiles import MOST_TILES
from zerocast.simulator.products.traffic import PortBytes, TileBytes, buffer_needs, held, link_bytes, operand_needs
from zerocast.simulator.rates import Rates, rates_of

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SLACK = {"latency": 0.01, "energy": 0.0, "edp": 0.0, "cycles": 0.0}
"""How much more than the least of an objective a mapping may take to be chosen for its energy.

The last promille of latency can cost several times the energy (smaller first tiles, refetched operands), which no
architect would pay.
"""

_EQUAL = 1e-12
"""Figures closer than this are ties."""

_ROUNDING = 1e-12
"""Room that a bound gets against the rounding of what it bounds."""

_AT_FIRST = 128
"""Mappings of each design that are priced first."""

_AT_ONCE = 4_000_000
"""Designs x tiles whose bounds are looked at together."""

_NEAR_AT_ONCE = 200_000
"""Designs x tiles, each in every order, that are looked at closely together."""


@dataclass(frozen=True, slots=True)
class Picks:
    """A mapping for each of some designs: number of its tile in the mapspace, number of its order in `ORDERS`.

    The tile is -1 for a design that no mapping fits.
    """

    tile: Index
    order: Index


class Search:
    """The mapspace of a product on designs of one structure, and the mappings to use.

    accelerator: any of the designs; rates: arrays [designs]. Tiles of all dataflows stand in one list [tiles], loop
    orders along an axis before it.
    """

    def __init__(
        self, gemm: Gemm, accelerator: Accelerator, rates: Rates, objective: Objective = "latency",
        limit: int = THIN_ABOVE,
    ) -> None:  # fmt: skip
        self.gemm, self.accelerator, self.objective = gemm.free, accelerator, objective
        self.rates = rates.less(gemm.taken)
        self._tiles = _Tiles(gemm.free, accelerator, list(mapspace(gemm, accelerator, limit)), orders_of(gemm))
        self._known: dict[tuple[int, int, int], Mapping] = {}
        self._last: tuple[dict[str, float], _Room] | None = None

    def best(self) -> Picks:
        """For each design, among the mappings within `SLACK` of the least objective the one of least energy.

        Ties are broken by the objective, then by the fewest tiles, then by the first in the order dataflow, loop order,
        tile M, N, K ascending, so that the choice is deterministic. Mappings of more than `MOST_TILES` are for products
        that no other fits.
        """
        designs = len(self.rates.clock_hz)
        tile, order = np.full(designs, -1), np.zeros(designs, dtype=np.intp)
        for part in self._parts(np.arange(designs), _AT_ONCE):
            tile[part], order[part] = self._best(part)
        return Picks(tile, order)

    def _parts(self, designs: Index, at_once: int) -> Iterator[Index]:
        """Designs of equal capacities, which keep the same tiles, as many together as are looked at at once."""
        if not designs.size:
            return
        sizes = np.stack([capacity[designs] for capacity in self.rates.capacity_bytes.values()])
        _, kind = np.unique(sizes, axis=1, return_inverse=True)
        chunk = max(at_once // len(self._tiles.ends), 1)
        for number in range(int(kind.max()) + 1):
            alike = designs[kind.ravel() == number]
            yield from (alike[start : start + chunk] for start in range(0, len(alike), chunk))

    def contenders(self, designs: Index, most: int, window: float) -> Iterator[tuple[int, Picks, Array]]:
        """For each of some designs up to `most` good mappings, and their energy: half of least objective, half of least
        energy among those whose objective is within `window` of the least."""
        for part in self._parts(designs, _NEAR_AT_ONCE):
            bound = self._bound(part)
            ceiling = self._least(part, bound, self._reached(part, bound)) * (1 + window)
            design, tile, order, _ = self._near(part, bound, ceiling)
            goal, energy = self._priced(part[design], tile, order)
            first = np.searchsorted(design, np.arange(len(part) + 1))
            for number in range(len(part)):
                here = np.arange(first[number], first[number + 1])
                near = here[goal[here] <= ceiling[number]]
                by_goal = near[np.argsort(goal[near], kind="stable")[: most // 2]]
                by_energy = near[np.argsort(energy[near], kind="stable")[: most // 2]]
                picked = np.array(list(dict.fromkeys([*by_goal.tolist(), *by_energy.tolist()])))
                yield int(part[number]), Picks(tile[picked], order[picked]), energy[picked]

    def mapping(self, tile: int, order: int, design: int = 0) -> Mapping:
        """One mapping of the mapspace, as a design keeps its tiles."""
        key = tile, order, design
        if key not in self._known:
            self._known[key] = self._mapping(Picks(np.array([tile]), np.array([order])), np.array([design])).at((0,))
        return self._known[key]

    def _mapping(self, picks: Picks, designs: Index) -> Mapping:
        mapping, at = self._tiles.mapping(picks.tile, picks.order), (picks.order, picks.tile)
        capacities = {name: size[designs] for name, size in self.rates.capacity_bytes.items()}
        if self._last is not None and all(np.all(capacities[name] == size) for name, size in self._last[0].items()):
            return replace(mapping, held={side: flags[at] for side, flags in self._last[1].held.items()})
        return replace(mapping, held=held(self.gemm, self.accelerator, mapping, self._tiles.complete[at], capacities))

    def dataflow(self, tile: int) -> Dataflow:
        """Dataflow of a tile of the mapspace."""
        return self._tiles.mapping(tile, ORDERS[0]).dataflow

    def cost(self, picks: Picks, designs: Index) -> GemmCost:
        """Cost of a mapping for each of some designs, as arrays; of the mappings' dataflows only the first is named."""
        mapping = self._mapping(picks, designs)
        part = self._tiles.part(picks.tile, self._tiles.flows[picks.order, picks.tile])
        return timed_cost(self.gemm, self.accelerator, mapping, part, self.rates.at(designs))

    def _best(self, part: Index) -> tuple[Index, Index]:
        """Tile and order for the designs of `part`."""
        bound = self._bound(part)
        fit = np.isfinite(bound).any(axis=1)
        tile, order = np.full(len(part), -1), np.zeros(len(part), dtype=np.intp)
        if not fit.any():
            return tile, order
        part, bound = part[fit], bound[fit]
        reached, slack = self._reached(part, bound), 1 + SLACK[self.objective] + _EQUAL
        if len(part) > 1 and np.count_nonzero(bound <= reached[:, None] * slack) > _NEAR_AT_ONCE:
            halves = [self._best(half) for half in np.array_split(part, 2)]
            tile[fit], order[fit] = (np.concatenate(found) for found in zip(*halves, strict=True))
            return tile, order
        ceiling = self._least(part, bound, reached) * slack
        entry = _Entries(*self._near(part, bound, ceiling)[:3])
        rates = self.rates.at(part[entry.design])
        moved = self._tiles.ends[entry.tile] + self._room(part).mid[entry.order, entry.tile]
        flowing = self._tiles.part(entry.tile, self._tiles.flows[entry.order, entry.tile])
        energy = self._energy(rates, flowing, moved)
        chosen = np.full(len(part), -1)
        open_ = np.ones(len(part), dtype=bool)
        while open_.any():
            lowest = np.minimum.reduceat(energy, entry.starts)
            tied = np.flatnonzero((energy <= lowest[entry.design] * (1 + _EQUAL)) & open_[entry.design])
            goal, _ = self._priced(part[entry.design[tied]], entry.tile[tied], entry.order[tied])
            energy[tied] = np.where(goal <= ceiling[entry.design[tied]], energy[tied], np.inf)
            passed = goal <= ceiling[entry.design[tied]]
            at, goal = tied[passed], goal[passed]
            first = self._first(entry, at, goal)
            chosen[entry.design[first]] = first
            open_[entry.design[first]] = False
        tile[fit], order[fit] = entry.tile[chosen], entry.order[chosen]
        return tile, order

    def _first(self, entry: _Entries, at: Index, goal: Array) -> Index:
        """Of the entries `at`, all of equal energy in their design, the one to take for each design."""
        at = at[_lowest(entry.design[at], goal)]
        at = at[_lowest(entry.design[at], self._tiles.count[entry.tile[at]])]
        sequence = np.lexsort((entry.tile[at], entry.order[at], self._tiles.grid[entry.tile[at]], entry.design[at]))
        _, first = np.unique(entry.design[at][sequence], return_index=True)
        return at[sequence[first]]

    def _room(self, part: Index) -> _Room:
        """What fits the buffers of designs of equal capacities, and what then crosses the link."""
        sizes = {name: float(size[part[0]]) for name, size in self.rates.capacity_bytes.items()}
        if self._last is None or self._last[0] != sizes:
            self._last = sizes, _Room(self.gemm, self.accelerator, self._tiles, sizes)
        return self._last[1]

    def _bound(self, part: Index) -> Array:
        """Objective that no order of a tile can be below [designs, tiles]; inf where the tile does not fit."""
        room, rates = self._room(part), self.rates.at(part[:, None])
        bound = self._goal_bound(rates, np.s_[:], np.any(self._tiles.flows, axis=0), room.least_mid)
        return np.where(np.isfinite(room.least_mid), bound, np.inf)

    def _goal_bound(self, rates: Rates, at: Any, flows: Any, mid: Array) -> Array:
        """Bound on the objective of the tiles `at` when `mid` bytes cross the link between first load, last store."""
        ends, cycles = self._tiles.ends[at], self._tiles.busy_cycles(at, flows)
        if self.objective == "cycles":
            return cycles + 0.0 * rates.clock_hz
        if self.objective == "energy":
            return self._energy(rates, self._tiles.part(at, flows), ends + mid) * (1 - _ROUNDING)
        compute, link = cycles / rates.clock_hz, mid / rates.dram_bytes_per_s
        both = side_by_side(compute, link, self.accelerator.overlap())
        latency = (ends / rates.dram_bytes_per_s + both) * (1 - _ROUNDING)
        if self.objective != "edp":
            return latency
        return latency * self._energy(rates, self._tiles.part(at, flows), ends + mid)

    def _reached(self, part: Index, bound: Array) -> Array:
        """An objective that each design reaches: that of the tile of the least bound."""
        first = bound.argmin(axis=1)
        return self._priced(part, first, self._room(part).least_order[first])[0]

    def _least(self, part: Index, bound: Array, reached: Array) -> Array:
        """The least objective of each design: all mappings that might be below what is reached are priced, those of the
        lowest bounds first, so that what they reach spares the others."""
        least, most = reached.copy(), _AT_FIRST
        design, tile, order, low = self._near(part, bound, least)
        while design.size:
            first = np.lexsort((low, design))
            place = np.empty_like(first)
            place[first] = np.arange(len(first)) - np.searchsorted(design[first], design[first])
            now = place < most
            np.minimum.at(least, design[now], self._priced(part[design[now]], tile[now], order[now])[0])
            left = ~now & (low < least[design] * (1 - _EQUAL))
            design, tile, order, low, most = design[left], tile[left], order[left], low[left], 8 * most
        return least

    def _near(self, part: Index, bound: Array, ceiling: Array) -> tuple[Index, Index, Index, Array]:
        """Design (number in `part`), tile, order and bound of all mappings bounded by the ceiling, by design."""
        design, tile = np.nonzero(bound <= ceiling[:, None])
        orders = self._tiles.orders
        design, tile, order = np.repeat(design, len(orders)), np.repeat(tile, len(orders)), np.tile(orders, len(tile))
        rates, mid = self.rates.at(part[design]), self._room(part).mid[order, tile]
        flows = self._tiles.flows[order, tile]
        low = np.broadcast_to(self._goal_bound(rates, tile, flows, mid), tile.shape)
        near = np.isfinite(mid) & (low <= ceiling[design])
        return design[near], tile[near], order[near], low[near]

    def _priced(self, design: Index, tile: Index, order: Index) -> tuple[Array, Array]:
        """Objective and energy of mappings, each on a design of its own."""
        cost = self.cost(Picks(tile, order), design)
        return np.broadcast_to(cost.objective(self.objective), tile.shape).copy(), cost.energy.total_j

    def _energy(self, rates: Rates, part: ArrayCost, moved: Array) -> Array:
        """Energy of tiles when `moved` bytes cross the link."""
        return gemm_energy(self.gemm, self.accelerator, part.macs, part.ports, moved, rates.j_per_byte).total_j


def _lowest(group: Index, figure: Array) -> NDArray[np.bool_]:
    """Which figures are the least of their group."""
    lowest = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(lowest, group, figure)
    return figure <= lowest[group] * (1 + _EQUAL)


@dataclass(frozen=True, slots=True)
class _Entries:
    """Mappings under review, sorted by design; every design has some."""

    design: Index
    tile: Index
    order: Index

    @property
    def starts(self) -> Index:
        """Where each design's entries begin."""
        return np.flatnonzero(np.r_[True, self.design[1:] != self.design[:-1]])


_EXTENTS = ("m", "n", "k", "trips_m", "trips_n", "trips_k")
_COSTS = ("array_cycles", "port_cycles", "steps_share", "macs")


class _Tiles:
    """The tiles of a mapspace in one list, over all dataflows, and what they cost apart from rates.

    orders: numbers of the loop orders that may be taken. ends: bytes of the first load and the last store [tiles].
    grid: number of the dataflow. count: tiles in all. flows: whether a fold's stream goes on from tile to tile [orders,
    tiles], on which what the array costs depends; complete: whether sums leave it when they are complete.
    """

    def __init__(self, gemm: Gemm, accelerator: Accelerator, grids: list[Mapping], orders: Index) -> None:
        self.orders = orders
        lists = [_flat(gemm, accelerator, grid) for grid in grids]
        joined = {name: np.concatenate([columns[name] for columns in lists], axis=-1) for name in lists[0]}
        self.ends, self.flows, self.complete = (joined.pop(name) for name in ("ends", "flows", "complete"))
        self.grid = np.repeat(np.arange(len(grids)), [len(columns["ends"]) for columns in lists])
        self.count = joined["trips_m"] * joined["trips_n"] * joined["trips_k"]
        self.dataflows, self._columns = [grid.dataflow for grid in grids], joined
        self.block, self.keeps = grids[0].block, grids[0].keeps

    def mapping(self, at: Any, order: str | Index) -> Mapping:
        """Some of the tiles as mappings; the dataflow is that of the first."""
        dataflow = self.dataflows[int(np.atleast_1d(self.grid[at])[0])]
        extents = {name: self._columns[name][at] for name in _EXTENTS}
        return Mapping(dataflow, order, **extents, block=self.block, keeps=self.keeps)

    def part(self, at: Any, flows: NDArray[np.bool_]) -> ArrayCost:
        """Array costs of some of the tiles, by whether a fold's stream goes on."""

        pick = self._picked(at, flows)
        ports = PortBytes(*map(pick, _names(PortBytes)))
        return ArrayCost(**{name: pick(name) for name in _COSTS}, ports=ports, tile=self.tile(at))

    def busy_cycles(self, at: Any, flows: NDArray[np.bool_]) -> Array:
        """`ArrayCost.busy_cycles` of some of the tiles."""
        pick = self._picked(at, flows)
        return np.maximum(pick("array_cycles"), pick("port_cycles"))

    def tile(self, at: Any) -> TileBytes:
        """Bytes of some of the tiles."""
        return TileBytes(*(self._columns[name][at] for name in _names(TileBytes)))  # type: ignore[arg-type]

    def _picked(self, at: Any, flows: NDArray[np.bool_]) -> Callable[[str], Array]:
        """What gives a figure of some of the tiles by its name."""
        at = np.arange(len(self.ends)) if isinstance(at, slice) else at
        which = np.asarray(flows).astype(np.intp)
        return lambda name: self._columns[name][which, at]


class _Room:
    """What fits buffers of one size, and what then crosses the link.

    mid: bytes but the first load and the last store [orders, tiles], inf where it does not fit; least_order: the order
    of the fewest, least_mid these [tiles]. held: by operand [orders, tiles].
    """

    def __init__(self, gemm: Gemm, accelerator: Accelerator, tiles: _Tiles, capacity_bytes: dict[str, float]) -> None:
        found, stays = [], []
        for number, dataflow in enumerate(tiles.dataflows):
            here = tiles.grid == number
            complete = tiles.complete[:, here]
            mapping = replace(tiles.mapping(here, EVERY_ORDER[:, 0, 0]), dataflow=dataflow)
            mapping = replace(mapping, held=held(gemm, accelerator, mapping, complete, capacity_bytes))
            needs = buffer_needs(gemm, accelerator, mapping, complete)
            fits = reduce(np.logical_and, (size <= capacity_bytes[name] for name, size in needs.items()))
            read, write = link_bytes(gemm, mapping, tiles.tile(here))
            found.append(np.where(fits & _distinct(mapping, tiles.orders), read + write - tiles.ends[here], np.inf))
            stays.append({side: np.broadcast_to(flags, found[-1].shape) for side, flags in mapping.held.items()})
        self.mid = np.concatenate(found, axis=1)
        if np.isfinite(self.mid[:, few := tiles.count <= MOST_TILES]).any():
            self.mid[:, ~few] = np.inf
        self.held = {side: np.concatenate([each[side] for each in stays], axis=1) for side in stays[0]}
        self.least_order = tiles.orders[self.mid[tiles.orders].argmin(axis=0)]
        self.least_mid = self.mid[self.least_order, np.arange(self.mid.shape[1])]


def _distinct(mapping: Mapping, orders: Index) -> NDArray[np.bool_]:
    """Whether a loop order [orders, tiles] is the first of those that differ in loops of one trip alone."""
    if len(orders) < len(ORDERS):
        return np.ones((len(ORDERS), 1), dtype=bool)
    several = np.sum([(trips > 1) << bit for bit, trips in enumerate(mapping.trips.values())], axis=0)
    return _IS_FIRST[:, several]


def _sequences(several: int) -> list[str]:
    """Each order with the loops of several trips alone, of which `several` has a bit each."""
    return ["".join(rank for rank in order if several >> "mnk".index(rank) & 1) for order in ORDERS]


_IS_FIRST = np.array([[kept.index(each) == at for at, each in enumerate(kept)] for kept in map(_sequences, range(8))]).T
"""Whether an order is the first of its sequence [orders, which loops have several trips]."""


def _flat(gemm: Gemm, accelerator: Accelerator, grid: Mapping) -> dict[str, Array]:
    """Figures of the tiles of one dataflow, each as a list; of the array's costs two, for streams that tiles cut and
    that go on; `flows` and `complete` are lists for each order."""
    plain = replace(grid, order=ORDERS[0])
    shape = np.broadcast_shapes(plain.m.shape, plain.n.shape, plain.k.shape)

    def listed(figure: ArrayLike, *leading: int) -> Array:
        return np.broadcast_to(figure, (*leading, *shape)).reshape(*leading, -1)

    law = law_of(grid.dataflow)
    told = {"flows": law.goes_on(gemm, accelerator, grid), "complete": law.completes(gemm, accelerator, grid)}
    flags = {name: listed(flag, len(ORDERS)) for name, flag in told.items()}
    both = np.array([False, True] if flags["flows"].any() else [False]).reshape(-1, 1, 1, 1)
    part = array_cost(gemm, accelerator, plain, flows=both)
    tile = part.tile
    ends = tile.input + tile.weight + tile.output
    figures = {name: listed(getattr(plain, name)) for name in _EXTENTS} | {"ends": listed(ends)}
    figures |= {name: listed(getattr(tile, name)) for name in _names(TileBytes)}
    figures |= {name: listed(getattr(part, name), 2) for name in _COSTS}
    figures |= {name: listed(getattr(part.ports, name), 2) for name in _names(PortBytes)}
    return figures | flags


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def best_mapping(
    gemm: Gemm, accelerator: Accelerator, objective: Objective = "latency", limit: int = THIN_ABOVE
) -> GemmCost:
    """The mapping of the mapspace to use on one design, and its cost. `SimulationError` where no mapping fits."""
    search = Search(gemm, accelerator, rates_of([accelerator]), objective, limit)
    picks = search.best()
    if picks.tile[0] < 0:
        raise no_fit(gemm, accelerator)
    return gemm_cost(gemm, accelerator, search.mapping(int(picks.tile[0]), int(picks.order[0])))


def no_fit(gemm: Gemm, accelerator: Accelerator) -> SimulationError:
    """Names the smallest tile, or the given one, and the buffers that cannot hold it."""
    if gemm.given is not None:
        return SimulationError(
            f"the mapping {words(gemm.given)} given for a {gemm.m} x {gemm.n} x {gemm.k} product does not fit "
            f"{accelerator.name}: {_too_small(gemm, accelerator)}; give smaller tiles or enlarge capacity_bytes"
        )
    units = {dataflow: law_of(dataflow).grain(gemm, accelerator) for dataflow in accelerator.compute.dataflows}
    tiles = "; ".join(f"{dataflow} needs tiles of {m} x {n} x {k}" for dataflow, (m, n, k) in units.items())
    left = {memory.name: (memory.capacity_bytes or math.inf) - gemm.taken_of(memory.name)
            for memory in accelerator.buffers}  # fmt: skip
    buffers = ", ".join(f"{name} {size:g} B" for name, size in left.items())
    return SimulationError(
        f"no mapping of a {gemm.m} x {gemm.n} x {gemm.k} product fits {accelerator.name}: {tiles} (M x N x K), "
        f"the buffers have {buffers}; enlarge memories.*.capacity_bytes or shrink compute.rows/cols"
    )


def _too_small(gemm: Gemm, accelerator: Accelerator) -> str:
    """Which memory has no room for which operands, under the smallest of the tiles that a given mapping leaves."""
    tile = next(mapspace(gemm, accelerator)).at((0, 0, 0, 0))
    extents = f"its tile of {tile.m:g} x {tile.n:g} x {tile.k:g}"
    found, tile = [], replace(tile, order=ORDERS[orders_of(gemm)[0]])
    complete = law_of(tile.dataflow).completes(gemm.free, accelerator, tile)
    if tile.keeps:
        extents += f" with all of {' and '.join(tile.keeps)} held"
        tile = replace(tile, held=held(gemm.free, accelerator, tile, complete, {}))
    every = operand_needs(gemm.free, accelerator, tile, complete)
    for memory in accelerator.buffers:
        needs = {side: every[side] for side in memory.holds}
        total, room = sum(float(size) for size in needs.values()), memory.capacity_bytes or math.inf
        room -= gemm.taken_of(memory.name)
        if total > room:
            parts = " + ".join(f"{side} {float(size):,.0f}" for side, size in needs.items())
            found.append(f"{memory.name} needs {parts} B for {extents}, it has {room:,.0f} B")
    return "; ".join(found)

"""The mapping of a product: search of the mapspace for one design, or for many that differ in rates alone.

A mapping's latency is at least what array and link need apart: the first load, the last store, and between them the
longer of all cycles and all bytes. This bound takes one line for a million mappings; only those whose bound comes near
the best are walked tile by tile (`walked_cycles`), so that the answer is that of walking all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.energy import gemm_energy
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import law_of
from zerocast.simulator.objective import SLACK, Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost
from zerocast.simulator.products.mapping import ORDERS, THIN_ABOVE, Mapping, distinct, mapspace, orders_of
from zerocast.simulator.products.space import Rooms, Space
from zerocast.simulator.products.traffic import held, operand_needs, tile_sizes
from zerocast.simulator.products.unfit import refusal, shortage
from zerocast.simulator.products.walks.pipeline import side_by_side
from zerocast.simulator.products.walks.tiles import MOST_TILES
from zerocast.simulator.products.walks.walk import walked_cycles
from zerocast.simulator.rates import Rates, rates_of

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

_EQUAL = 1e-12
"""Figures closer than this are ties."""

_ROUNDING = 1e-12
"""Room that a bound gets against the rounding of what it bounds."""

_STARTS = 8
"""Parts of the list of tiles of which each gives the tile of its least bound to begin with."""

_AT_FIRST = 64
"""Mappings that are walked together at first, of all designs."""

_IN_CACHE = 100_000
"""Designs x tiles whose bounds are computed together."""

_AT_ONCE = 4_000_000
"""Designs x tiles whose bounds are looked at together."""

_NEAR_AT_ONCE = 200_000
"""Designs x tiles, each in every order, that are looked at closely together."""


@dataclass(frozen=True, slots=True)
class Picks:
    """A mapping for each of some designs: number of its tile in the mapspace, number of its order in `ORDERS`, and by
    operand whether its tiles stay (`Mapping.held`).

    The tile is -1 for a design that no mapping fits.
    """

    tile: Index
    order: Index
    held: dict[str, Flags]

    def at(self, designs: Any) -> Picks:
        """Those of some designs."""
        return Picks(
            self.tile[designs], self.order[designs], {side: flags[designs] for side, flags in self.held.items()}
        )


class Search:
    """The mapspace of a product on designs of one structure, and the mappings to use.

    accelerator: any of the designs; rates: arrays [designs]. Designs whose clock and link have the same ratio, and
    buffers the same sizes, take the same mapping: they are one case of the search, in cycles. space: its mappings;
    cases: rates of those cases.
    """

    def __init__(
        self, gemm: Gemm, accelerator: Accelerator, rates: Rates, objective: Objective = "latency",
        limit: int = THIN_ABOVE,
    ) -> None:  # fmt: skip
        self.gemm, self.accelerator, self.objective = gemm.free, accelerator, objective
        self.rates = rates
        self.cases, self._case = rates.less(gemm.taken).in_cycles()
        self.space = Space(gemm, accelerator, limit)

    def best(self) -> Picks:
        """For each design, of the mappings within `SLACK` of the least objective that of least objective x energy, so
        that no other objective's mapping has less of it.

        Ties are broken by the objective, then by the fewest tiles, then by the first in the order dataflow, loop order,
        tile M, N, K ascending, so that the choice is deterministic. Mappings of more than `MOST_TILES` are for products
        that no other fits.
        """
        cases = len(self.cases.clock_hz)
        held: dict[str, Flags] = {side: np.zeros(cases, dtype=bool) for memory in self.accelerator.buffers
                                  for side in memory.holds}  # fmt: skip
        picks = Picks(np.full(cases, -1), np.zeros(cases, dtype=np.intp), held)
        chunk = max(_AT_ONCE // self.space.flows.size, 1)
        for start in range(0, cases, chunk):
            self._choose(picks, np.arange(start, min(start + chunk, cases)))
        return picks.at(self._case)

    def mapping(self, picks: Picks, design: int = 0) -> Mapping:
        """The mapping of one design."""
        return self._mapping(picks.at([design])).at((0,))

    def _mapping(self, picks: Picks) -> Mapping:
        return replace(self.space.mapping(picks.tile, picks.order), held=picks.held)

    def dataflow(self, tile: int) -> Dataflow:
        """Dataflow of a tile of the mapspace."""
        return self.space.dataflows[int(self.space.grid[tile])]

    def cost(self, picks: Picks, designs: Index) -> GemmCost:
        """Cost of a mapping for each of some designs, as arrays; of the mappings' dataflows only the first is named."""
        flows = self.space.flows[np.searchsorted(self.space.orders, picks.order), picks.tile]
        part = self.space.part(picks.tile, flows)
        return gemm_cost(self.gemm, self.accelerator, self._mapping(picks), part, self.rates.at(designs))

    def _choose(self, picks: Picks, cases: Index) -> None:
        """Enter the mappings of some cases."""
        rooms = Rooms(self.space, {name: size[cases] for name, size in self.cases.capacity_bytes.items()}, MOST_TILES)
        bound = self._bound(cases, rooms)
        fit = np.flatnonzero(np.isfinite(bound).any(axis=1))
        if not fit.size:
            return
        reached = self._reached(cases, rooms, bound, fit) * (1 + SLACK[self.objective] + _EQUAL)
        near = bound[fit] <= reached[:, None]
        many = np.cumsum(near.sum(axis=1)) // _NEAR_AT_ONCE
        for part in np.split(np.arange(len(fit)), np.flatnonzero(np.diff(many)) + 1):
            case, tile = np.nonzero(near[part])
            entries = _Entries(self, cases, rooms, fit[part][case], tile, reached[part][case])
            at = entries.best()
            here = cases[entries.case[at]]
            picks.tile[here], picks.order[here] = entries.tile[at], self.space.orders[entries.place[at]]
            for side, flags in rooms.held(entries.case[at], entries.tile[at], entries.place[at]).items():
                picks.held[side][here] = flags

    def _bound(self, cases: Index, rooms: Rooms) -> Array:
        """Objective that no order of a tile can be below [cases, tiles]; inf where the tile does not fit."""
        every, flows = np.arange(len(self.space.count)), np.any(self.space.flows, axis=0)
        bound = np.empty((len(cases), len(every)))
        chunk = max(_IN_CACHE // len(every), 1)
        for start in range(0, len(cases), chunk):
            here = np.s_[start : start + chunk]
            bound[here] = self.bound(cases[here, None], every, flows, rooms.least_bytes[rooms.of[here]])
        return bound

    def bound(self, case: Index, tile: Index, flows: Flags, mid: Array) -> Array:
        """Bound on the objective of some tiles when `mid` bytes cross the link between first load and last store; inf
        where these are."""
        pace, ends = self.cases.dram_bytes_per_s[case], self.space.ends_bytes[tile]
        if self.objective == "energy":
            return self.energy(case, tile, flows, ends + mid)
        cycles = self.space.busy_cycles(tile, flows)
        if self.objective == "cycles":
            return np.where(np.isfinite(mid), cycles, np.inf)
        latency = side_by_side(cycles * pace, mid, self.accelerator.overlap())
        latency += ends
        latency *= (1 - _ROUNDING) / pace
        return latency * self.energy(case, tile, flows, ends + mid) if self.objective == "edp" else latency

    def energy(self, case: Index, tile: Index, flows: Flags, moved: Array) -> Array:
        """Energy of tiles when `moved` bytes cross the link."""
        macs, ports = self.space.macs_and_ports(tile, flows)
        joules = {name: each[case] for name, each in self.cases.j_per_byte.items()}
        return gemm_energy(self.gemm, self.accelerator, macs, ports, moved, joules).total_j

    def _reached(self, cases: Index, rooms: Rooms, bound: Array, fit: Index) -> Array:
        """An objective that each of the cases `fit` reaches: the least of some tiles of low bounds."""
        starts = distinct(np.linspace(0, bound.shape[1], _STARTS + 1).astype(np.intp))
        tile = np.stack([low + bound[:, low:high].argmin(axis=1) for low, high in pairwise(starts)], axis=1)[fit]
        case, found = np.repeat(fit, tile.shape[1]), np.full(tile.size, np.inf)
        at = np.isfinite(bound[case, tile.ravel()])
        case, tile = case[at], tile.ravel()[at]
        mid = rooms.mid_bytes[rooms.of[case], :, tile]
        place = mid.argmin(axis=1)
        moved = self.space.ends_bytes[tile] + mid[np.arange(len(tile)), place]
        energy = self.energy(cases[case], tile, self.space.flows[place, tile], moved)
        found[at] = self.walked(cases, rooms, case, tile, place, energy)
        return found.reshape(len(fit), -1).min(axis=1)

    def walked(self, cases: Index, rooms: Rooms, case: Index, tile: Index, place: Index, energy: Array) -> Array:
        """Objective of mappings, each in a case of its own."""
        flows = self.space.flows[place, tile]
        if self.objective == "energy":
            return energy
        if self.objective == "cycles":
            return self.space.busy_cycles(tile, flows)
        mapping = self._mapping(Picks(tile, self.space.orders[place], rooms.held(case, tile, place)))
        pace = self.cases.dram_bytes_per_s[cases[case]]
        cycles = walked_cycles(self.gemm, self.accelerator, mapping, self.space.part(tile, flows), pace)
        return cycles * energy if self.objective == "edp" else cycles


class _Entries:
    """Mappings under review, sorted by case; every case has some. place: of the order."""

    def __init__(self, search: Search, cases: Index, rooms: Rooms, case: Index, tile: Index, ceiling: Array) -> None:
        space, orders = search.space, len(search.space.orders)
        self._search, self._cases, self._rooms = search, cases, rooms
        case, tile, ceiling = np.repeat(case, orders), np.repeat(tile, orders), np.repeat(ceiling, orders)
        place = np.tile(np.arange(orders), len(case) // orders)
        mid = rooms.mid_bytes[rooms.of[case], place, tile]
        fits = np.isfinite(mid)
        case, tile, place, ceiling, mid = case[fits], tile[fits], place[fits], ceiling[fits], mid[fits]
        flows = space.flows[place, tile]
        low = np.broadcast_to(search.bound(cases[case], tile, flows, mid), tile.shape)
        near = low <= ceiling
        self.case, self.tile, self.place, flows = case[near], tile[near], place[near], flows[near]
        _, self._group = np.unique(self.case, return_inverse=True)
        moved = space.ends_bytes[self.tile] + mid[near]
        self.cycles, self.energy = (
            space.busy_cycles(self.tile, flows),
            search.energy(cases[self.case], self.tile, flows, moved),
        )
        self.goal, self.walked = low[near], np.zeros(len(self.case), dtype=bool)

    def best(self) -> Index:
        """The entry to take in each case."""
        self._settle(lambda: self.goal, -_EQUAL - _ROUNDING)
        ceiling = self._least(self.goal) * (1 + SLACK[self._search.objective] + _EQUAL)
        at = self._taken(ceiling)
        lean = self._leanest(at) if self._search.objective == "latency" else at[:0]
        if lean.size:
            self._walk(lean)
            ceiling[self._group[lean]] = np.minimum(ceiling[self._group[lean]], self.goal[lean])
            at = self._taken(ceiling)
        return at

    def _taken(self, ceiling: Array) -> Index:
        """In each case, of the entries up to its ceiling the one of least objective x energy."""

        def merit() -> Array:
            return np.where(self.goal <= ceiling[self._group], self.goal * self.energy, np.inf)

        self._settle(merit, _EQUAL)
        return self._first(np.flatnonzero(self.walked & np.isfinite(merit())), self.goal)

    def _leanest(self, taken: Index) -> Index:
        """In each case that has them, the entry that the objective `cycles` takes, where `taken` has more cycles: what
        is quicker and has fewer cycles is no bargain for its energy."""
        fewest = self._rooms.fewest_cycles[self._rooms.of[self.case]] * (1 + _EQUAL)
        more = (self.cycles > fewest)[taken]
        return self._first(np.flatnonzero((self.cycles <= fewest) & more[self._group]), self.cycles)

    def _first(self, at: Index, goal: Array) -> Index:
        """Of the entries `at` the one of least goal x energy in each case; of equal ones as `Search.best` says."""
        at = at[_lowest(self._group[at], (goal * self.energy)[at])]
        at = at[_lowest(self._group[at], goal[at])]
        space = self._search.space
        at = at[_lowest(self._group[at], space.count[self.tile[at]])]
        sequence = np.lexsort((self.tile[at], self.place[at], space.grid[self.tile[at]], self._group[at]))
        _, first = np.unique(self._group[at][sequence], return_index=True)
        return at[sequence[first]]

    def _least(self, figure: Array) -> Array:
        """The least figure of those that are walked, by group."""
        least = np.full(int(self._group[-1]) + 1, np.inf)
        np.minimum.at(least, self._group[self.walked], figure[self.walked])
        return least

    def _settle(self, figure: Callable[[], Array], margin: float) -> None:
        """Walk entries, those of the lowest figures first, until no other can have the least of its case: a figure is a
        bound until its entry is walked."""
        most = max(_AT_FIRST // (int(self._group[-1]) + 1), 4)
        while True:
            found = figure()
            low = found <= self._least(found)[self._group] * (1 + margin)
            at = np.flatnonzero(low & ~self.walked & np.isfinite(found))
            if not at.size:
                return
            first = at[np.lexsort((found[at], self._group[at]))]
            place = np.arange(len(first)) - np.searchsorted(self._group[first], self._group[first])
            at, most = first[place < most], 4 * most
            self._walk(at)

    def _walk(self, at: Index) -> None:
        self.goal[at] = self._search.walked(
            self._cases, self._rooms, self.case[at], self.tile[at], self.place[at], self.energy[at]
        )
        self.walked[at] = True


def _lowest(group: Index, figure: Array) -> Flags:
    """Which figures are the least of their group."""
    lowest = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(lowest, group, figure)
    return figure <= lowest[group] * (1 + _EQUAL)


def best_mapping(
    gemm: Gemm, accelerator: Accelerator, objective: Objective = "latency", limit: int = THIN_ABOVE
) -> GemmCost:
    """The mapping of the mapspace to use on one design, and its cost. `SimulationError` where no mapping fits."""
    search = Search(gemm, accelerator, rates_of([accelerator]), objective, limit)
    picks = search.best()
    if picks.tile[0] < 0:
        raise no_fit(gemm, accelerator)
    return gemm_cost(gemm, accelerator, search.mapping(picks))


def no_fit(gemm: Gemm, accelerator: Accelerator) -> SimulationError:
    """Names what the smallest tiles, or the given one, need in the buffers that cannot hold them."""
    lacking = (each for grid in mapspace(gemm, accelerator) for each in _too_small(gemm, accelerator, grid))
    return refusal(gemm, accelerator, lacking)


def _too_small(gemm: Gemm, accelerator: Accelerator, grid: Mapping) -> Iterator[str]:
    """Which memory has no room for which operands, under the smallest of the tiles of a grid."""
    tile = replace(grid.at((0, 0, 0, 0)), order=ORDERS[orders_of(gemm)[0]])
    kept = f" with all of {' and '.join(tile.keeps)} held" if tile.keeps else ""
    complete = law_of(tile.dataflow).completes(gemm.free, accelerator, tile)
    if tile.keeps:
        sizes = tile_sizes(gemm.free, accelerator, tile, complete)
        stays = (held(gemm.free, memory, tile, sizes, np.asarray(np.inf))[1] for memory in accelerator.buffers)
        tile = replace(tile, held={side: flags for each in stays for side, flags in each.items()})
    every = operand_needs(gemm.free, accelerator, tile, complete)
    for memory in accelerator.buffers:
        room = (memory.capacity_bytes or math.inf) - gemm.taken_of(memory.name)
        needs = {side: every[side] for side in memory.holds}
        yield from shortage(memory, needs, room, f"its tile of {tile.m:g} x {tile.n:g} x {tile.k:g}{kept}")

"""The nested mapping of a product: bounds for every chain of tiles, exact prices for those near the best.

Chains of tiles grow from the outermost depth inwards. A chain is dropped once the least that it can cost is more than
what has been reached; complete ones are priced with every order of loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.nests.cost import NestCost, compute_energy
from zerocast.simulator.nests.levels import Tiling
from zerocast.simulator.nests.space import LIMIT, Candidates, NestSpace, array_tiling, least_of
from zerocast.simulator.objective import SLACK, Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import ORDERS
from zerocast.simulator.products.unfit import refusal
from zerocast.simulator.rates import Rates, rates_of

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_FIRST = 8
"""Chains that are completed and priced before others are looked at."""
_FEW = 24
"""Complete chains that are priced in all orders at once, without a look at their array or their energy first."""
_SOME = 64
"""Complete chains that are priced first, in all orders."""
_MOST = 2048
"""Chains that are completed together."""
_REFINED = 2048
"""Complete chains whose array is priced together."""
_AT_ONCE = 512
"""Complete chains that are priced together, in all orders."""
_EQUAL = 1e-9
"""Room that a bound gets against the rounding of what it bounds."""
_INNERMOST = np.array([ORDERS.index(order) for order in ("mnk", "kmn", "nkm")])
_K_OUTSIDE = np.array([ORDERS.index("kmn")])

Key = Callable[[Array, Array], Array]
"""What is made small, from cycles and joules."""


@dataclass(frozen=True, slots=True)
class _Chains:
    """Chains of candidates by depth [chains, depths], joules of their own boundaries, and what none of their mappings
    is below."""

    picks: Index
    own: Array
    cycles: Array
    joules: Array

    def at(self, index: Index | slice) -> _Chains:
        return _Chains(self.picks[index], self.own[index], self.cycles[index], self.joules[index])


class NestSearch:
    """The mapspace of a product on one design with several depths, and the mapping to use."""

    def __init__(
        self, gemm: Gemm, accelerator: Accelerator, objective: Objective = "latency", limit: int = LIMIT
    ) -> None:
        self._asked = gemm
        self.gemm, self.accelerator, self.objective = gemm.free, accelerator, objective
        self.rates: Rates = rates_of([accelerator]).less(gemm.taken).at(0)
        given, flows = gemm.given or Given(), accelerator.compute.dataflows
        flows = flows if accelerator.schedule.offline else flows[:1]
        flows = flows if given.dataflow is None else (given.dataflow,)
        self.spaces = [NestSpace(gemm, accelerator, flow, self.rates, objective != "cycles", limit) for flow in flows]
        fixed = [given.level(depth).order for depth in range(accelerator.depths)]
        self.orders = tuple(
            np.arange(len(ORDERS)) if order is None else np.array([ORDERS.index(order)]) for order in fixed
        )
        # bytes depend on the innermost loop alone
        self._innermost = tuple(order if len(order) == 1 else _INNERMOST for order in self.orders)
        self._joules = [compute_energy(gemm.free, accelerator, flow, self.rates).total_j for flow in flows]
        self._best: tuple[float, NestCost | None] = np.inf, None

    def best(self) -> NestCost:
        """The mapping of least objective; of those within `SLACK` of it that of least energy, for latency that of least
        energy-delay product, with no more time than what `cycles` takes, or where energy is asked for that of least
        time. `SimulationError` where none fits."""
        keys: dict[str, tuple[Key, Key]] = {
            "latency": (_cycles, _product), "cycles": (_cycles, _joules), "energy": (_joules, _cycles),
            "edp": (_product, _product),
        }  # fmt: skip
        first, second = keys[self.objective]
        self._minimise(first, first, np.inf)
        least, found = self._best
        timed = self.objective in ("latency", "edp")
        self.least = least / float(self.rates.clock_hz) if timed else least
        if found is None:
            raise refusal(self._asked, self.accelerator, (each for space in self.spaces for each in space.lacking()))
        if second == first:
            return found
        chosen = self._second(found, second, first, least * (1 + SLACK[self.objective] + _EQUAL))
        lean = self._leanest(chosen, least) if self.objective == "latency" else None
        return chosen if lean is None else self._second(lean, second, first, _one(lean.spent_cycles) * (1 + _EQUAL))

    def _second(self, start: NestCost, key: Key, bounded: Key, ceiling: float) -> NestCost:
        """The mapping of least `key` of those whose other key is up to the ceiling, of which `start` is one."""
        self._best = _one(key(self._figure(start), start.energy.total_j)), start
        self._minimise(key, bounded, ceiling)
        chosen = self._best[1]
        assert chosen is not None
        return chosen

    def _leanest(self, chosen: NestCost, least: float) -> NestCost | None:
        """What the objective `cycles` takes, where it is quicker than the chosen one; None where it is not. What is
        quicker and has fewer cycles is no bargain for its energy."""
        if _one(chosen.spent_cycles) <= least * (1 + _EQUAL):
            return None
        search = copy(self)
        search.objective, search.spaces = "cycles", [space.untimed() for space in self.spaces]
        search._best = np.inf, None
        fewest = min(float(space.candidates[0].cycles.min()) for space in search.spaces)
        if _one(chosen.cycles) <= fewest * (1 + _EQUAL):
            return None
        found = search.best()
        return found if _one(found.spent_cycles) < _one(chosen.spent_cycles) * (1 - _EQUAL) else None

    def _figure(self, cost: NestCost) -> Array:
        """Cycles of a mapping as the objective counts them."""
        return cost.cycles if self.objective == "cycles" else cost.spent_cycles

    def _minimise(self, key: Key, bounded: Key, ceiling: float) -> None:
        """Make a key small over all mappings whose other key is up to the ceiling."""
        for space, joules in zip(self.spaces, self._joules, strict=True):
            top = space.candidates[0]
            chains = _Chains(np.arange(len(top.own))[:, None], top.own + joules, top.cycles, top.joules + joules)
            chains = self._open(chains, key, bounded, ceiling)
            start, size = 0, _FIRST
            while start < len(chains.own):
                part = self._open(chains.at(slice(start, start + size)), key, bounded, ceiling)
                start, size = start + size, _MOST
                for depth in range(1, len(space.candidates)):
                    inner = space.candidates[depth]
                    own = part.own.min(initial=np.inf)
                    alone = _Chains(np.arange(len(inner.own)), inner.own, inner.cycles, own + inner.joules)
                    some = self._open(alone, key, bounded, ceiling).picks
                    part = self._open(
                        _joined(part, space.candidates[: depth + 1], np.sort(some)), key, bounded, ceiling
                    )
                self._complete(space, part, key, bounded, ceiling)

    def _complete(self, space: NestSpace, part: _Chains, key: Key, bounded: Key, ceiling: float) -> None:
        """Price what may be better of complete chains, those of the least bound first."""
        count = _SOME
        while len(part.own):
            head = self._open(self._refined(space, part.at(slice(_REFINED))), key, bounded, ceiling)
            part = part.at(slice(_REFINED, None))
            while len(head.own):
                self._price(space, head.at(slice(count)), key, bounded, ceiling)
                head = self._open(head.at(slice(count, None)), key, bounded, ceiling)
                count = _AT_ONCE
            part = self._left(part, key, bounded, ceiling)

    def _open(self, chains: _Chains, key: Key, bounded: Key, ceiling: float) -> _Chains:
        """Chains that may still hold something better, the least first."""
        left = self._left(chains, key, bounded, ceiling)
        return left.at(np.argsort(key(left.cycles, left.joules), kind="stable"))

    def _left(self, chains: _Chains, key: Key, bounded: Key, ceiling: float) -> _Chains:
        """Chains that may still hold something better, in their order."""
        low = key(chains.cycles, chains.joules) * (1 - _EQUAL)
        left = (low < self._best[0]) & (bounded(chains.cycles, chains.joules) * (1 - _EQUAL) <= ceiling)
        return chains if left.all() else chains.at(np.flatnonzero(left))

    def _refined(self, space: NestSpace, chains: _Chains) -> _Chains:
        """Complete chains, with what their array takes, edges and ports included, in place of the least it may take."""
        if len(chains.own) <= _FEW:
            return chains
        link = [
            each.link[at].reshape(-1, *(1 for _ in self.orders))
            for each, at in zip(space.candidates, chains.picks.T, strict=True)
        ]
        # where K's loops are outside, most sums start from nothing, and ports read fewest
        some = tuple(order if len(order) == 1 else _K_OUTSIDE for order in self.orders)
        costs = [self.cost(space, chains.picks, some, spread) for spread in space.array]
        found = [cost.least_cycles(link) if space.timed else cost.cycles for cost in costs]
        cycles = np.min([each.ravel() for each in found], axis=0)
        if space.timed:
            cycles = np.maximum(cycles, space.candidates[0].whole[chains.picks[:, 0]])
        return replace(chains, cycles=cycles)

    def _price(self, space: NestSpace, chains: _Chains, key: Key, bounded: Key, ceiling: float) -> None:
        """Price complete chains in all orders, and keep the best."""
        for spread in space.array:
            picks = chains.picks
            if key is not _cycles and len(picks) > _FEW:  # times are wanted of those alone whose energy leaves hope
                every = self.cost(space, picks, self._innermost, spread).energy.total_j
                least = key(chains.cycles, every.reshape(len(every), -1).min(axis=1)) * (1 - _EQUAL)
                picks = picks[least < self._best[0]]
                if not len(picks):
                    continue
            cost, none = self.cost(space, picks, self.orders, spread), np.zeros(1)
            joules = none if key is bounded is _cycles else cost.energy.total_j
            cycles = none if key is bounded is _joules else self._figure(cost)
            cycles, joules = np.broadcast_arrays(cycles, joules)
            shape = (len(picks), *(len(order) for order in self.orders))
            fit = np.broadcast_to(space.fit(cost.counts) & (bounded(cycles, joules) <= ceiling), shape)
            goal = np.where(fit, key(cycles, joules), np.inf)
            chain, *order = np.unravel_index(int(goal.argmin()), goal.shape)
            if goal[chain, *order] < self._best[0]:
                best = tuple(every[at : at + 1] for every, at in zip(self.orders, order, strict=True))
                self._best = float(goal[chain, *order]), self.cost(space, picks[chain : chain + 1], best, spread)

    def cost(self, space: NestSpace, picks: Index, orders: tuple[Index, ...], spread: dict[str, Array]) -> NestCost:
        """Cost of chains of candidates under orders of loops [chains, orders of depth 1, of depth 2, ...]."""
        levels, column = [], (-1, *(1 for _ in orders))
        for depth, candidates in enumerate(space.candidates):
            at, tiling = picks[:, depth], candidates.tiling
            copies = {side: count[at].reshape(column) for side, count in tiling.spread.items()}
            m, n, k = (getattr(tiling, side)[at].reshape(column) for side in "mnk")
            axis = (-1, *(1 for _ in orders[depth + 1 :]))
            levels.append(Tiling(m, n, k, orders[depth].reshape(axis), copies))
        levels.append(array_tiling(space, levels[-1], spread))
        return NestCost(self.gemm, self.accelerator, space.dataflow, tuple(levels), self.rates)


def _one(figure: Array) -> float:
    """The figure of a single mapping."""
    return float(np.ravel(figure)[0])


def _cycles(cycles: Array, joules: Array) -> Array:
    return cycles


def _joules(cycles: Array, joules: Array) -> Array:
    return joules


def _product(cycles: Array, joules: Array) -> Array:
    return cycles * joules


def _joined(chains: _Chains, candidates: Sequence[Candidates], some: Index) -> _Chains:
    """Chains one depth longer: with each of some candidates that lies in their last tile."""
    *outside, inner = candidates
    last = chains.picks[:, -1]
    within = np.ones((len(last), len(some)), dtype=bool)
    for side in "mnk":
        within &= inner.needs[side][some] <= outside[-1].tile[side][last][:, None]
    chain, pick = np.nonzero(within)
    pick = some[pick]
    picks, cycles = chains.picks[chain], inner.cycles[pick]
    for depth in range(len(outside), 0, -1):
        cycles = outside[depth - 1].piped(picks[:, depth - 1], cycles)
    own = chains.own[chain] + inner.own[pick]
    if len(outside) == 1:
        own = own + _beside(outside[0], inner, picks[:, 0], pick)
    return _Chains(np.column_stack([picks, pick]), own, cycles, own + inner.joules[pick] - inner.own[pick])


def _beside(outer: Candidates, inner: Candidates, at: Index, pick: Index) -> Array:
    """Joules that tiles of two depths cost together beyond what each costs at least: an operand that does not stay in
    the outer one comes into the inner one again with it."""
    again, stays, repeated = (part[:, at] for part in outer.moved)
    anew, kept = (part[:, pick] for part in inner.moved[:2])
    least = np.full(len(at), np.inf)
    for stayed in range(len(again)):
        back = repeated.copy()
        back[stayed] = 0.0
        mine = again.sum(axis=0) - (again - stays)[stayed]
        least = np.minimum(least, mine + least_of(np.maximum(anew, back), np.maximum(kept, back)))
    return least - outer.own[at] - inner.own[pick]

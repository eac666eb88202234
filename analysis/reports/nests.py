"""Mappings drawn as loop nests, each with why it was taken: what binds at each level, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Given, Pass
from zerocast.analysis.reports.deep_nests import deep_binding, deep_loops
from zerocast.analysis.units import si
from zerocast.simulator.einsum_cost import is_nested
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import rate_of
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.search import NestSearch
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost
from zerocast.simulator.products.given import Products
from zerocast.simulator.products.mapping import ORDERS, Mapping, mapping_of
from zerocast.simulator.products.product import operand_bytes
from zerocast.simulator.products.search import Search, best_mapping
from zerocast.simulator.products.traffic import operand_needs, tile_bytes
from zerocast.simulator.rates import rates_of

SEEN = 0.01
"""Smallest change of the objective that is told: less than that goes for energy (`search.SLACK`)."""

SIDES = {"input": "mk", "weight": "kn", "output": "mn"}


@dataclass(frozen=True, slots=True)
class Nest:
    """A mapping drawn. ops: all that take it, the same product each; title: the product, and its share of the array's
    time; loops, why: lines of text."""

    ops: tuple[str, ...]
    title: str
    loops: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first op, and how many more there are."""
        return f"{self.ops[0]} and {len(self.ops) - 1} more" if len(self.ops) > 1 else self.ops[0]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join((f"{self.name}: {self.title}", *self.loops, *(f"- {line}" for line in self.why)))


def nests(products: Products, accelerator: Accelerator, objective: Objective = "latency") -> Iterator[Nest]:
    """The mappings of products (`Result.products`), each once, those of the most time first; none of what is not mapped
    in tiles."""
    ops: dict[Gemm, list[str]] = {}
    for name, parts in products.items():
        for place, gemm in enumerate(parts, 1):
            if gemm.given is not None and gemm.given.passes == Pass():
                ops.setdefault(gemm, []).append(f"{name} ({place} of {len(parts)})" if len(parts) > 1 else name)
    deep = is_nested(accelerator)
    costs = {gemm: NestSearch(gemm, accelerator).best() if deep else best_mapping(gemm, accelerator) for gemm in ops}
    seconds = {gemm: float(np.ravel(costs[gemm].latency_s)[0]) * len(names) for gemm, names in ops.items()}
    for gemm in sorted(ops, key=lambda gemm: -seconds[gemm]):
        share = seconds[gemm] / sum(seconds.values())
        yield _nest(gemm, accelerator, costs[gemm], objective, ops[gemm], share)


def _nest(
    gemm: Gemm, accelerator: Accelerator, cost: GemmCost | NestCost, objective: Objective, ops: list[str], share: float
) -> Nest:
    sizes = f"{gemm.m} x {gemm.n} x {gemm.k} (M x N x K){f', {gemm.batch} times' if gemm.batch > 1 else ''}"
    flow = cost.dataflow if isinstance(cost, NestCost) else cost.mapping.dataflow
    title = f"{sizes}, {flow}, {share:.0%} of the array's time"
    if isinstance(cost, NestCost):
        return Nest(tuple(ops), title, tuple(deep_loops(cost)), tuple(deep_binding(cost)))
    free = gemm.free
    why = (*_binding(free, accelerator, cost), *_doubled(free, accelerator, cost, objective),
           *_rivals(free, accelerator, cost, objective))  # fmt: skip
    return Nest(tuple(ops), title, tuple(_loops(free, accelerator, cost)), why)


def _loops(gemm: Gemm, accelerator: Accelerator, cost: GemmCost) -> Iterator[str]:
    """Loops over tiles, and what each memory keeps of a tile."""
    mapping = cost.mapping
    moved = {side: si(size, "B") for side, size in operand_bytes(gemm, accelerator, mapping).items()}
    yield f"{accelerator.dram.name}: moves {', '.join(f'{side} {amount}' for side, amount in moved.items())}"
    loops = [f"for each of {gemm.batch} batch items"] if gemm.batch > 1 else []
    for rank in str(mapping.order):
        size, tile, trips = getattr(gemm, rank), float(getattr(mapping, rank)), float(mapping.trips[rank])
        last = size - (trips - 1) * tile
        if trips > 1:
            loops.append(f"for {rank} in {trips:.0f} tiles of {tile:.0f}{f', the last {last:.0f}' * (last < tile)}")
    yield from (f"{'  ' * depth}{loop}" for depth, loop in enumerate(loops))
    complete = law_of(mapping.dataflow).completes(gemm, accelerator, mapping)
    every = operand_needs(gemm, accelerator, mapping, complete)
    for memory in accelerator.buffers:
        needs = {side: float(every[side]) for side in memory.holds}
        kept = [f"{side} {_extents(cost, SIDES[side])}{' of every tile' * bool(mapping.holds(side))}, {si(size, 'B')}"
                for side, size in needs.items()]  # fmt: skip
        room = memory.capacity_bytes or np.inf
        twice = " in two halves" if memory.double_buffered else ""
        share = f"{sum(needs.values()) / room:.0%} of {si(room, 'B')}"
        yield f"{'  ' * len(loops)}{memory.name}: {'; '.join(kept)}{twice}: {share}"
    compute = accelerator.compute
    places = ", ".join(f"{size} {role}" for role, size in compute.unroll.items()) or f"{compute.rows} x {compute.cols}"
    yield f"{'  ' * len(loops)}array: {places}, {mapping.dataflow}"


def _extents(cost: GemmCost, ranks: str) -> str:
    return " x ".join(f"{float(getattr(cost.mapping, rank)):.0f}" for rank in ranks)


def _binding(gemm: Gemm, accelerator: Accelerator, cost: GemmCost) -> Iterator[str]:
    """What is busy for how much of the time, and the least time that any mapping needs."""
    clock, latency = accelerator.technology.clock_hz, float(cost.latency_s)
    busy = {"the link": float(cost.link_s), "a buffer's port": float(cost.part.port_cycles) / clock,
            "the array": float(cost.cycles) / clock}  # fmt: skip
    binds = max(busy, key=lambda what: busy[what])
    shares = ", ".join(f"{what} {seconds / latency:.0%}" for what, seconds in busy.items() if seconds)
    yield f"{binds} binds; busy of {si(latency, 's')}: {shares}"
    rate = accelerator.compute.multipliers * rate_of(accelerator, gemm.types)
    full = gemm.macs * min(float(cost.part.steps_share), 1.0) / rate / clock
    whole = tile_bytes(gemm, accelerator, mapping_of(gemm, cost.mapping.dataflow, "mnk", gemm.m, gemm.n, gemm.k))
    once = gemm.batch * float(whole.input + whole.weight + whole.output) / accelerator.dram_bytes_per_s
    yield (
        f"{latency / max(full, once):.2f} times the least there can be: {si(full, 's')} with all multipliers busy, "
        f"{si(once, 's')} with every operand over the link once"
    )


def _doubled(gemm: Gemm, accelerator: Accelerator, cost: GemmCost, objective: Objective) -> Iterator[str]:
    """What the search alone would take, and what it would gain from twice of each resource, one at a time."""
    designs = dict(_twice(accelerator))
    search = Search(gemm, accelerator, rates_of([accelerator, *designs.values()]), objective)
    picks, every = search.best(), np.arange(1 + len(designs))
    figures = np.broadcast_to(search.cost(picks, every).objective(objective), every.shape)
    best, own = float(figures[0]), float(cost.objective(objective))
    if best < own * (1 - SEEN):
        found = search.mapping(picks)
        yield f"the search alone takes {_words(found)}: {objective} {best / own - 1:+.1%}"
    gains = sorted((figure / best - 1, name) for name, figure in zip(designs, figures[1:].tolist(), strict=True))
    told = [f"twice {name} {gain:+.1%}" for gain, name in gains if gain < -SEEN]
    yield f"{objective} with {', '.join(told)}" if told else f"twice of any resource leaves {objective} as it is"


def _twice(accelerator: Accelerator) -> Iterator[tuple[str, Accelerator]]:
    """Designs with twice of one resource, by its name."""
    faster = accelerator.technology.model_copy(update={"clock_hz": 2 * accelerator.technology.clock_hz})
    yield "the clock", accelerator.model_copy(update={"technology": faster})
    for memory in accelerator.memories:
        field = "bandwidth_bytes_per_s" if memory == accelerator.dram else "capacity_bytes"
        twice = memory.model_copy(update={field: 2 * getattr(memory, field)})
        memories = tuple(twice if other == memory else other for other in accelerator.memories)
        name = "the bandwidth" if memory == accelerator.dram else memory.name
        yield name, accelerator.model_copy(update={"memories": memories})


def _rivals(gemm: Gemm, accelerator: Accelerator, cost: GemmCost, objective: Objective) -> Iterator[str]:
    """The next loop order of the same tile, and the best mapping of each other dataflow."""
    orders = gemm_cost(gemm, accelerator, replace(cost.mapping, order=np.arange(len(ORDERS))))
    goal = np.broadcast_to(orders.objective(objective), len(ORDERS))
    worse = np.flatnonzero(goal > float(cost.objective(objective)) * (1 + SEEN))
    if worse.size:
        after = int(worse[goal[worse].argmin()])
        other = gemm_cost(gemm, accelerator, replace(cost.mapping, order=ORDERS[after]))
        yield f"next loop order, {ORDERS[after]}: {_against(other, cost)}"
    else:
        yield "other loop orders cost the same"
    for dataflow in accelerator.compute.dataflows if accelerator.schedule.offline else ():
        if dataflow != cost.mapping.dataflow:
            try:
                other = best_mapping(replace(gemm, given=Given(dataflow=dataflow)), accelerator, objective)
            except SimulationError:
                yield f"{dataflow} fits no tile"
            else:
                yield f"{_words(other.mapping)}, at its best: {_against(other, cost)}"


def _words(mapping: Mapping) -> str:
    extents = " x ".join(f"{float(getattr(mapping, rank)):.0f}" for rank in "mnk")
    return f"{mapping.dataflow} {mapping.order} {extents}"


def _against(other: GemmCost, cost: GemmCost) -> str:
    """Changes of latency and energy."""
    latency = float(other.latency_s) / float(cost.latency_s) - 1
    return f"latency {latency:+.1%}, energy {float(other.energy.total_j) / float(cost.energy.total_j) - 1:+.1%}"

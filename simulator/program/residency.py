"""Which tensors stay on chip between the ops that touch them, and where.

A tensor that stays from one op to a later one spares that op's read. One that stays from the op that makes it to the
last that reads it spares the write as well, unless it is to be handed back. A weight that stays from one run to the
next spares all its reads, and takes its place throughout. What stays is chosen for the most bytes off chip, or the most
energy, that are spared under the capacity of each memory throughout each op, as an integer programme that HiGHS solves.
Ops count in the order of the program; those that stream into one another run side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.simulator.energy import access_j_per_byte
from zerocast.simulator.program.footprint import lies_in
from zerocast.simulator.program.rewrite import Plan
from zerocast.simulator.program.storage import stored_bytes
from zerocast.simulator.unit_cost import moved_bytes
from zerocast.workloads.ir import Einsum, Op, Transfer


@dataclass(frozen=True, slots=True)
class Touch:
    """An op that reads or makes a tensor, or views of it. place: of the op; reads, writes: names by which it does;
    read_bytes, write_bytes: what that moves off chip; homes: memories where the op can find the tensor, or leave it;
    on_array: whether the array reads and makes it, through the ports of its buffers."""

    place: int
    reads: frozenset[str]
    writes: frozenset[str]
    read_bytes: int
    write_bytes: int
    homes: frozenset[str]
    on_array: bool


@dataclass(frozen=True, slots=True)
class Stay:
    """A tensor in a memory from the first to the last of some ops that touch it. whole: it never goes off chip.
    start, end: places of the ops during which it lies there, which run side by side with those that touch it.
    before: it lies there before the run."""

    tensor: str
    memory: str
    bytes: int
    touches: tuple[Touch, ...]
    whole: bool
    start: int
    end: int
    before: bool = False

    @property
    def spared(self) -> tuple[Touch, ...]:
        """Ops that need not read it off chip."""
        return self.touches if self.before else self.touches[1:]

    @property
    def saved_bytes(self) -> int:
        """Bytes that need not cross the off-chip link."""
        spared = sum(touch.read_bytes for touch in self.spared)
        return spared + (self.touches[0].write_bytes if self.whole else 0)

    def beside(self) -> Iterator[tuple[int, int, int]]:
        """Places of the ops that move it in and out of the memory beside the array's ports, with the bytes that they
        read and write there: results are put down, and what a unit fetches; what the array fetches is there anyhow."""
        first = self.touches[0]
        if not self.before and (first.writes or not first.on_array):
            yield first.place, 0, max(first.write_bytes, self.bytes)  # in blocks it holds but a part at once
        yield from ((touch.place, touch.read_bytes, 0) for touch in self.spared if not touch.on_array)


Spared = Literal["bytes", "joules"]
"""What is spared that residents are chosen for: bytes off chip, or the energy of all accesses."""


def stays(plan: Plan, accelerator: Accelerator, share: float, spared: Spared = "bytes") -> list[Stay]:
    """What is to stay on chip in a plan, where residents may fill `share` of each memory."""
    capacity = {memory.name: share * (memory.capacity_bytes or 0.0) for memory in accelerator.at_depth(1)}
    every = [stay for stay in candidates(plan, accelerator) if stay.bytes <= capacity[stay.memory]]
    worth = [float(stay.saved_bytes) if spared == "bytes" else saved_j(stay, accelerator) for stay in every]
    every = [stay for stay, value in zip(every, worth, strict=True) if value > 0]
    chosen = _chosen(every, [value for value in worth if value > 0], capacity) if every else []
    return [stay for stay, taken in zip(every, chosen, strict=True) if taken]


def saved_j(stay: Stay, accelerator: Accelerator) -> float:
    """Energy in J that a stay spares: bytes off chip, each of which also passes a buffer on its way from or to the
    array, less those written into the memory and read there beside the array's ports."""
    price = {memory.name: access_j_per_byte(accelerator, memory) for memory in accelerator.memories}
    off_chip, fill = price.pop(accelerator.dram.name), max(price.values())
    array = sum(touch.read_bytes for touch in stay.spared if touch.on_array)
    beside = sum(read + written for _, read, written in stay.beside())
    if stay.whole and stay.touches[0].on_array:
        array += stay.touches[0].write_bytes
    return stay.saved_bytes * off_chip + array * fill - beside * price[stay.memory]


def candidates(plan: Plan, accelerator: Accelerator) -> Iterator[Stay]:
    """All ways in which a tensor could stay in a memory, however full that is."""
    tensors, results, together = plan.workload.tensors, plan.workload.results, _side_by_side(plan)
    last_place, preloads = len(plan.workload.ops) - 1, accelerator.schedule.residency == "preloaded"
    for name, touches in _touches(plan, accelerator).items():
        alone = tensors[name].role not in _PERSISTENT and not _names(touches) & results
        for memory in sorted(frozenset[str]().union(*(touch.homes for touch in touches))):
            near = [touch for touch in touches if memory in touch.homes]
            read_only = tensors[name].role in _WEIGHTS and not any(touch.writes for touch in touches)
            if preloads and read_only and len(near) == len(touches):
                size = stored_bytes(tensors[name])
                yield Stay(name, memory, size, tuple(near), False, 0, last_place, before=True)
            for first, last in combinations(range(len(near)), 2):
                part, whole = tuple(near[first : last + 1]), False
                if len(part) == len(touches):
                    whole = alone and bool(part[0].writes)
                span = together[part[0].place][0], together[part[-1].place][1]
                stay = Stay(name, memory, stored_bytes(tensors[name]), part, whole, *span)
                if stay.saved_bytes > 0:
                    yield stay


def _names(touches: Sequence[Touch]) -> frozenset[str]:
    return frozenset[str]().union(*(touch.reads | touch.writes for touch in touches))


def _touches(plan: Plan, accelerator: Accelerator) -> dict[str, list[Touch]]:
    """Ops that touch each tensor that may stay, in their order. What parts are put together in place, or overwritten,
    does not: its bytes have no time of their own."""
    tensors = plan.workload.tensors
    roots: dict[str, str] = {}
    shared: set[str] = set()
    found: dict[str, list[Touch]] = defaultdict(list)
    for place, op in enumerate(plan.workload.ops):
        if bases := lies_in(op):
            if len(op.inputs) == 1 and isinstance(op, Transfer) and not op.in_place:
                roots |= {name: roots.get(bases[0], bases[0]) for name in op.outputs}
            else:
                shared |= {roots.get(name, name) for name in (*op.inputs, *op.outputs)}
            continue
        names: dict[str, set[str]] = defaultdict(set)
        for name in (*op.inputs, *op.outputs):
            names[roots.get(name, name)].add(name)
        for root, mine in names.items():
            if (one := touch(place, op, frozenset(mine), plan, accelerator)) is not None:
                found[root].append(one)
    every = accelerator.schedule.residency in ("all", "preloaded")
    return {name: touches for name, touches in found.items()
            if name not in shared and (every or tensors[name].role not in _WEIGHTS)}  # fmt: skip


def touch(place: int, op: Op, names: frozenset[str], plan: Plan, accelerator: Accelerator) -> Touch | None:
    """How an op touches a tensor that it knows by some names; None where it moves nothing of it off chip."""
    kept, tensors, link = plan.kept(op), plan.workload.tensors, accelerator.dram
    array = isinstance(op, Einsum)
    reads, writes = names & set(op.inputs[:2] if array else op.inputs), names & set(op.outputs)
    before, after = moved_bytes(op, tensors, kept, link), moved_bytes(op, tensors, kept | names, link)
    if before == after or not reads | writes:
        return None
    homes = frozenset.intersection(*_homes(op, reads, writes, accelerator))
    return Touch(place, reads, writes, before[0] - after[0], before[1] - after[1], homes, array)


def _homes(op: Op, reads: frozenset[str], writes: frozenset[str], accelerator: Accelerator) -> Iterator[frozenset[str]]:
    """Memories where an op finds what it reads and leaves what it makes: the array takes an operand from a memory that
    holds it next to the off-chip one, units work on memories that take results."""
    if accelerator.copies(1) > 1:
        yield frozenset()  # each copy of a memory has a part of its own

    def holding(operand: Operand) -> frozenset[str]:
        there = operand in accelerator.dram.holds
        return frozenset(memory.name for memory in accelerator.at_depth(1) if there and operand in memory.holds)

    results = holding("output") | {memory.name for memory in accelerator.at_depth(1) if memory.takes_results}
    if writes or not isinstance(op, Einsum):
        yield results
    if isinstance(op, Einsum):
        sides: tuple[Operand, ...] = ("input", "weight")
        yield from (holding(side) for side, name in zip(sides, op.inputs, strict=False) if name in reads)


def _side_by_side(plan: Plan) -> dict[int, tuple[int, int]]:
    """First and last place of the ops that run side by side with the op at each place."""
    import networkx

    place = {op.name: number for number, op in enumerate(plan.workload.ops)}
    graph = networkx.Graph()
    graph.add_nodes_from(place.values())
    graph.add_edges_from((place[source], place[name]) for name, sources in plan.along.items() for source in sources)
    return {one: (min(all_), max(all_)) for all_ in networkx.connected_components(graph) for one in all_}


def _chosen(every: Sequence[Stay], worth: Sequence[float], capacity: Mapping[str, float]) -> list[bool]:
    """Which of the candidates stay: worth the most together, no memory fuller than its capacity while any op runs, and
    no read spared twice."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    rows: list[dict[int, float]] = []
    limits: list[float] = []
    for memory in sorted({stay.memory for stay in every}):
        here = [number for number, stay in enumerate(every) if stay.memory == memory]
        for start in sorted({every[number].start for number in here}):  # a memory is fullest where something comes in
            rows.append({n: every[n].bytes / capacity[memory] for n in here if every[n].start <= start <= every[n].end})
            limits.append(1.0)
    gaps: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for number, stay in enumerate(every):
        for touch in stay.spared:
            gaps[stay.tensor, touch.place][number] = 1.0
    rows, limits = [*rows, *gaps.values()], [*limits, *(1.0 for _ in gaps)]
    entries = [(row, column, value) for row, values in enumerate(rows) for column, value in values.items()]
    row, column, value = (np.array(each) for each in zip(*entries, strict=True))
    matrix = csr_array((value, (row, column)), shape=(len(rows), len(every)))
    found = milp(
        -np.array(worth) / max(worth), integrality=np.ones(len(every)), bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, ub=limits),
        options={"node_limit": _NODES, "mip_rel_gap": _GAP, "presolve": False},  # which prints, in some versions
    )  # fmt: skip
    return [False] * len(every) if found.x is None else (found.x > 0.5).tolist()


_WEIGHTS = ("weight", "optimizer_state", "constant")
_PERSISTENT = (*_WEIGHTS, "input")
_NODES, _GAP = 2000, 1e-3
"""Nodes that the search looks at, and the share by which it may miss the most that could be spared."""

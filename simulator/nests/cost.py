"""Cost of a matrix product on several depths of memories, under one or many nested mappings.

Every depth runs today's pipeline of tiles, with the depth further in as what computes; the innermost tiles are the
array's. Bytes are counted exactly, edges, bypass and copies included, and shared out evenly over the steps of a depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow, Memory, Operand
from zerocast.simulator.energy import Energy, executed_macs, gemm_energy
from zerocast.simulator.laws.array import reduction_steps, skips
from zerocast.simulator.nests.levels import Counts, Mode, Tiling, boundaries, depth_of, path, repeated
from zerocast.simulator.nests.tile import tile_cycles, tile_ports
from zerocast.simulator.objective import Objective, goal
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.traffic import FREE, OPERANDS, PortBytes, TileBytes, link_bits
from zerocast.simulator.products.walks.pipeline import Link, pipeline_time
from zerocast.simulator.rates import Rates

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes read from and written to a memory, all copies, by operand."""

    read: dict[Operand, Array]
    write: dict[Operand, Array]


class NestCost:
    """What nested mappings cost; all figures broadcast over the arrays of their tilings.

    levels: the tilings of depths 1 to D, and that of the array. rates: of one design.
    """

    def __init__(
        self, gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, levels: tuple[Tiling, ...], rates: Rates
    ) -> None:
        self.gemm, self.accelerator, self.dataflow, self.rates = gemm, accelerator, dataflow, rates
        self.counts = Counts(gemm, levels)
        self.depths = accelerator.depths
        self._crossed: dict[tuple[Operand, str], tuple[Array, Array, Array, Array]] = {}

    @cached_property
    def traffic(self) -> dict[str, Traffic]:
        """Bytes by memory."""
        found = {memory.name: Traffic({}, {}) for memory in self.accelerator.memories}
        for operand in OPERANDS:
            for outer, inner in boundaries(self.accelerator, operand):
                down, up, arrived, left = self._crossing(operand, outer, inner)
                for name, side, size in ((outer.name, "read", down), (outer.name, "write", up),
                                         (inner.name, "write", arrived), (inner.name, "read", left)):  # fmt: skip
                    by = getattr(found[name], side)
                    by[operand] = by.get(operand, 0.0) + size
            last = found[path(self.accelerator, operand)[-1].name]
            read, write = self._ports[operand]
            last.read[operand] = last.read.get(operand, 0.0) + read
            last.write[operand] = last.write.get(operand, 0.0) + write
        return found

    def _crossing(self, operand: Operand, outer: Memory, inner: Memory) -> tuple[Array, Array, Array, Array]:
        """Bytes of an operand read from and written to the outer memory, and those written to and read from the inner
        one. What several copies need is read once where it is multicast; sums are added up on their way out, and what
        was added up before comes back to one of the copies."""
        if (operand, inner.name) not in self._crossed:
            self._crossed[operand, inner.name] = self._counted(operand, outer, inner)
        return self._crossed[operand, inner.name]

    def _counted(self, operand: Operand, outer: Memory, inner: Memory) -> tuple[Array, Array, Array, Array]:
        top, depth = depth_of(self.accelerator, outer), inner.depth
        at = self.counts.again(self.dataflow, depth, operand, inner.keeps_tiles or operand == "output")
        shared, apart = self._visits(operand, top, depth, at)
        if operand != "output":
            return self._words(operand, top, depth, outer) * shared, np.asarray(0.0), \
                self._words(operand, depth, depth, outer) * apart, np.asarray(0.0)  # fmt: skip
        sums = self.gemm.batch * self.gemm.m * self.gemm.n
        wide = self.accelerator.compute.accumulate_bits / 8
        final = link_bits(self.gemm, self.accelerator, "output", outer) / 8 if top == 0 else wide
        fresh = self._fresh(outer)
        back = sums * (shared - fresh) * wide
        out = back + sums * fresh * final
        return back, out, back, out + sums * (apart - shared) * wide

    def _fresh(self, memory: Memory) -> Array:
        """Times that sums of each output start from nothing in a memory, over all copies: once off chip; further in,
        where copies share a reduction and one of them takes what was added up before."""
        way = path(self.accelerator, "output")
        place = way.index(memory)
        if place == 0:
            return np.asarray(1.0)
        outer, depth = way[place - 1], memory.depth
        at = self.counts.again(self.dataflow, depth, "output")
        shared, apart = self._visits("output", depth_of(self.accelerator, outer), depth, at)
        return np.asarray(apart - shared + self._fresh(outer))

    def _words(self, operand: Operand, top: int, depth: int, outer: Memory) -> Array:
        """Bytes of all tiles of an input or a weight, as they lie in the memory outside. Windows overlap at each cut:
        of tiles as copies at `top` take them together, or of those of `depth`."""
        gemm = self.gemm
        bits = link_bits(gemm, self.accelerator, operand, outer)
        if operand == "weight":
            return np.asarray(gemm.batch * gemm.weight.unique * bits / 8)
        modes = [*repeated("all", top), *repeated("steps", depth - top)]
        cuts = self.counts.number("m", tuple(modes)) - 1
        words = np.minimum(gemm.input.unique * (1 + cuts * gemm.input.halo / gemm.m), gemm.m * gemm.k)
        return np.asarray(gemm.batch * words * bits / 8)

    def _visits(self, operand: Operand, top: int, depth: int, at: NDArray[np.intp]) -> tuple[Array, Array]:
        """Times that each word of an operand crosses, counted at the outer memory and over all copies at `depth`, where
        the loops down to depth `at` bring it in anew."""
        shared, apart = np.asarray(1.0), np.asarray(1.0)
        for last in range(int(at.min()), int(at.max()) + 1):
            modes = [self._mode(operand, level, top, last) for level in range(1, depth + 1)]
            every: list[Mode] = ["all" if level <= last else "copies" for level in range(1, depth + 1)]
            found = (self.counts.number(FREE[operand], tuple(each)) for each in (modes, every))
            shared, apart = (np.where(at == last, new, old) for new, old in zip(found, (shared, apart), strict=True))
        return shared, apart

    def _mode(self, operand: Operand, level: int, top: int, last: int) -> Mode:
        """How the tiles of a level count for reads at depth `top` when loops down to level `last` repeat them."""
        fanout = self.accelerator.fanout_at(level - 1)
        together = level > top and (operand == "output" or fanout is None or fanout.multicast)
        if level <= last:
            return "steps" if together else "all"
        return "one" if together else "copies"

    def _tiles(self, modes: dict[str, tuple[Mode, ...]]) -> tuple[tuple[Array, Array, Array], Array]:
        """Extents m, n, k of the array's tiles of all sizes, along a first axis, and how many there are of each."""
        sizes = {side: self.counts.sizes(side, modes[side]) for side in "mnk"}
        every = [(a, b, c) for a in sizes["m"] for b in sizes["n"] for c in sizes["k"]]
        shape = np.broadcast_shapes(*(np.shape(value) for pairs in sizes.values() for pair in pairs for value in pair))
        m, n, k = (np.stack([np.broadcast_to(each[i][0], shape) for each in every]) for i in range(3))
        return (m, n, k), np.stack([np.broadcast_to(a[1] * b[1] * c[1], shape) for a, b, c in every])

    @cached_property
    def _ports(self) -> dict[Operand, tuple[Array, Array]]:
        """Bytes that the array reads and writes of each operand at the memory next to it on the operand's way."""
        found: dict[Operand, tuple[Array, Array]] = {}
        known: dict[tuple[tuple[Mode, ...], ...], tuple[PortBytes, Array]] = {}
        depth = self.depths + 1
        for operand in OPERANDS:
            top = depth_of(self.accelerator, path(self.accelerator, operand)[-1])
            modes: dict[str, tuple[Mode, ...]] = dict.fromkeys("mnk", repeated("all", depth))
            modes[FREE[operand]] = tuple(self._mode(operand, level, top, depth) for level in range(1, depth + 1))
            key = tuple(self.counts.alone(side, each) for side, each in modes.items())
            if key not in known:
                extents, number = self._tiles(modes)
                known[key] = tile_ports(self.gemm, self.accelerator, self.dataflow, *extents), number
            ports, number = known[key]
            if operand != "output":
                size = ports.input_read if operand == "input" else ports.weight_read
                found[operand] = self.gemm.batch * (size * number).sum(axis=0), np.asarray(0.0)
                continue
            written = self.gemm.batch * (ports.output_write * number).sum(axis=0)
            once = self.gemm.batch * self.gemm.m * self.gemm.n * self.accelerator.compute.accumulate_bits / 8
            found[operand] = written - once * self._fresh(path(self.accelerator, operand)[-1]), written
        return found

    @cached_property
    def array_cycles(self) -> Array:
        """Cycles of the array, or of its copies side by side, without ports."""
        extents, number = self._tiles(dict.fromkeys("mnk", repeated("steps", self.depths + 1)))
        cycles = tile_cycles(self.gemm, self.accelerator, self.dataflow, *extents)
        return np.asarray(self.counts.turns * (cycles * number).sum(axis=0))

    @cached_property
    def port_cycles(self) -> Array:
        """Cycles that the narrowest port of the innermost memories needs."""
        needed = np.asarray(0.0)
        for memory in self.accelerator.at_depth(self.depths):
            if memory.port_bytes_per_cycle is not None:
                mine = [self._ports[side] for side in memory.holds]
                for way in zip(*mine, strict=True):
                    needed = np.maximum(needed, sum(way, np.asarray(0.0)) / memory.port_bytes_per_cycle)
        return np.asarray(needed / self.counts.used(self.depths))

    @cached_property
    def cycles(self) -> Array:
        """Array and ports, whichever takes longer."""
        return np.maximum(self.array_cycles, self.port_cycles)

    @cached_property
    def spent_cycles(self) -> Array:
        """Cycles of the whole product, waits for memories included."""
        total = self.cycles
        for depth in range(self.depths, 0, -1):
            total = self._piped(depth, total)
        return total

    @property
    def latency_s(self) -> Array:
        """Seconds of the whole product."""
        return self.spent_cycles / self.rates.clock_hz

    @cached_property
    def energy(self) -> Energy:
        """Joules of the whole product."""
        total = {name: sum((*each.read.values(), *each.write.values()), np.asarray(0.0)) * self.rates.j_per_byte[name]
                 for name, each in self.traffic.items()}  # fmt: skip
        dram = total.pop(self.accelerator.dram.name)
        compute = compute_energy(self.gemm, self.accelerator, self.dataflow, self.rates)
        return replace(compute, buffer_j=sum(total.values(), np.asarray(0.0)), dram_j=dram)

    @property
    def executed_macs(self) -> float:
        """Multiply-accumulates that cost energy."""
        return executed(self.gemm, self.accelerator, self.dataflow)

    def objective(self, objective: Objective) -> Array:
        """The figure to be made small."""
        return np.asarray(goal(objective, self.latency_s, self.energy.total_j, self.cycles))

    def _piped(self, depth: int, inside: Array) -> Array:
        """Cycles of all tiles of a depth, in which what lies further in takes `inside` cycles, behind the links of the
        memories outside. An edge has fewer tiles than a full run: each of its steps takes as long as the others."""
        counts, mapping = self.counts, self.counts.mapping(self.dataflow, depth)
        turns = counts.turns if depth == 1 else np.asarray(1.0)
        runs = counts.steps(depth) / (turns * np.prod(list(mapping.trips.values()), axis=0))
        compute, links = inside / counts.steps(depth), []
        for memory in self.accelerator.at_depth(depth - 1):
            dram_rate = self.rates.dram_bytes_per_s / self.rates.clock_hz
            rate = dram_rate if depth == 1 else memory.bytes_per_cycle
            if rate is not None:
                links.append(self._link(depth, memory, mapping, runs * turns * counts.used(depth - 1) * rate))
        if not links:
            return inside
        return runs * pipeline_time(mapping, turns, compute, links, self.accelerator.overlap(depth))

    def least_cycles(self, link: Sequence[Array]) -> Array:
        """What no order of the loops is below, where `link` is the least that the links into depths 1 to D need: a run
        of a depth's loops begins with a load and ends with a store, between which array and link take their time."""
        total = self.cycles
        for depth in range(self.depths, 0, -1):
            (ends, store), most = self._ends(depth), link[depth - 1]
            steps = np.prod(list(self.counts.trips(depth).values()), axis=0) * (
                self.counts.turns if depth == 1 else 1.0
            )
            last = np.maximum(total / steps - store, 0.0)  # beside which there is nothing to load
            overlap = self.accelerator.overlap(depth)
            together, in_turn = np.maximum(total + ends, most + last), total + np.maximum(most, ends)
            total = overlap * together + (1 - overlap) * in_turn
        return total

    def _ends(self, depth: int) -> tuple[Array, Array]:
        """Least cycles of the first loads and last stores of all runs of a depth's loops, and the most of one store."""
        counts, trips = self.counts, self.counts.trips(depth)
        longest, store = np.asarray(0.0), np.asarray(0.0)
        for memory in self.accelerator.at_depth(depth - 1):
            rate = self.rates.dram_bytes_per_s / self.rates.clock_hz if depth == 1 else memory.bytes_per_cycle
            share = (rate or 1.0) * counts.used(depth - 1) * (counts.turns if depth == 1 else 1.0)
            each = np.asarray(0.0)
            for operand in memory.holds if rate is not None else ():
                way = path(self.accelerator, operand)
                if memory is way[-1] or way[way.index(memory) + 1].depth > depth:
                    continue
                cut, _ = counts.loops(self.dataflow, depth, operand)
                anew, first, never = (self._visits(operand, depth - 1, depth, np.asarray(at))[0]
                                      for at in (depth, depth - 1, 0))  # fmt: skip
                visits = np.where(cut, np.minimum(anew / trips[FREE[operand]], first), never)
                tiles = np.prod([trips[side] for side in "mnk" if side != FREE[operand]], axis=0) * share
                if operand == "output":
                    words = self.gemm.batch * self.gemm.m * self.gemm.n / 8
                    wide = self.accelerator.compute.accumulate_bits
                    final = link_bits(self.gemm, self.accelerator, operand, memory)
                    store = store + words * max(wide, final) * anew / tiles
                    each = each + words * (final if depth == 1 else wide * visits) / tiles
                    continue
                bits = link_bits(self.gemm, self.accelerator, operand, memory)
                each = each + self.gemm.batch * getattr(self.gemm, operand).unique * bits / 8 * visits / tiles
            longest = np.maximum(longest, each)
        return longest, store

    def _link(self, depth: int, memory: Memory, mapping: Mapping, share: Array) -> Link:
        """Cycles in which a memory passes the average tile of each operand on to the next depth, where `share` is its
        rate times the runs of the loops there; and the cycles of a step in which it feeds what lies beyond that depth.
        """
        sizes = dict.fromkeys(("input", "weight", "output", "partial"), np.asarray(0.0))
        trips, passing = mapping.trips, np.asarray(0.0)
        for operand in memory.holds:
            way = path(self.accelerator, operand)
            inner = way[way.index(memory) + 1] if memory is not way[-1] else None
            if inner is None or inner.depth > depth:
                down, up = self._ports[operand] if inner is None else self._crossing(operand, memory, inner)[:2]
                passing = passing + (down + up) / share / (trips["m"] * trips["n"] * trips["k"])
                continue
            down, up, _, _ = self._crossing(operand, memory, inner)
            tiles = np.prod([trips[side] for side in "mnk" if side != FREE[operand]], axis=0)
            _, again = self.counts.loops(self.dataflow, depth, operand)
            if operand != "output":
                again = again | (not inner.keeps_tiles)
            visits = np.where(again, trips[FREE[operand]], 1.0)
            if operand != "output":
                sizes[operand] = down / share / (tiles * visits)
            elif depth > 1:
                sizes["output"] = sizes["partial"] = up / share / (tiles * visits)
            else:
                sums = self.gemm.batch * self.gemm.m * self.gemm.n / 8 / share / tiles
                sizes["output"] = sums * link_bits(self.gemm, self.accelerator, "output", memory)
                sizes["partial"] = sums * self.accelerator.compute.accumulate_bits
        into = self.accelerator.at_depth(depth)
        stays = [all(each.keeps_tiles for each in into if side in each.holds) for side in ("input", "weight")]
        return Link(TileBytes(**sizes, input_stays=stays[0], weight_stays=stays[1]), passing)


def executed(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> float:
    """Multiply-accumulates that cost energy, of a product that is cut into whole N:M groups."""
    share = reduction_steps(gemm, accelerator, dataflow, gemm.k) / gemm.k
    return float(executed_macs(gemm, accelerator, share, skips(gemm, accelerator, dataflow)))


def compute_energy(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, rates: Rates) -> Energy:
    """Joules of multipliers and their registers alone."""
    macs = executed(gemm, accelerator, dataflow)
    return gemm_energy(gemm, accelerator, macs, PortBytes(*np.zeros(4)), 0.0, rates.j_per_byte)

"""The passes of a layer to choose from, what fits the array, its spads and buffers, and the choice.

The choice follows criteria, one after the other, which by itself can make a larger buffer slower: less traffic off
chip, the first thing asked of Eyeriss's mappings, may take PE sets that fit the array worse. But a larger buffer can be
used as a smaller one, and a batch be worked on in halves. So the choice is made for each number of banks that there
are or fewer, as on a chip that has no more of them, and for the batch and its halves, and the one of least latency is
taken: more banks or twice the batch are then never slower (a sample), as they choose among all that fewer do. Other
objectives than latency are criteria of their own, and choose among the same passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.accelerators.schema.given import Pass
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.rows.law import (
    Array,
    Passes,
    RowCost,
    RowLayer,
    dram_bytes,
    filter_words,
    part_of,
    pe_rate,
    row_cost,
    row_layer,
    trips,
)
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import tile_extents

SLACK = 0.01
"""Share by which a criterion may differ and still count as equal, so that the next one decides (assumption; the same
share as for tiled mappings)."""

MOST_HALVED = 64
"""Largest batch that is also worked on in halves; the rows of larger matrix products come in many sizes anyway."""

FIGURES = {"latency": "latency_s", "energy": "energy_j", "edp": "edp", "cycles": "cycles"}
"""What each objective makes small, of `RowCost`."""


@dataclass(frozen=True)
class Space:
    """The passes of a product on one design; `layer` may be a part of its batch. zeros: whether the data are known, so
    that the choice is by what crosses the link compressed."""

    gemm: Gemm
    accelerator: Accelerator
    layer: RowLayer
    zeros: bool = False

    @property
    def given(self) -> Pass:
        """What is fixed of the pass."""
        return self.gemm.given.passes if self.gemm.given is not None else Pass()

    @property
    def banks(self) -> int:
        """Banks of the global buffer."""
        return int(self.room("output") // part_of(self.accelerator).bank_bytes)

    def room(self, operand: Operand) -> float:
        """Bytes of an operand's buffer in which no other tensors lie."""
        buffer = self.accelerator.buffer_of(operand)
        return (buffer.capacity_bytes or 0.0) - self.gemm.taken_of(buffer.name)

    def cost(self, passes: Passes) -> RowCost:
        """Cost of passes."""
        return row_cost(self.gemm, self.accelerator, self.layer, passes, self.zeros)

    def narrowed(self) -> Iterator[Space]:
        """The space with all banks of the global buffer, with one less, and so on: what else is as in a design that has
        no more, energy of an access included."""
        accelerator, rest = self.accelerator, self.room("output") - self.banks * part_of(self.accelerator).bank_bytes
        home = accelerator.buffer_of("output")
        for banks in range(self.banks, 0, -1):
            size = rest + banks * part_of(accelerator).bank_bytes + self.gemm.taken_of(home.name)
            smaller = home.model_copy(update={"capacity_bytes": size})
            memories = tuple(smaller if memory is home else memory for memory in accelerator.memories)
            yield replace(self, accelerator=accelerator.model_copy(update={"memories": memories}))

    def halves(self) -> Iterator[Space]:
        """The space of the whole batch, of its half, and so on while there is one."""
        yield self
        if self.layer.samples % 2 == 0 and self.layer.samples <= MOST_HALVED:
            yield from replace(self, layer=replace(self.layer, samples=self.layer.samples // 2)).halves()

    def grid(self) -> Passes:
        """All e, n, q and r that fit with m = p = t = 1, which asks the least of spads and buffers.

        e and n try, for each number of trips, the smallest value that gives it, which moves the same data in less of
        the buffer.
        """
        layer, given, (_, channels) = self.layer, self.given, self.most()
        e = _tried(given.e, tile_extents(layer.output[0], 1))
        n, q = _tried(given.n, tile_extents(layer.samples, 1)), _tried(given.q, np.arange(1.0, channels + 1))
        r = _tried(given.r, np.arange(1.0, float(self.sets(e).max()) + 1))
        e, n, q, r = (side.ravel() for side in np.meshgrid(e, n, q, r, indexing="ij"))
        one = np.ones_like(e)
        passes = Passes(one, n, e, one, q, r, one)
        within = (e <= layer.output[0]) & (n <= layer.samples) & (q <= channels)
        return passes.at(within & (r <= self.sets(e)) & (q * (r - 1) < layer.channels) & self._filters_fit(passes))

    def blocks(self, grid: Passes) -> Passes:
        """Those of a grid whose input leaves room for sums in the banks of the buffer, with their m: as large as there
        is room for, evened out over its trips; a smaller one loads the input more often and saves nothing."""
        part, (inputs, sums) = part_of(self.accelerator), self.buffer_words(grid)
        left = self.banks - np.ceil(inputs * self.gemm.input.bits / 8 / part.bank_bytes)
        room = np.floor(left * part.bank_bytes / (sums * self.accelerator.compute.accumulate_bits / 8))
        filters = self.layer.filters
        even = np.ceil(filters / np.ceil(filters / np.clip(room, 1, filters)))
        m = even if self.given.m is None else np.full_like(even, self.given.m)
        return replace(grid, m=m).at((room >= 1) & (m <= room) & (m <= filters))

    def full(self, blocks: Passes) -> Passes:
        """The blocks with every p and t that fit."""
        sets, given, (filters, _) = self.sets(blocks.e), self.given, self.most()
        beside = _tried(given.t, np.arange(1.0, sets.max(initial=0.0) + 1))
        block, at = np.nonzero(beside * blocks.r[:, None] <= sets[:, None])
        p = _tried(given.p, np.arange(1.0, filters + 1))
        grid = replace(Passes(*(side[block, None] for side in blocks.columns)), t=beside[at, None], p=p[None, :])
        spare = (given.t is None) & (grid.p * (grid.t - 1) >= grid.m)
        return grid.at((grid.p <= np.minimum(grid.m, filters)) & ~spare & self._filters_fit(grid))

    def lean(self, blocks: Passes, figure: str) -> Passes:
        """Those blocks that could come within `SLACK` of the least of a figure: blocks that must exceed what a pass of
        one set of one filter takes, or of the most that fit, are dropped before every p and t is tried."""
        if self.given.p is not None or self.given.t is not None or not blocks.m.size:
            return blocks
        if figure == "dram_bytes":
            reached = float(np.sum(self._dram(blocks), axis=0).min())
        else:
            reached = min(float(getattr(self.cost(passes), figure).min()) for passes in (blocks, self._widest(blocks)))
        return blocks.at(self.least(blocks, figure) <= reached * (1 + SLACK))

    def _dram(self, blocks: Passes) -> tuple[Array, Array, Array]:
        return dram_bytes(self.gemm, self.accelerator, self.layer, blocks, self.zeros)

    def least(self, blocks: Passes, figure: str) -> Array:
        """What blocks take at least of a figure, under any p and t: what crosses the link if a pass takes all filters,
        and full PEs."""
        all_filters = replace(blocks, p=np.full_like(blocks.p, self.layer.filters))
        moved = self._dram(all_filters)
        if figure == "dram_bytes":
            return np.asarray(sum(moved))
        accelerator, layer, loops = self.accelerator, self.layer, trips(self.layer, blocks)
        clock_hz, link = accelerator.technology.clock_hz, accelerator.dram_bytes_per_s
        walks = layer.groups * layer.samples * loops.strips * loops.channels * layer.filters
        one_set = walks * blocks.q * layer.kernel[1] * layer.output[1] / pe_rate(self.gemm, accelerator)
        full_pes = one_set / np.floor(self.sets(blocks.e) / blocks.r)
        # every filter's sums leave through the port, every filter comes over its bus, however many a pass takes
        port = accelerator.buffer_of("output").port_bytes_per_cycle or math.inf
        sums = layer.output[0] * accelerator.compute.accumulate_bits / 8 / port
        bus = part_of(accelerator).filter_bus_bytes_per_cycle * 8 / self.gemm.weight.bits
        rows = loops.strips * math.prod(layer.kernel) * blocks.q * blocks.r / bus
        each = layer.groups * loops.channels * layer.filters
        cycles = np.maximum(full_pes, each * layer.samples * sums * layer.output[1])
        cycles = cycles + each * loops.samples * (rows + sums)
        if figure == "cycles":
            return cycles
        latency_s = np.maximum(cycles / clock_hz + (moved[0] + moved[2]) / link, sum(moved) / link)
        if figure == "latency_s":
            return latency_s
        at_once = self.cost(all_filters)
        pes = layer.kernel[0] * blocks.e * blocks.r
        clock_j = pes * part_of(accelerator).pe_clock_w * one_set / clock_hz
        energy_j = at_once.mac_j + at_once.spad_j + at_once.movement_j + clock_j
        return {"movement_j": at_once.movement_j, "energy_j": energy_j, "edp": energy_j * latency_s}[figure]

    def chosen(self, passes: Passes, criteria: tuple[str, ...]) -> int:
        """Place of the passes that criteria choose: of those within `SLACK` of the least by each criterion but the
        last, the least by the last (ties: least energy of moving data, then e, p, q, n, r, t)."""
        cost, near = self.cost(passes), np.arange(passes.m.size)
        for name in criteria[:-1]:
            figure = getattr(cost, name)[near]
            near = near[figure <= figure.min() * (1 + SLACK)]
        keys = (getattr(passes, name)[near] for name in "trnqpe")  # the last is the first to tell mappings apart
        return int(near[np.lexsort((*keys, cost.movement_j[near], getattr(cost, criteria[-1])[near]))[0]])

    def sets(self, e: Array) -> Array:
        """PE sets of R x e that fit the array; one wider than the array is folded into strips on top of each other."""
        rows, cols = self.accelerator.compute.rows, self.accelerator.compute.cols
        return np.asarray(rows // self.layer.kernel[0] * np.maximum(cols // e, 1) // np.ceil(e / cols))

    def most(self) -> tuple[int, int]:
        """Most filters and most channels that the spads of a PE take, of those that there are."""
        part, gemm, layer = part_of(self.accelerator), self.gemm, self.layer
        words = int(part.filter_spad_bytes * 8 // gemm.weight.bits) // layer.kernel[1]
        sums = int(part.psum_spad_bytes * 8 // self.accelerator.compute.accumulate_bits)
        inputs = int(part.ifmap_spad_bytes * 8 // gemm.input.bits) // layer.span[1]
        return min(sums, words, layer.filters), min(inputs, words, layer.channels)

    def buffer_words(self, passes: Passes) -> tuple[Array, Array]:
        """Words of input and of partial sums that the global buffer keeps during a pass."""
        layer = self.layer
        rows = (passes.e - 1) * layer.advance + layer.span[0]
        inputs = passes.n * passes.q * passes.r * rows * layer.padded[1]
        return inputs, passes.m * passes.n * passes.e * layer.output[1]

    def _filters_fit(self, passes: Passes) -> NDArray[np.bool_]:
        """Whether the filters of a pass fit spads and filter buffer."""
        spad, buffer = part_of(self.accelerator).filter_spad_bytes, self.room("weight")
        word = self.gemm.weight.bits / 8
        in_spad = passes.p * passes.q * self.layer.kernel[1] * word <= spad
        return np.asarray(in_spad & (filter_words(self.layer, passes) * word <= buffer))

    def _widest(self, blocks: Passes) -> Passes:
        """The blocks with as many sets for filters as there is room for, and as many filters in a PE as then fit."""
        word, t = self.gemm.weight.bits / 8, np.floor(self.sets(blocks.e) / blocks.r)
        buffer = self.room("weight") / word
        spad = part_of(self.accelerator).filter_spad_bytes / word
        t = np.clip(np.floor(np.minimum(blocks.m, buffer / filter_words(self.layer, blocks))), 1, t)
        p = np.minimum(buffer / (t * filter_words(self.layer, blocks)), spad / (blocks.q * self.layer.kernel[1]))
        p = np.minimum(np.floor(np.minimum(p, blocks.m / t)), self.most()[0])
        return replace(blocks, p=np.maximum(p, 1), t=t)


def best_rows(gemm: Gemm, accelerator: Accelerator, objective: Objective = "latency") -> RowCost:
    """Cost of a product (a convolution, or a matrix product as 1 x 1 convolution) under its best passes on one design.

    For latency, the objective of those that have none of their own, the criteria of the description decide among the
    passes of each buffer size; with Eyeriss's, the mappings and GLB traffic of the AlexNet layers come out as measured.
    What the product gives of its pass is not searched. `SimulationError` where the kernel or what is given does not
    fit the array, the spads or the buffers, for arithmetic that the array lacks, and where the accelerator lists other
    dataflows too.
    """
    space, goal = Space(gemm, accelerator, row_layer(gemm), zeros=True), FIGURES[objective]
    criteria = part_of(accelerator).criteria if objective == "latency" else (goal,)
    if wrong := _misfit(space):
        raise SimulationError(wrong)
    best, least = None, math.inf
    for part in replace(space, zeros=objective != "latency").halves():  # what criteria choose is fixed before the data
        grid, before = part.grid(), None
        for few in part.narrowed():
            blocks = few.blocks(grid)
            if before is not None and np.array_equal(before.m, blocks.m):
                continue  # what is left has its room in fewer banks, too
            before = blocks
            bound = space.least(blocks, goal) * (1 - 1e-12)  # room for its rounding
            if not (bound < least).any():
                break  # neither do fewer banks hold any that is better
            if criteria == (goal,):
                blocks = blocks.at(bound < least)
            passes = few.full(few.lean(blocks, criteria[0]))
            if passes.m.size:
                found = space.cost(passes.at(few.chosen(passes, criteria)))
                if float(getattr(found, goal)) < least:
                    best, least = found, float(getattr(found, goal))
    if best is None:
        raise SimulationError(_no_pass(space))
    return best


def _tried(fixed: int | None, values: Array) -> Array:
    """The values to try along a parameter: the one that is given, or all."""
    return values if fixed is None else np.array([float(fixed)])


def _misfit(space: Space) -> str:
    """What of dataflows, kernel or given pass the array, its spads or its buffers cannot hold, "" where all can."""
    accelerator, layer, part = space.accelerator, space.layer, part_of(space.accelerator)
    others = [dataflow for dataflow in accelerator.compute.dataflows if dataflow != "row_stationary"]
    kernel = f"{layer.kernel[0]} x {layer.kernel[1]}"
    if others:
        return (
            f"{accelerator.name} lists row_stationary beside {', '.join(others)}; an array of row-stationary PEs runs "
            "no other dataflow, so leave one kind in compute.dataflows"
        )
    if accelerator.compute.rows < layer.kernel[0]:
        return (
            f"a {kernel} kernel needs {layer.kernel[0]} rows of PEs, {accelerator.name} has "
            f"{accelerator.compute.rows}; raise compute.rows or split the kernel"
        )
    if min(space.most()) < 1:
        return (
            f"a row of a {kernel} kernel ({layer.span[1]} columns with dilation) does not fit the spads of "
            f"{accelerator.name}: input {part.ifmap_spad_bytes:g} B, filter {part.filter_spad_bytes:g} B, sums "
            f"{part.psum_spad_bytes:g} B; raise row_stationary.*_spad_bytes"
        )
    lacking = _lacking(space) if space.given != Pass() else ""
    return f"the given pass does not fit {accelerator.name}: {lacking}; give fewer" if lacking else ""


def _lacking(space: Space) -> str:
    """What a given pass has no room for, with 1 for what is not given; "" where it fits."""
    gemm, accelerator, layer = space.gemm, space.accelerator, space.layer
    passes = Passes(*(np.asarray(float(getattr(space.given, name) or 1)) for name in Passes.__slots__))
    part, buffer, filters = part_of(accelerator), accelerator.buffer_of("output"), accelerator.buffer_of("weight")
    word, partial = gemm.weight.bits / 8, accelerator.compute.accumulate_bits / 8
    inputs, sums = space.buffer_words(passes)
    banks = np.ceil(inputs * gemm.input.bits / 8 / part.bank_bytes)
    needs = {
        "n samples": (passes.n, layer.samples),
        "m filters": (passes.m, layer.filters),
        "e output rows": (passes.e, layer.output[0]),
        "q channels": (passes.q, layer.channels),
        "p filters of m": (passes.p, passes.m if space.given.m else layer.filters),
        "r x t PE sets": (passes.r * passes.t, space.sets(passes.e)),
        "B of input in the input spad": (passes.q * layer.span[1] * gemm.input.bits / 8, part.ifmap_spad_bytes),
        "B of weight in the filter spad": (passes.p * passes.q * layer.kernel[1] * word, part.filter_spad_bytes),
        "B of output in the psum spad": (passes.p * partial, part.psum_spad_bytes),
        f"B of weight in {filters.name}": (filter_words(layer, passes) * word, space.room("weight")),
        f"B of input and output in banks of {buffer.name}": (
            banks * part.bank_bytes + sums * partial,
            space.banks * part.bank_bytes,
        ),
    }
    return "; ".join(f"it takes {float(need):,.0f} {what} of {float(has or 0):,.0f}"
                     for what, (need, has) in needs.items() if need > (has or 0))  # fmt: skip


def _no_pass(space: Space) -> str:
    layer = space.layer
    return (
        f"no pass of a {layer.kernel[0]} x {layer.kernel[1]} convolution with rows of {layer.padded[1]} inputs and "
        f"{layer.output[1]} outputs fits the buffers of {space.accelerator.name}; raise memories.*.capacity_bytes or "
        "cut the layer into narrower ones"
    )

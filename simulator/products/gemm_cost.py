"""Cost of one matrix product under one or a million mappings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.energy import Energy, executed_macs, gemm_energy
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import reduction_steps, skips
from zerocast.simulator.objective import Objective, goal
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.pipeline import PipelineTime, pipeline_time
from zerocast.simulator.products.traffic import (
    PortBytes,
    TileBytes,
    changes,
    ends,
    link_bytes,
    port_bytes,
    tile_bytes,
)
from zerocast.simulator.products.walk import walked_cycles
from zerocast.simulator.rates import Rates, rates_of

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GemmCost:
    """Cost of a product; every field broadcasts over the mapping's arrays, and over designs.

    cycles: of the array, ports included, without off-chip waits. macs: executed ones.
    """

    mapping: Mapping
    cycles: Array
    port_cycles: Array
    steps_share: Array
    time: PipelineTime
    ports: PortBytes
    energy: Energy
    macs: Array

    @property
    def latency_s(self) -> Array:
        """Seconds of the whole product."""
        return self.time.latency_s

    def objective(self, objective: Objective) -> Array:
        """The figure to be made small."""
        return np.asarray(goal(objective, self.latency_s, self.energy.total_j, self.cycles))


@dataclass(frozen=True, slots=True)
class ArrayCost:
    """The part of a cost that does not depend on the order of the loops over tiles.

    array_cycles: without ports. macs: executed ones. tile_shares: of a batch item's cycles, what a tile takes by
    whether it is the last along m, n and k [2, 2, 2, ...], as if each began anew.
    """

    array_cycles: Array
    port_cycles: Array
    steps_share: Array
    macs: Array
    ports: PortBytes
    tile: TileBytes
    tile_shares: Array

    @property
    def busy_cycles(self) -> Array:
        """Array and ports, whichever takes longer."""
        return np.maximum(self.array_cycles, self.port_cycles)


def array_cost(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0, flows: ArrayLike | None = None,
    masks: bool = False,
) -> ArrayCost:  # fmt: skip
    """Array cycles, port traffic and tile sizes of a product; broadcasts over the mapping. flows: whether a fold's
    stream goes on from tile to tile, where that is known without the order of the loops. masks: with the nonzeros of
    the data, where the law knows more than their mean."""
    law = law_of(mapping.dataflow)
    steps, last = tile_steps(gemm, accelerator, mapping, spread)
    flows = law.goes_on(gemm, accelerator, mapping) if flows is None else np.asarray(flows, dtype=bool)
    cycles, reduced, tile_shares = law.cycles(gemm, accelerator, mapping, steps, last, flows, masks)
    ports = port_bytes(gemm, accelerator, mapping, steps, last, flows)
    port_cycles = _port_cycles(accelerator, ports)
    share = np.minimum(reduced / gemm.k, 1.0)
    macs = executed_macs(gemm, accelerator, share, skips(gemm, accelerator, mapping.dataflow))
    tile = tile_bytes(gemm, accelerator, mapping)
    return ArrayCost(cycles, port_cycles, share, macs, ports, tile, tile_shares)


def gemm_cost(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0) -> GemmCost:
    """Price a product under a mapping (or arrays of them) quickly, all tiles taken for alike (`walked_cost` walks).

    `spread` moves a random pattern's step count by that many standard deviations (see `reduction_steps`).
    """
    return timed_cost(
        gemm, accelerator, mapping, array_cost(gemm, accelerator, mapping, spread), rates_of([accelerator]).at(0)
    )


def timed_cost(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, part: ArrayCost, rates: Rates) -> GemmCost:
    """Seconds and joules of a product from its array cost, at the rates of one design or of one for each mapping."""
    tiles = gemm.batch * mapping.trips_m * mapping.trips_n * mapping.trips_k
    kinds = changes(gemm, mapping, part.tile)
    time = pipeline_time(
        kinds,
        ends(gemm, kinds),
        part.tile,
        part.busy_cycles / tiles / rates.clock_hz,
        rates.dram_bytes_per_s,
        accelerator.overlap(),
    )
    moved = time.read_bytes + time.write_bytes
    energy = gemm_energy(gemm, accelerator, part.macs, part.ports, moved, rates.j_per_byte)
    return GemmCost(mapping, part.busy_cycles, part.port_cycles, part.steps_share, time, part.ports, energy, part.macs)


def walked_cost(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, part: ArrayCost | None = None, rates: Rates | None = None
) -> GemmCost:
    """Price a product under a mapping (or arrays of them) tile by tile, edges included, where `gemm_cost` takes all
    tiles for alike. part: its array cost, where that is known; rates: of one design or of one for each mapping."""
    part = array_cost(gemm, accelerator, mapping) if part is None else part
    rates = rates_of([accelerator]).at(0) if rates is None else rates
    rate = rates.dram_bytes_per_s
    cycles = walked_cycles(gemm, accelerator, mapping, part, rate / rates.clock_hz)
    read, write = link_bytes(gemm, mapping, part.tile)
    energy = gemm_energy(gemm, accelerator, part.macs, part.ports, read + write, rates.j_per_byte)
    time = PipelineTime(cycles / rates.clock_hz, (read + write) / rate, part.tile.weight / rate, read, write)
    return GemmCost(mapping, part.busy_cycles, part.port_cycles, part.steps_share, time, part.ports, energy, part.macs)


def tile_steps(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0) -> tuple[Array, Array]:
    """Reduction steps of a full tile along K, and of the last one, which may be shorter."""
    last = gemm.k - (mapping.trips_k - 1) * mapping.k
    return (
        reduction_steps(gemm, accelerator, mapping.dataflow, mapping.k, spread),
        reduction_steps(gemm, accelerator, mapping.dataflow, last, spread),
    )


def _port_cycles(accelerator: Accelerator, ports: PortBytes) -> Array:
    """Cycles that the narrowest buffer port needs for its reads (reads and writes go through separate ports)."""
    needed: Array = np.asarray(0.0)
    reads = {"input": ports.input_read, "weight": ports.weight_read, "output": ports.output_read}
    for memory in accelerator.buffers:
        if memory.port_bytes_per_cycle is not None:
            read = sum((reads[side] for side in memory.holds), np.asarray(0.0))
            needed = np.maximum(needed, read / memory.port_bytes_per_cycle)
            if "output" in memory.holds:
                needed = np.maximum(needed, ports.output_write / memory.port_bytes_per_cycle)
    return needed

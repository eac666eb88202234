"""Cost of one matrix product under one or a million mappings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.energy import Energy, executed_macs, gemm_energy
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import reduction_steps, skips
from zerocast.simulator.laws.outputs import computed_share
from zerocast.simulator.objective import Objective, goal
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.traffic import PortBytes, TileBytes, link_bytes, port_bytes, tile_bytes
from zerocast.simulator.products.walks.walk import walked_cycles
from zerocast.simulator.rates import Rates, rates_of

Array = NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class GemmCost:
    """Cost of a product; every field broadcasts over the mapping's arrays, and over designs. link_s: time that the link
    is busy."""

    mapping: Mapping
    part: ArrayCost
    latency_s: Array
    link_s: Array
    read_bytes: Array
    write_bytes: Array
    energy: Energy

    @property
    def cycles(self) -> Array:
        """Of the array, ports included, without off-chip waits."""
        return self.part.busy_cycles

    def objective(self, objective: Objective) -> Array:
        """The figure to be made small."""
        return np.asarray(goal(objective, self.latency_s, self.energy.total_j, self.cycles))


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
    if law.by_block:
        cycles = cycles * computed_share(gemm, accelerator, mapping.dataflow)
    ports = port_bytes(gemm, accelerator, mapping, steps, last, flows)
    port_cycles = _port_cycles(accelerator, ports)
    share = np.minimum(reduced / gemm.k, 1.0)
    macs = executed_macs(gemm, accelerator, share, skips(gemm, accelerator, mapping.dataflow))
    tile = tile_bytes(gemm, accelerator, mapping)
    return ArrayCost(cycles, port_cycles, share, macs, ports, tile, tile_shares)


def gemm_cost(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, part: ArrayCost | None = None, rates: Rates | None = None
) -> GemmCost:
    """Price a product under a mapping (or arrays of them), tile by tile, edges included. part: its array cost, where
    that is known; rates: of one design or of one for each mapping."""
    part = array_cost(gemm, accelerator, mapping) if part is None else part
    rates = rates_of([accelerator]).at(0) if rates is None else rates
    rate, clock = rates.dram_bytes_per_s, rates.clock_hz
    latency_s = walked_cycles(gemm, accelerator, mapping, part, rate / clock) / clock
    read, write = link_bytes(gemm, mapping, part.tile)
    energy = gemm_energy(gemm, accelerator, part.macs, part.ports, read + write, rates.j_per_byte)
    return GemmCost(mapping, part, latency_s, (read + write) / rate, read, write, energy)


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

"""Cost of one matrix product under one or a million mappings, and the choice among them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from accelerators.schema import Accelerator
from simulator.compute import array_cycles, reduction_steps, skips
from simulator.energy import Energy, executed_macs, gemm_energy
from simulator.engine import engine_cycles
from simulator.errors import SimulationError
from simulator.gemm import Gemm
from simulator.mapping import THIN_ABOVE, Mapping, mapspace, tile_units
from simulator.pipeline import PipelineTime, pipeline_time
from simulator.traffic import PortBytes, TileBytes, changes, ends, fits, port_bytes, tile_bytes

Array = NDArray[np.float64]
Objective = Literal["latency", "energy", "edp", "cycles"]


@dataclass(frozen=True, slots=True)
class GemmCost:
    """Cost of a product; every field broadcasts over the mapping's arrays.

    cycles: of the array, ports included, without off-chip waits.
    """

    mapping: Mapping
    cycles: Array
    port_cycles: Array
    steps_share: Array
    time: PipelineTime
    ports: PortBytes
    energy: Energy
    skipped: str

    def objective(self, objective: Objective) -> Array:
        """The figure to be made small: seconds, joules, their product, or cycles of the array alone."""
        if objective == "cycles":
            return self.cycles
        if objective == "latency":
            return self.time.latency_s
        if objective == "energy":
            return self.energy.total_j
        return self.time.latency_s * self.energy.total_j


@dataclass(frozen=True, slots=True)
class ArrayCost:
    """The part of a cost that does not depend on the order of the loops over tiles.

    busy_cycles: array and ports, whichever takes longer. macs: executed ones.
    """

    busy_cycles: Array
    port_cycles: Array
    steps_share: Array
    macs: Array
    ports: PortBytes
    tile: TileBytes


def array_cost(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0) -> ArrayCost:
    """Array cycles, port traffic and tile sizes of a product; broadcasts over the mapping."""
    steps, last = tile_steps(gemm, accelerator, mapping, spread)
    compute_cycles, reduced = total_cycles(gemm, accelerator, mapping, steps, last, spread)
    ports = port_bytes(gemm, accelerator, mapping, steps, last)
    port_cycles = _port_cycles(accelerator, ports)
    share = np.minimum(reduced / gemm.k, 1.0)
    macs = executed_macs(gemm, accelerator, share, skips(gemm, accelerator, mapping.dataflow))
    tile = tile_bytes(gemm, accelerator, mapping)
    return ArrayCost(np.maximum(compute_cycles, port_cycles), port_cycles, share, macs, ports, tile)


def gemm_cost(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0) -> GemmCost:
    """Price a product under a mapping (or arrays of them).

    `spread` moves a random pattern's step count by that many standard deviations (see `reduction_steps`).
    """
    part = array_cost(gemm, accelerator, mapping, spread)
    tiles = gemm.batch * mapping.trips_m * mapping.trips_n * mapping.trips_k
    time = pipeline_time(
        changes(gemm, mapping, part.tile),
        ends(gemm, mapping, part.tile),
        part.tile,
        part.busy_cycles / tiles / accelerator.technology.clock_hz,
        accelerator.dram_bytes_per_s,
        all(memory.double_buffered for memory in accelerator.buffers),
    )
    energy = gemm_energy(gemm, accelerator, part.macs, part.ports, time.read_bytes + time.write_bytes)
    return GemmCost(
        mapping, part.busy_cycles, part.port_cycles, part.steps_share, time, part.ports, energy,
        skips(gemm, accelerator, mapping.dataflow),
    )  # fmt: skip


def tile_steps(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, spread: float = 0.0) -> tuple[Array, Array]:
    """Reduction steps of a full tile along K, and of the last one, which may be shorter."""
    last = gemm.k - (mapping.trips_k - 1) * mapping.k
    return (
        reduction_steps(gemm, accelerator, mapping.dataflow, mapping.k, spread),
        reduction_steps(gemm, accelerator, mapping.dataflow, last, spread),
    )


def total_cycles(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, steps: Array, last: Array, spread: float = 0.0
) -> tuple[Array, Array]:
    """Array cycles of the whole product, and the reduction steps left of its K. `steps`, `last`: `tile_steps`.

    Exact over full and edge tiles: tiles along M and N are of two sizes (full, and the rest), so the product
    is the sum over their four combinations; along K the steps add up.
    """
    if mapping.dataflow == "zero_skipping":
        engine = engine_cycles(gemm, accelerator)
        share = engine.ideal * accelerator.compute.multipliers / gemm.macs
        return engine.cycles * np.ones_like(mapping.trips_k), np.asarray(gemm.k * share)
    if accelerator.compute.fold.streams_through_tiles:
        whole = reduction_steps(gemm, accelerator, mapping.dataflow, gemm.k, spread)
        cycles = array_cycles(accelerator, gemm.dtype, mapping.dataflow, gemm.m, gemm.n, whole)
        return gemm.batch * cycles * np.ones_like(mapping.trips_k), whole
    total: Array = np.asarray(0.0)
    for extent_m, count_m in _two_sizes(gemm.m, mapping.m, mapping.trips_m):
        for extent_n, count_n in _two_sizes(gemm.n, mapping.n, mapping.trips_n):
            for extent_k, count_k in ((steps, mapping.trips_k - 1), (last, 1.0)):
                cycles = array_cycles(accelerator, gemm.dtype, mapping.dataflow, extent_m, extent_n, extent_k)
                total = total + count_m * count_n * count_k * cycles
    return gemm.batch * total, steps * (mapping.trips_k - 1) + last


def _two_sizes(extent: int, tile: Array, trips: Array) -> tuple[tuple[Array, Array | float], ...]:
    """Full tiles and their number, the last tile and one."""
    return (tile, trips - 1), (extent - (trips - 1) * tile, 1.0)


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


SLACK = {"latency": 0.01, "energy": 0.0, "edp": 0.0, "cycles": 0.0}
"""How much more than the least of an objective a mapping may take to be chosen for its energy.

The last promille of latency can cost several times the energy (smaller first tiles, refetched operands), which no
architect would pay.
"""

_EQUAL = 1e-12
"""Figures closer than this are ties."""


def best_mapping(
    gemm: Gemm, accelerator: Accelerator, objective: Objective = "latency", limit: int = THIN_ABOVE
) -> GemmCost:
    """The mapping of the mapspace to use, and its cost: among those within `SLACK` of the least objective the one
    of least energy.

    Ties are broken by the objective, then by the fewest tiles, then by the first in the order dataflow, loop order,
    tile M, N, K ascending, so that the choice is deterministic. `SimulationError` where no mapping fits.
    """
    priced = _Priced(gemm, accelerator, objective, limit)
    near = np.flatnonzero(priced.goal <= priced.goal.min() * (1 + SLACK[objective] + _EQUAL))
    for figure in (priced.energy, priced.goal, priced.tiles):
        near = near[figure[near] <= figure[near].min() * (1 + _EQUAL)]
    return gemm_cost(gemm, accelerator, priced.mapping(int(near[0])))


def contenders(
    gemm: Gemm, accelerator: Accelerator, objective: Objective, most: int, limit: int = THIN_ABOVE
) -> list[GemmCost]:
    """Up to `most` good mappings: half of least objective, half of least energy among those near it."""
    priced = _Priced(gemm, accelerator, objective, limit)
    order = np.argsort(priced.goal, kind="stable")
    near = order[priced.goal[order] <= priced.goal[order[0]] * (1 + 2 * SLACK[objective] + _EQUAL)]
    frugal = near[np.argsort(priced.energy[near], kind="stable")]
    picked = dict.fromkeys([*order[: most // 2].tolist(), *frugal[: most // 2].tolist()])
    return [gemm_cost(gemm, accelerator, priced.mapping(at)) for at in picked]


class _Priced:
    """Objective, energy and number of tiles of every mapping of the mapspace that fits, in one flat list."""

    def __init__(self, gemm: Gemm, accelerator: Accelerator, objective: Objective, limit: int) -> None:
        self._grids: list[tuple[Mapping, tuple[int, ...]]] = []
        goals, energies, tiles = [], [], []
        for grid in mapspace(gemm, accelerator, limit):
            allowed = fits(gemm, accelerator, grid)
            if not allowed.any():
                continue
            if not allowed.all():
                grid = grid.where(allowed)
            cost = gemm_cost(gemm, accelerator, grid)
            goal, energy, trips = np.broadcast_arrays(
                cost.objective(objective), cost.energy.total_j, grid.trips_m * grid.trips_n * grid.trips_k
            )
            self._grids.append((grid, goal.shape))
            goals.append(goal.ravel())
            energies.append(energy.ravel())
            tiles.append(trips.ravel())
        if not goals:
            raise SimulationError(_no_fit(gemm, accelerator))
        self.goal, self.energy, self.tiles = (np.concatenate(parts) for parts in (goals, energies, tiles))

    def mapping(self, at: int) -> Mapping:
        """The mapping at a place of the list."""
        for grid, shape in self._grids:
            size = math.prod(shape)
            if at < size:
                return grid.at(tuple(int(i) for i in np.unravel_index(at, shape)))
            at -= size
        raise IndexError(at)


def _no_fit(gemm: Gemm, accelerator: Accelerator) -> str:
    """Names the smallest tile and the buffers that cannot hold it."""
    units = {dataflow: tile_units(gemm, accelerator, dataflow) for dataflow in accelerator.compute.dataflows}
    tiles = "; ".join(f"{dataflow} needs tiles of {m} x {n} x {k}" for dataflow, (m, n, k) in units.items())
    buffers = ", ".join(f"{memory.name} {memory.capacity_bytes:g} B" for memory in accelerator.buffers)
    return (
        f"no mapping of a {gemm.m} x {gemm.n} x {gemm.k} product fits {accelerator.name}: {tiles} (M x N x K), "
        f"the buffers have {buffers}; enlarge memories.*.capacity_bytes or shrink compute.rows/cols"
    )

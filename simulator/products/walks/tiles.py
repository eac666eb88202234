"""Walk the tiles of a product one by one, each with its own size and its own nonzeros: the tile fidelity.

A lock-step group waits for the fullest of its fibers, compressed tiles take the bytes of their own nonzeros. Where
every tile has what is expected of it, `walk` counts equal steps instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import array_cycles, reduction_steps, skips, window_of
from zerocast.simulator.laws.lanes.operands import Bits, operand_bits
from zerocast.simulator.products.gemm import Gemm, Operand
from zerocast.simulator.products.gemm_cost import array_cost
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.traffic import element_bits, tile_bytes
from zerocast.simulator.products.walks.pipeline import side_by_side

Array = NDArray[np.float64]

MOST_TILES = 1_000_000
"""Tiles walked at most for one product, so that they fit in memory at once; a search takes more only where it must."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Totals of a walk: latency, link time, array cycles and off-chip bytes of the whole product."""

    latency_s: float
    link_s: float
    cycles: float
    read_bytes: float
    write_bytes: float


def tiles_of(mapping: Mapping) -> int:
    """Number of tiles of one batch item under a single mapping."""
    return int(mapping.trips_m * mapping.trips_n * mapping.trips_k)


@dataclass(frozen=True, slots=True)
class Stream:
    """The tiles of one batch item in the order of the walk, apart from rates.

    cycles: of each tile. loads_bytes, stores_bytes: between each and the next; first_bytes: of the first load,
    last_bytes: of the last store. overlap: as in `side_by_side`.
    """

    cycles: Array
    loads_bytes: Array
    stores_bytes: Array
    first_bytes: float
    last_bytes: float
    batch: int
    overlap: float

    def walk(self, clock_hz: float, link_bytes_per_s: float) -> Walk:
        """Step i computes tile i while the link stores what is left behind and loads tile i + 1 (see `pipeline`);
        batch items follow one another."""
        loads, stores, first, last = self.loads_bytes, self.stores_bytes, self.first_bytes, self.last_bytes
        compute = self.cycles / clock_hz

        def item_s(before: float, after: float) -> float:
            """Seconds of one item whose first tile computes beside the store `before`, its last beside a load."""
            link = np.empty_like(compute)
            link[0], link[1:] = before, stores
            link[:-1] += loads
            link[-1] += after
            link /= link_bytes_per_s
            return float(side_by_side(compute, link, self.overlap).sum())

        batch = self.batch
        latency = (first + last) / link_bytes_per_s
        if batch == 1:
            latency += item_s(0.0, 0.0)
        else:
            latency += item_s(0.0, first) + (batch - 2) * item_s(last, first) + item_s(last, 0.0)
        read, write = batch * (float(loads.sum()) + first), batch * (float(stores.sum()) + last)
        # cycles are whole numbers; sums of shared-out ones are rounded back
        cycles = round(batch * float(self.cycles.sum()), 6)
        return Walk(latency, (read + write) / link_bytes_per_s, cycles, read, write)


def tile_stream(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> Stream:
    """Every tile of one batch item in the mapping's order, which designs that differ in rates have in common: with its
    own nonzeros, drawn from the law where there is no mask. Raises `SimulationError` above `MOST_TILES`.
    """
    if tiles_of(mapping) > MOST_TILES:
        raise SimulationError(
            f"the tile fidelity would walk {tiles_of(mapping)} tiles of a {gemm.m} x {gemm.n} x {gemm.k} product; "
            "use --fidelity analytic or larger buffers"
        )
    assert isinstance(mapping.order, str)  # a single mapping
    trips = {rank: int(count) for rank, count in mapping.trips.items()}
    extents = {r: _extents(getattr(gemm, r), float(getattr(mapping, r)), trips[r]) for r in "mnk"}
    cycles, fill = _tile_cycles(gemm, accelerator, mapping, extents)
    order = _visit_order(mapping.order, trips)
    loads, stores, first, last = _link_bytes(gemm, accelerator, mapping, extents, fill, order)
    return Stream(cycles[order], loads, stores, first, last, gemm.batch, accelerator.overlap())


def _extents(size: int, tile: float, trips: int) -> Array:
    return np.minimum(tile, size - tile * np.arange(trips))


def _visit_order(order: str, trips: dict[str, int]) -> tuple[NDArray[np.intp], ...]:
    """Indices (m, n, k) of the tiles in the order of the loops, outermost first."""
    grid = np.indices([trips[rank] for rank in order]).reshape(3, -1)
    return tuple(grid[order.index(rank)] for rank in "mnk")


def _tile_cycles(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, extents: dict[str, Array]
) -> tuple[Array, dict[str, Array]]:
    """Array cycles of every tile [m, n, k], and for each random operand that is kept compressed off chip the
    nonzeros of its tiles against their mean; both the mean over the batch's items.

    Where the buffers' ports need more cycles than the array in all, every tile is longer by the same factor.
    """
    if not law_of(mapping.dataflow).by_tile:
        return _shared_out(gemm, accelerator, mapping, extents), {}
    m, n, k = extents["m"][:, None, None], extents["n"][None, :, None], extents["k"][None, None, :]
    steps = reduction_steps(gemm, accelerator, mapping.dataflow, k)
    fullest = (mapping.m, mapping.n, steps[0, 0, 0])
    side = skips(gemm, accelerator, mapping.dataflow)
    fill: dict[str, Array] = {}
    for name, rank in (("weight", "n"), ("input", "m")):
        operand: Operand = getattr(gemm, name)
        compressed = element_bits(accelerator.dram, name, operand) != operand.bits  # not stored as all its words
        random = not operand.pattern.is_dense and operand.structured is None
        if not (random and (compressed or side == name)):
            continue
        lanes = getattr(accelerator.sparsity, name).sync_group
        depths = np.r_[0, np.cumsum(extents["k"])[:-1]].astype(int)
        starts = np.r_[0, np.cumsum(extents[rank])[:-1]].astype(int)
        if compressed:  # what lies in memory is the image without its padding
            stored = _counts(operand_bits(gemm, name, beyond=True), depths)
            nonzeros = np.add.reduceat(stored, starts, axis=1).mean(axis=0)
            expected = extents[rank][:, None] * extents["k"] * operand.pattern.density
            fill[name] = nonzeros / np.maximum(expected, 1e-30)
        if side == name:
            counts = _counts(operand_bits(gemm, name), depths)
            slowest = np.mean([_slowest(item, starts, lanes) for item in counts], axis=0)
            steps = slowest[None, :, :] if rank == "n" else slowest[:, None, :]
    shape = np.broadcast_shapes(m.shape, n.shape, k.shape)

    def apart(depth: Array) -> Array:
        """Cycles of the tiles if each began anew."""
        cycles = array_cycles(accelerator, gemm.types, mapping.dataflow, m, n, depth, fullest, window_of(gemm, mapping))
        return np.broadcast_to(cycles, shape)

    cycles, expected = apart(steps), apart(reduction_steps(gemm, accelerator, mapping.dataflow, k))
    part = array_cost(gemm, accelerator, mapping)
    if (flowing := float(part.array_cycles) / gemm.batch) < float(expected.sum()):
        cycles = cycles * (flowing / float(expected.sum()))
    return cycles * max(float(part.port_cycles) / gemm.batch / float(cycles.sum()), 1.0), fill


def _shared_out(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, extents: dict[str, Array]) -> Array:
    """Cycles of every tile [m, n, k] of an array whose cycles do not depend on how buffers cut the product: each tile
    has its share of the whole."""
    cycles = float(array_cost(gemm, accelerator, mapping, masks=True).busy_cycles)
    share = extents["m"][:, None, None] * extents["n"][None, :, None] * extents["k"]
    return cycles / gemm.batch * share / (gemm.m * gemm.n * gemm.k)


def _counts(bits: Bits, depths: NDArray[np.intp]) -> NDArray[np.int64]:
    """Nonzeros of every fiber between the K tiles' starts, [batch, rows, K tiles]."""
    return np.asarray(np.add.reduceat(bits, depths, axis=2, dtype=np.int64))


def _slowest(counts: NDArray[np.int64], starts: NDArray[np.intp], lanes: int) -> Array:
    """Mean over the lock-step groups of each tile of the fullest fiber: [tiles, K tiles]."""
    ends = np.r_[starts[1:], len(counts)]
    rows = []
    for start, end in zip(starts, ends, strict=True):
        groups = np.maximum.reduceat(counts[start:end], np.arange(0, end - start, lanes), axis=0)
        rows.append(groups.mean(axis=0))
    return np.array(rows)


def _link_bytes(
    gemm: Gemm,
    accelerator: Accelerator,
    mapping: Mapping,
    extents: dict[str, Array],
    fill: dict[str, Array],
    order: tuple[NDArray[np.intp], ...],
) -> tuple[Array, Array, float, float]:
    """Bytes loaded and stored between consecutive tiles of the walk, of the first load and of the last store."""
    average = tile_bytes(gemm, accelerator, mapping)
    trips = {rank: len(extents[rank]) for rank in "mnk"}
    share = {rank: extents[rank] / extents[rank].mean() for rank in "mnk"}
    inputs = average.input * share["m"][:, None] * share["k"] * fill.get("input", np.asarray(1.0))
    weights = average.weight * share["n"][:, None] * share["k"] * fill.get("weight", np.asarray(1.0))
    outputs = share["m"][:, None] * share["n"]
    m, n, k = order
    moved = {rank: index[1:] != index[:-1] for rank, index in (("m", m), ("n", n), ("k", k))}
    # what is held comes in on the first trip of the loop that it does not depend on
    new_input = (moved["m"] | moved["k"]) & ~(mapping.holds("input") & (n[1:] > 0))
    new_weight = (moved["n"] | moved["k"]) & ~(mapping.holds("weight") & (m[1:] > 0))
    loads = np.where(new_input | (not average.input_stays), inputs[m[1:], k[1:]], 0.0)
    loads = loads + np.where(new_weight | (not average.weight_stays), weights[n[1:], k[1:]], 0.0)
    leaves, partial = moved["m"] | moved["n"], 0.0 if mapping.holds("output") else average.partial
    entered = np.where(k[1:] > 0, partial * outputs[m[1:], n[1:]], 0.0)
    finished = k[:-1] == trips["k"] - 1
    left = outputs[m[:-1], n[:-1]] * np.where(finished, average.output, partial)
    loads = loads + np.where(leaves, entered, 0.0)
    stores = np.where(leaves, left, 0.0)
    return loads, stores, float(inputs[0, 0] + weights[0, 0]), float(average.output * outputs[-1, -1])

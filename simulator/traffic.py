"""Bytes moved for one matrix product: off-chip per change of tile, and through the buffers' ports.

Loops over tiles run in the mapping's order. A tensor's tile is fetched again whenever an index it depends on
changes; the tile of the innermost loop that a tensor does not depend on stays (temporal reuse), but in a buffer that
its tensor only passes through (`Memory.keeps_tiles`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.simulator.engine import engine_turns
from zerocast.simulator.gemm import Gemm, Operand
from zerocast.simulator.mapping import Mapping
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.patterns import Pattern

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TileBytes:
    """Bytes of an average tile of each operand as it crosses the off-chip link; `partial` is an output tile
    of unfinished sums. `input_stays`, `weight_stays`: whether a tile that the next step needs too is still there.
    All broadcast over mappings."""

    input: Array
    weight: Array
    output: Array
    partial: Array
    input_stays: NDArray[np.bool_] | bool = True
    weight_stays: NDArray[np.bool_] | bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """Kinds of step from tile to tile [kinds, ...]: how often each happens, and what it loads and stores each time."""

    count: Array
    loads_bytes: Array
    stores_bytes: Array


@dataclass(frozen=True, slots=True)
class Ends:
    """What the first step from tile to tile loads and stores, and what the last one stores, in bytes."""

    first_bytes: Array
    last_stores_bytes: Array


def element_bits(memory: Memory, side: str, operand: Operand) -> float:
    """Bits per element of an operand as kept in a memory: the smallest of the formats that it allows.

    A memory that does not list `uncompressed` pays for the metadata of what it does list, dense operands included.
    """
    choices = memory.formats.get(side, ("uncompressed",))  # type: ignore[call-overload]
    return min(_format_bits(format_, operand) for format_ in choices)


def _format_bits(format_: str, operand: Operand) -> float:
    pattern = operand.pattern
    if format_ == "uncompressed":
        return float(operand.bits)
    if format_ == "nm_offsets" and (operand.structured is None or pattern.is_dense):
        return float(operand.bits)  # what has no groups is not stored by groups
    tile = _whole_tile(pattern, operand)
    stored = storage_bits(format_, pattern, tile, operand.bits)
    size = float(np.prod([np.asarray(extent) for extent in tile.values()]))
    return float(stored.value_bits + stored.metadata_bits) / size


def _whole_tile(pattern: Pattern, operand: Operand) -> dict[str, ArrayLike]:
    """A fiber of the operand, the unit in which formats are laid out."""
    return dict(operand.fiber)


def tile_bytes(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> TileBytes:
    """Average bytes of the operands' tiles off chip, compressed, window overlap fetched once per tile."""
    dram = accelerator.dram
    cuts = np.maximum(mapping.trips_m - 1, 0)
    windows = np.minimum(gemm.input.unique * (1 + cuts * gemm.input.halo / gemm.m), gemm.m * gemm.k)
    inputs = windows * element_bits(dram, "input", gemm.input) / 8
    weights = gemm.weight.unique * element_bits(dram, "weight", gemm.weight) / 8
    sums = gemm.m * gemm.n / (mapping.trips_m * mapping.trips_n)
    return TileBytes(
        input=inputs / (mapping.trips_m * mapping.trips_k),
        weight=weights / (mapping.trips_n * mapping.trips_k),
        output=sums * element_bits(dram, "output", gemm.output) / 8,
        partial=sums * accelerator.compute.accumulate_bits / 8,
        input_stays=accelerator.buffer_of("input").keeps_tiles,
        weight_stays=accelerator.buffer_of("weight").keeps_tiles,
    )


def buffer_needs(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> dict[str, Array]:
    """Bytes that the tiles take in each on-chip buffer."""
    return {
        memory.name: sum(operand_needs(gemm, accelerator, mapping, memory).values(), np.asarray(0.0))
        for memory in accelerator.buffers
    }


def operand_needs(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, memory: Memory) -> dict[str, Array]:
    """Bytes that the tile of each operand takes in an on-chip buffer, twice where the buffer is doubled."""
    rows, cols, depth = mapping.m, mapping.n, mapping.k
    overlap = gemm.input.unique * np.minimum(1 + gemm.input.halo / rows, gemm.m * gemm.k / gemm.input.unique)
    sizes = {
        # windows overlap along K only: a tile holds an element at least for each of its rows
        "input": np.maximum(rows * depth * np.minimum(overlap / (gemm.m * gemm.k), 1.0), rows),
        "weight": cols * depth * gemm.weight.unique / (gemm.n * gemm.k),
        "output": rows * cols,
    }
    copies, sums = 2 if memory.double_buffered else 1, accelerator.compute.accumulate_bits
    return {
        side: copies * sizes[side] * (sums if side == "output" else element_bits(memory, side, getattr(gemm, side))) / 8
        for side in memory.holds
    }


def link_bytes(gemm: Gemm, mapping: Mapping, tile: TileBytes) -> tuple[Array, Array]:
    """Bytes read and written off chip for the whole product.

    An operand's tile is loaded once for each step of the loops that it depends on, and again for each trip of the
    third loop where that one lies outside a loop of its own that has several trips, or where tiles do not stay. An
    output tile that K's loop comes back to is stored unfinished and loaded again.
    """
    trips = mapping.trips

    def again(rank: str, stays: ArrayLike = True) -> Array:
        """Times that the tiles not cut along a rank are visited."""
        first, second = ((mapping.position(other) > mapping.position(rank)) & (trips[other] > 1)
                         for other in "mnk" if other != rank)  # fmt: skip
        return np.where(first | second | ~np.asarray(stays), trips[rank], 1.0)

    inputs = trips["m"] * trips["k"] * again("n", tile.input_stays) * tile.input
    weights = trips["n"] * trips["k"] * again("m", tile.weight_stays) * tile.weight
    outputs, visits = trips["m"] * trips["n"], again("k")
    sums = outputs * (visits - 1) * tile.partial
    return gemm.batch * (inputs + weights + sums), gemm.batch * (sums + outputs * tile.output)


def changes(gemm: Gemm, mapping: Mapping, tile: TileBytes) -> Change:
    """The kinds of step from one tile to the next, along a first axis, with what each moves off chip.

    The innermost loop steps alone, the middle one steps and the inner restarts, the outer one steps and both
    restart, or the next batch item begins. An output tile that is left is stored; one that
    is come back to is loaded, which happens where K's loop is outside a loop over M or N of more than one trip.

    Split by the state of the sums in the output tiles left and entered: inside K's loop (K outside the stepping loop)
    the K index stands still: at its first value the tiles entered are new and those left unfinished, at its last value
    the other way round. When K itself steps, tiles left and entered are both unfinished. When a loop outside K's steps,
    K has run to its end: left finished, entered new.
    """
    arrays = (mapping.m, mapping.n, mapping.k, mapping.position("m"), tile.input, tile.weight, tile.output)
    shape = np.broadcast_shapes(*(np.shape(array) for array in arrays))
    place = np.arange(3).reshape(3, *(1 for _ in shape))
    at = {rank: mapping.position(rank) for rank in "mnk"}
    trips = np.where(at["m"] == place, mapping.trips_m, np.where(at["n"] == place, mapping.trips_n, mapping.trips_k))
    outside = gemm.batch * np.stack([np.ones_like(trips[0]), trips[0], trips[0] * trips[1]])
    count = outside * (trips - 1)
    moved = {rank: (at[rank] == place) | ((at[rank] > place) & (mapping.trips[rank] > 1)) for rank in "mnk"}
    gone = {"input": ~np.asarray(tile.input_stays), "weight": ~np.asarray(tile.weight_stays)}
    loads = np.where(moved["m"] | moved["k"] | gone["input"], tile.input, 0.0)
    loads = loads + np.where(moved["n"] | moved["k"] | gone["weight"], tile.weight, 0.0)
    k_steps, visits = at["k"] == place, mapping.trips_k
    cut = (at["k"] < place) & (visits > 1)
    sums = np.where(k_steps & (moved["m"] | moved["n"]), tile.partial, 0.0)
    end = count * cut / visits
    kinds = Change(*np.empty((3, 13, *shape)))
    for rows, often, load, store in (
        (np.s_[0:3], count * ~cut, loads + sums, np.where(k_steps, sums, tile.output)),
        (np.s_[3:6], end, loads, tile.partial),
        (np.s_[6:9], count * cut * np.maximum(visits - 2, 0) / visits, loads + tile.partial, tile.partial),
        (np.s_[9:12], end, loads + tile.partial, tile.output),
        (np.s_[12:], gemm.batch - 1.0, tile.input + tile.weight, tile.output),
    ):
        kinds.count[rows], kinds.loads_bytes[rows], kinds.stores_bytes[rows] = often, load, store
    return kinds


def ends(gemm: Gemm, mapping: Mapping, tile: TileBytes) -> Ends:
    """The first and the last step from tile to tile: the innermost loop with several trips takes both.

    Where that is K's, the output tile stays; elsewhere the first tile leaves unfinished if K is cut outside,
    and the last but one is finished.
    """
    again = gemm.batch > 1
    unfinished = np.where(mapping.trips_k > 1, tile.partial, tile.output)
    both = tile.input + tile.weight
    gone_input, gone_weight = (np.where(stays, 0.0, size) for stays, size in
                               ((tile.input_stays, tile.input), (tile.weight_stays, tile.weight)))  # fmt: skip
    loads = {"m": tile.input + gone_weight + unfinished, "n": gone_input + tile.weight + unfinished, "k": both}
    first: Array = np.where(again, both + tile.output, 0.0)
    last: Array = np.where(again, tile.output, 0.0)
    inner: Array = np.where(again, -1, -2)  # place of the innermost loop with several trips
    for rank, trips in mapping.trips.items():
        place = np.where(trips > 1, mapping.position(rank), -2)
        first = np.where(place > inner, loads[rank], first)
        last = np.where(place > inner, 0.0 if rank == "k" else tile.output, last)
        inner = np.maximum(inner, place)
    return Ends(first, last)


@dataclass(frozen=True, slots=True)
class PortBytes:
    """Bytes between the buffers and the array for the whole product, per operand; reads feed the array."""

    input_read: Array
    weight_read: Array
    output_read: Array
    output_write: Array


def port_bytes(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, steps: Array, last: Array) -> PortBytes:
    """Reads and writes of the array at the buffers. `steps` is the reduction left of a full K tile after skipping,
    `last` that of the last one.

    An engine that skips zeros reads its inputs for each round of lanes along N and its weights for each along M.
    Output-stationary reads a row of inputs for each fold along N and a column of weights for each fold along M;
    the stationary dataflows read the stationary operand once a tile and partial sums once per fold along K.
    """
    compute = accelerator.compute
    rows, cols = compute.rows, compute.cols
    bits = {side: element_bits(accelerator.buffer_of(side), side, getattr(gemm, side))  # type: ignore[arg-type]
            for side in ("input", "weight")}  # fmt: skip
    once = np.ones_like(mapping.trips_m * mapping.trips_n * mapping.trips_k)
    sums = gemm.batch * gemm.m * gemm.n * once
    inputs = gemm.batch * gemm.m * gemm.k * bits["input"] / 8 * once
    weights = gemm.batch * gemm.n * gemm.k * bits["weight"] / 8 * once
    partial = compute.accumulate_bits / 8
    if mapping.dataflow == "zero_skipping":
        m_turns, n_turns = engine_turns(gemm, accelerator)
        windows = gemm.input.unique / (gemm.m * gemm.k)  # lanes slide along windows, and read each input once
        return PortBytes(inputs * windows * n_turns, weights * m_turns, 0.0 * once, sums * partial)
    across_m, across_n = np.ceil(gemm.m / rows), np.ceil(gemm.n / cols)
    if mapping.dataflow == "unrolled":
        units = gemm.units(compute)
        across_m, across_n = units["m"], units["n"]
    if mapping.dataflow in ("output_stationary", "unrolled"):
        visits = mapping.trips_k
        return PortBytes(inputs * across_n, weights * across_m, sums * (visits - 1) * partial,
                         sums * visits * partial)  # fmt: skip
    lanes = compute.macs_per_pe * compute.rates.get(gemm.dtype, 1.0)
    visits = (mapping.trips_k - 1) * np.ceil(steps / lanes / rows) + np.ceil(last / lanes / rows)
    # a fold whose stream no tile cuts takes its stationary operand once
    cut = not compute.fold.streams_through_tiles
    if mapping.dataflow == "weight_stationary":
        inputs, weights = inputs * across_n, weights * (mapping.trips_m if cut else 1)
    else:
        inputs, weights = inputs * (mapping.trips_n if cut else 1), weights * np.ceil(gemm.m / cols)
    return PortBytes(inputs, weights, sums * (visits - 1) * partial, sums * visits * partial)

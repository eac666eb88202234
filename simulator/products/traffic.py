"""Bytes moved for one matrix product: off-chip per change of tile, and through the buffers' ports.

Loops over tiles run in the mapping's order. A tensor's tile is fetched again whenever an index it depends on
changes; the tile of the innermost loop that a tensor does not depend on stays (temporal reuse), but in a buffer that
its tensor only passes through (`Memory.keeps_tiles`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.accelerators.schema import Operand as Side
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.outputs import computed_share
from zerocast.simulator.products.gemm import Gemm, Operand
from zerocast.simulator.products.mapping import Mapping
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


def element_bits(memory: Memory, side: str, operand: Operand) -> float:
    """Bits per element of an operand as kept in a memory: the smallest of the formats that it allows.

    A memory that does not list `uncompressed` pays for the metadata of what it does list, dense operands included.
    """
    choices = memory.formats.get(side, ("uncompressed",))  # type: ignore[call-overload]
    return min(_format_bits(format_, operand) for format_ in choices)


def link_bits(gemm: Gemm, accelerator: Accelerator, side: Side, memory: Memory | None = None) -> float:
    """Bits per element of an operand on its way from or to a memory, the off-chip one where none is named: nothing of
    an operand that is on chip crosses that one's link. Outputs that the array leaves out are not stored; the others lie
    in the order of the mask, whose places the weight tells."""
    memory, operand = memory or accelerator.dram, getattr(gemm, side)
    bits = 0.0 if operand.on_chip and memory is accelerator.dram else element_bits(memory, side, operand)
    return bits * _stored_share(gemm, accelerator) if side == "output" else bits


def _stored_share(gemm: Gemm, accelerator: Accelerator) -> float:
    """Share of the outputs that leave the array."""
    return gemm.mask.density if accelerator.sparsity.output.mode == "skip" else 1.0


@lru_cache(maxsize=256)
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
    if mapping.block is not None:
        windows = mapping.block.words(gemm, mapping.k) * mapping.trips_m * mapping.trips_k
    else:
        cuts = np.maximum(mapping.trips_m - 1, 0)
        windows = np.minimum(gemm.input.unique * (1 + cuts * gemm.input.halo / gemm.m), gemm.m * gemm.k)
    inputs = windows * link_bits(gemm, accelerator, "input") / 8
    weights = gemm.weight.unique * link_bits(gemm, accelerator, "weight") / 8
    sums = gemm.m * gemm.n / (mapping.trips_m * mapping.trips_n)
    return TileBytes(
        input=inputs / (mapping.trips_m * mapping.trips_k),
        weight=weights / (mapping.trips_n * mapping.trips_k),
        output=sums * link_bits(gemm, accelerator, "output") / 8,
        partial=sums * accelerator.compute.accumulate_bits / 8 * _stored_share(gemm, accelerator),
        input_stays=accelerator.buffer_of("input").keeps_tiles,
        weight_stays=accelerator.buffer_of("weight").keeps_tiles,
    )


FREE: dict[Side, str] = {"input": "n", "weight": "m", "output": "k"}
"""The rank that each operand does not depend on: its loop finds the operand's tiles again."""


OPERANDS: tuple[Side, ...] = tuple(FREE)


def tile_elements(gemm: Gemm, m: Array, n: Array, k: Array) -> dict[Side, Array]:
    """Elements of each operand in tiles of m x n x k, as they lie on chip, windows' overlap stored once."""
    whole = gemm.m * gemm.k
    overlap = gemm.input.unique * np.minimum(1 + gemm.input.halo / m, whole / gemm.input.unique)
    # windows overlap along K only: a tile holds an element at least for each of its rows
    inputs = np.maximum(m * k * np.minimum(overlap / whole, 1.0), m)
    return {"input": inputs, "weight": n * k * gemm.weight.unique / (gemm.n * gemm.k), "output": m * n}


def tile_sizes(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, complete: NDArray[np.bool_]
) -> dict[Side, Array]:
    """Bytes of a tile of each operand in its buffer, one copy; complete sums take their final width (`completes`). An
    operand that lies there whole has no tiles there (`Gemm.taken` has its place)."""
    rows, cols, depth = mapping.m, mapping.n, mapping.k
    elements = tile_elements(gemm, rows, cols, depth)
    if mapping.block is not None:
        elements["input"] = mapping.block.words(gemm, depth)
    sums = np.where(complete, gemm.output.bits, accelerator.compute.accumulate_bits)
    bits = {side: 0.0 if getattr(gemm, side).on_chip else
            element_bits(accelerator.buffer_of(side), side, getattr(gemm, side)) for side in ("input", "weight")} | {
            "output": sums}  # fmt: skip
    return {side: size * bits[side] / 8 for side, size in elements.items()}


def buffer_needs(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, complete: NDArray[np.bool_]
) -> dict[str, Array]:
    """Bytes that the tiles take in each on-chip buffer, twice where it is doubled and they give way to others."""
    needs = operand_needs(gemm, accelerator, mapping, complete)
    return {memory.name: sum((needs[side] for side in memory.holds), np.asarray(0.0)) for memory in accelerator.buffers}


def operand_needs(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, complete: NDArray[np.bool_]
) -> dict[Side, Array]:
    """Bytes that the tiles of each operand take in its on-chip buffer."""
    found: dict[Side, Array] = {}
    for side, size in tile_sizes(gemm, accelerator, mapping, complete).items():
        memory = accelerator.buffer_of(side)
        all_held = _held_bytes(gemm, memory, *mapping.inside(FREE[side]), size)
        found[side] = np.where(mapping.holds(side), all_held, size * _copies(memory))
    return found


def held(
    gemm: Gemm, memory: Memory, mapping: Mapping, sizes: dict[Side, Array], capacity_bytes: Array
) -> tuple[NDArray[np.bool_], dict[Side, NDArray[np.bool_]]]:
    """Whether the tiles fit a memory, and the operands whose tiles can all stay there while the loop that they do not
    depend on repeats: there is room beside what else it keeps, and tiles stay in it (`Memory.keeps_tiles`).

    In a shared memory the first of its `holds` comes first. Those that are given (`Mapping.keeps`) are held whatever
    the room. sizes: `tile_sizes`. capacity_bytes broadcasts.
    """
    used = sum((sizes[side] * _copies(memory) for side in memory.holds), np.asarray(0.0))
    found: dict[Side, NDArray[np.bool_]] = {}
    for side in memory.holds if memory.keeps_tiles else ():
        inner, outer = mapping.inside(FREE[side])
        more = used + _held_bytes(gemm, memory, inner, outer, sizes[side]) - sizes[side] * _copies(memory)
        room = more <= capacity_bytes if mapping.keeps is None else np.asarray(side in mapping.keeps)
        found[side] = (inner > 1) & (mapping.trips[FREE[side]] > 1) & room
        used = np.where(found[side], more, used)
    return np.asarray(used <= capacity_bytes), found


def _copies(memory: Memory) -> int:
    return 2 if memory.double_buffered else 1


def _held_bytes(gemm: Gemm, memory: Memory, inner: Array, outer: Array, size: Array) -> Array:
    """Bytes of all the tiles that stay, `size` each; of a whole operand that nothing follows no second copy is kept."""
    alone = (outer == 1) & (gemm.batch == 1)
    return np.where(alone, np.maximum(inner, _copies(memory)), inner * _copies(memory)) * size


def link_bytes(gemm: Gemm, mapping: Mapping, tile: TileBytes) -> tuple[Array, Array]:
    """Bytes read and written off chip for the whole product."""
    moved = {side: loaded_bytes(gemm, mapping, tile, side, mapping.holds(side)) for side in FREE}
    sums, outputs = moved["output"], gemm.batch * mapping.trips_m * mapping.trips_n * tile.output
    return moved["input"] + moved["weight"] + sums, sums + outputs


def loaded_bytes(gemm: Gemm, mapping: Mapping, tile: TileBytes, side: Side, held: ArrayLike) -> Array:
    """Bytes of an operand that are read off chip for the whole product; of the output those of unfinished sums, which
    are written as often.

    A tile is loaded once for each step of the loops that it depends on, and again for each trip of the third loop where
    that one lies outside a loop of its own that has several trips, unless it is held, and where tiles do not stay. An
    output tile that K's loop comes back to is stored unfinished and loaded again.
    """
    rank, trips = FREE[side], mapping.trips
    back = (mapping.inside(rank)[0] > 1) & ~np.asarray(held)
    size, stays = {
        "input": (tile.input, tile.input_stays), "weight": (tile.weight, tile.weight_stays),
        "output": (tile.partial, True),
    }[side]  # fmt: skip
    visits = np.where(back | ~np.asarray(stays), trips[rank], 1.0)
    first, second = (trips[other] for other in trips if other != rank)
    return np.asarray(gemm.batch * first * second * (visits - 1 if side == "output" else visits) * size)


@dataclass(frozen=True, slots=True)
class PortBytes:
    """Bytes between the buffers and the array for the whole product, per operand; reads feed the array."""

    input_read: Array
    weight_read: Array
    output_read: Array
    output_write: Array


def port_bytes(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, steps: Array, last: Array, flows: NDArray[np.bool_]
) -> PortBytes:
    """Reads and writes of the array at the buffers. `steps` is the reduction left of a full K tile after skipping,
    `last` that of the last one; `flows`: a fold's stream goes on from tile to tile, and keeps what it holds.
    """
    bits = {side: element_bits(accelerator.buffer_of(side), side, getattr(gemm, side))  # type: ignore[arg-type]
            for side in ("input", "weight")}  # fmt: skip
    times = law_of(mapping.dataflow).port_times(gemm, accelerator, mapping, steps, last, flows)
    once = np.ones_like(mapping.trips_m * mapping.trips_n * mapping.trips_k)
    inputs = gemm.batch * gemm.m * gemm.k * bits["input"] / 8 * once
    weights = gemm.batch * gemm.n * gemm.k * bits["weight"] / 8 * once
    if law_of(mapping.dataflow).by_block:  # what a block that is left out would read
        computed = computed_share(gemm, accelerator, mapping.dataflow)
        inputs, weights = inputs * computed, weights * computed
    sums = gemm.batch * gemm.m * gemm.n * once * _stored_share(gemm, accelerator)
    partial = accelerator.compute.accumulate_bits / 8
    return PortBytes(inputs * times.input, weights * times.weight, sums * times.sum_read * partial,
                     sums * times.sum_write * partial)  # fmt: skip

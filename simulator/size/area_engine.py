"""Area of the parts that only zero-skipping engines have, in um2 of cells at the table's node."""

from __future__ import annotations

import math

from zerocast.accelerators.schema import Accelerator, Skipping
from zerocast.accelerators.tables import AreaTable
from zerocast.simulator.size.area_match import benes_um2, crossbar_um2, leading_nonzero_um2, prefix_sum_um2, sides
from zerocast.workloads.ir import BITS

COORDINATE_BITS = 16
"""Width of a coordinate that travels with a value (assumption: indices of up to 65,536 positions)."""


def engine_register_bits(accelerator: Accelerator) -> float:
    """Flip-flops of all lanes: operands at the multipliers, queues, staged windows, one sum per multiplier."""
    skipping, compute = accelerator.skipping, accelerator.compute
    assert skipping is not None  # asked for engines alone
    bits = BITS[compute.native_type]
    if skipping.law == "packed":
        return compute.multipliers * (2 * bits + compute.accumulate_bits)
    inputs = skipping.vector.weight if skipping.law in ("dot", "window") else skipping.vector.input
    words = inputs + skipping.vector.weight
    skips = any(side.mode == "skip" for side in sides(accelerator))
    depth = skipping.window.depth if skipping.window is not None and skips else 1
    return skipping.lanes * (words * bits * depth + queue_bits(accelerator)) + compute.multipliers * bits


def queue_bits(accelerator: Accelerator) -> float:
    """Bits of a lane's queues: entries that it may be behind, and those before its accumulator banks.

    An entry ahead holds the operand that is broadcast with its coordinate, under law dot a whole chunk with its mask.
    """
    skipping = accelerator.skipping
    assert skipping is not None  # asked for engines alone
    bits = BITS[accelerator.compute.native_type]
    if skipping.law == "dot":
        entry = (skipping.chunk or skipping.vector.weight) * (bits + 1)
    else:
        entry = skipping.vector.input * (bits + COORDINATE_BITS)
    ahead = skipping.queue * entry
    if skipping.banks is None:
        return ahead
    waiting = skipping.banks.queue * skipping.banks.banks * accelerator.compute.accumulate_bits
    return ahead + waiting * _crossbars(skipping) / skipping.lanes


def engine_match_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """What finds the pairs, by the `match` of the operands that are skipped on; 0 for other accelerators."""
    skipping = accelerator.skipping
    if skipping is None:
        return 0.0
    skipped = [side for side in sides(accelerator) if side.mode == "skip"]
    bits = BITS[accelerator.compute.native_type]
    if skipping.law == "window":
        return _window_um2(skipping, table, bits) if skipped else 0.0
    total = 0.0
    for side in skipped:
        if side.match == "leading_nonzero":
            candidates = (skipping.chunk or 1) * skipping.lanes
            total += leading_nonzero_um2(table, candidates, bits)
        elif side.match in ("prefix_sum", "intersection"):
            total += _masks(accelerator) * _mask_um2(skipping, table, bits, both=len(skipped) == 2)
        elif side.match == "cartesian":
            total += _coordinates_um2(skipping, table) / len(skipped)
    return total


def _masks(accelerator: Accelerator) -> int:
    """Chunks that are matched side by side: one a lane; law packed brings one chunk a row of multipliers."""
    skipping = accelerator.skipping
    assert skipping is not None  # asked for engines alone
    return accelerator.compute.rows if skipping.law == "packed" else skipping.lanes


def _mask_um2(skipping: Skipping, table: AreaTable, bits: int, both: bool) -> float:
    """One operand's side of the match of a chunk: mask, AND, prefix sums, priority encoder, and the chosen values.

    Where both operands are packed a lane keeps the chunk's values in a small memory and reads one a cycle; where the
    other one is dense each of the lane's multipliers chooses among the chunk's values.
    """
    chunk = skipping.chunk or skipping.vector.weight
    find = chunk * (table.register_um2_per_bit + table.gate_um2 + table.leading_nonzero_um2_per_bit)
    find += prefix_sum_um2(table, chunk)
    if skipping.law == "packed":
        return find  # its network, not the match, brings the values
    if both and skipping.vector.weight == 1:
        return find + float(table.memory_um2(chunk * bits / 8))
    return find + skipping.vector.weight * (chunk - 1) * bits * table.mux2_um2_per_bit


def _coordinates_um2(skipping: Skipping, table: AreaTable) -> float:
    """Adders of coordinates: one for every element of both vectors (runs summed up), one for every product."""
    elements = skipping.vector.input + skipping.vector.weight
    adders = skipping.lanes * (elements + skipping.vector.input * skipping.vector.weight)
    return adders * COORDINATE_BITS * (table.integer_add_um2_per_bit + table.register_um2_per_bit)


def _window_um2(skipping: Skipping, table: AreaTable, bits: int) -> float:
    """TensorDash's way: a multiplexer over all moves at both inputs of a multiplier, a priority encoder a slot."""
    assert skipping.window is not None  # law window has one
    moves = 1 + len(skipping.window.reach)
    slots = skipping.lanes * skipping.vector.weight
    choose = 2 * (moves - 1) * bits * table.mux2_um2_per_bit
    # the scheduler looks at the zeros of each staged step once more for every move that it may still take
    schedule = moves * skipping.window.depth * table.leading_nonzero_um2_per_bit
    return slots * (choose + schedule + skipping.window.depth * bits * table.gate_um2)


def engine_network_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """Crossbars before memory banks, and the Benes networks that feed each row of law packed; 0 elsewhere."""
    skipping, compute = accelerator.skipping, accelerator.compute
    if skipping is None:
        return 0.0
    if skipping.law == "packed":
        return compute.rows * benes_um2(table, compute.cols * compute.macs_per_pe, BITS[compute.native_type])
    if skipping.banks is None:
        return 0.0
    words = _sums(skipping) / skipping.banks.banks
    address = math.ceil(math.log2(words)) if words > 1 else 0
    each = crossbar_um2(table, skipping.banks.requests, skipping.banks.banks, compute.accumulate_bits + address)
    return _crossbars(skipping) * each


def _crossbars(skipping: Skipping) -> float:
    assert skipping.banks is not None  # asked where there are banks
    return skipping.multipliers / skipping.banks.requests


def _sums(skipping: Skipping) -> int:
    """Sums that a lane keeps through its reduction: the largest tile of M x N among the arrangements that bound it."""
    tiles = [a.m.tile * a.n.tile for a in skipping.arrangements if a.m.tile is not None and a.n.tile is not None]
    return max(tiles, default=1)


def accumulator_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """Memories of the sums that lanes keep, cut into banks where there are some; single sums are registers.

    Two of each, so that one drains while the other fills, unless the cycles of draining are charged (`step_cycles`).
    """
    skipping = accelerator.skipping
    if skipping is None or skipping.law in ("packed", "window") or _sums(skipping) == 1:
        return 0.0
    banks = skipping.banks.banks if skipping.banks is not None else 1
    memories = _crossbars(skipping) * banks if skipping.banks is not None else skipping.lanes
    halves = 1 if skipping.step_cycles > 0 else 2
    return (
        halves * memories * float(table.memory_um2(_sums(skipping) * accelerator.compute.accumulate_bits / 8 / banks))
    )

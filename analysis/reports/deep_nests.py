"""Nested mappings drawn: loops, copies and tiles of every depth, and what binds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from zerocast.analysis.units import si
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.space import tile_needs
from zerocast.simulator.products.mapping import ORDERS


def one(value: Any) -> float:
    """A figure of a single mapping."""
    return float(np.ravel(value)[0])


def deep_loops(cost: NestCost) -> Iterator[str]:
    """Loops over the tiles of each depth, copies side by side, and what each memory keeps and moves."""
    accelerator, gemm, counts, indent = cost.accelerator, cost.gemm, cost.counts, ""
    outside: dict[str, float] = {side: getattr(gemm, side) for side in "mnk"}
    yield f"{accelerator.dram.name}: {_moved(cost, accelerator.dram.name)}"
    if one(counts.turns) > 1:
        yield f"for each of {one(counts.turns):.0f} turns of the batch"
        indent = "  "
    for depth, level in enumerate(counts.levels, 1):
        copies = {side: one(count) for side, count in level.spread.items() if one(count) > 1}
        tile = {side: one(getattr(level, side)) for side in "mnk"}
        for side in ORDERS[int(one(level.order))] if depth <= accelerator.depths else "":
            step = tile[side] * copies.get(side, 1.0)
            if (trips := -(-outside[side] // step)) > 1:
                yield f"{indent}for {side} in {trips:.0f} steps of {min(step, outside[side]):.0f}"
                indent += "  "
        if copies:
            beside = ", ".join(f"{count:.0f} along {side}" for side, count in copies.items())
            yield f"{indent}copies side by side: {beside}"
        for memory in accelerator.at_depth(depth) if depth <= accelerator.depths else ():
            needs = tile_needs(gemm, accelerator, memory, level.m, level.n, level.k, counts.groups(depth))
            kept = "; ".join(f"{side} {si(one(size), 'B')}" for side, size in needs.items())
            twice = " in two halves" if memory.double_buffered else ""
            size, room = f"{tile['m']:.0f} x {tile['n']:.0f} x {tile['k']:.0f}", si(memory.capacity_bytes or 0.0, "B")
            yield f"{indent}{memory.name}: tile of {size}: {kept}{twice}, of {room}; {_moved(cost, memory.name)}"
        outside = tile
    yield f"{indent}array: {accelerator.compute.rows} x {accelerator.compute.cols}, {cost.dataflow}"


def deep_binding(cost: NestCost) -> Iterator[str]:
    """What is busy for how much of the time, and where the energy goes."""
    clock, spent, dram = float(cost.rates.clock_hz), one(cost.spent_cycles), cost.traffic[cost.accelerator.dram.name]
    moved = sum(one(size) for by in (dram.read, dram.write) for size in by.values())
    busy = {"the off-chip link": moved / float(cost.rates.dram_bytes_per_s) * clock,
            "a port of the innermost memories": one(cost.port_cycles), "the array": one(cost.array_cycles)}  # fmt: skip
    binds = max(busy, key=lambda what: busy[what])
    shares = ", ".join(f"{what} {cycles / spent:.0%}" for what, cycles in busy.items() if cycles)
    yield f"{binds} is busiest; of {si(spent / clock, 's')}: {shares}"
    spend = {"multipliers and registers": one(cost.energy.mac_j + cost.energy.register_j)}
    for name, traffic in cost.traffic.items():
        size = sum(one(size) for by in (traffic.read, traffic.write) for size in by.values())
        spend[name] = size * float(cost.rates.j_per_byte[name])
    total = sum(spend.values())
    yield f"energy {si(total, 'J')}: {', '.join(f'{name} {joules / total:.0%}' for name, joules in spend.items())}"


def _moved(cost: NestCost, name: str) -> str:
    traffic = cost.traffic[name]
    parts = []
    for way, by in (("reads", traffic.read), ("writes", traffic.write)):
        total = sum(one(size) for size in by.values())
        parts.append(f"{way} {si(total, 'B')}")
    return ", ".join(parts)

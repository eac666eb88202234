"""A matrix product walked tile by tile and fold by fold in plain Python: the truth that the closed forms must meet.

Written from the words of the model alone; it reads the dataclasses of a problem, an accelerator and a mapping, and
calls no function of the simulator. Slow on purpose: no closed form is used where a loop can count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any


@dataclass(frozen=True)
class Tile:
    """One tile of the walk: which batch item, the tile's number and its extent in elements along each rank."""

    item: int
    m: int
    n: int
    k: int
    rows: float
    cols: float
    depth: float


@dataclass
class Count:
    """Everything that the walk counts: cycles, bytes and seconds, for the whole product.

    averaged_s: the latency if all tiles took the mean cycles and had the mean size. deviation_s: sum over the steps
    of how far computation and link are from those means: the two latencies cannot be further apart.
    """

    cycles: float = 0.0
    port_cycles: float = 0.0
    input_load: float = 0.0
    weight_load: float = 0.0
    output_load: float = 0.0
    output_store: float = 0.0
    input_port: float = 0.0
    weight_port: float = 0.0
    output_port_read: float = 0.0
    output_port_write: float = 0.0
    latency_s: float = 0.0
    link_s: float = 0.0
    averaged_s: float = 0.0
    deviation_s: float = 0.0

    @property
    def read_bytes(self) -> float:
        return self.input_load + self.weight_load + self.output_load


def interpret(gemm: Any, accelerator: Any, mapping: Any) -> Count:
    """Walk a product without overlapping windows; its patterns are dense or N:M along K."""
    assert gemm.input.unique == gemm.m * gemm.k and gemm.weight.unique == gemm.n * gemm.k
    tiles = list(_tiles(gemm, mapping))
    count = Count()
    cycles = _array_cycles(gemm, accelerator, mapping.dataflow, tiles)
    count.cycles = sum(cycles)
    for tile in tiles:
        _ports(gemm, accelerator, mapping.dataflow, tile, count)
    count.port_cycles = _port_cycles(accelerator, count)
    slower = max(1.0, count.port_cycles / count.cycles)
    compute_s = [cycle * slower / accelerator.technology.clock_hz for cycle in cycles]
    offchip = accelerator.memories[0]
    rate = offchip.bandwidth_bytes_per_s * offchip.efficiency
    doubled = all(memory.double_buffered for memory in accelerator.memories[1:])
    loads, stores, last = _moves(gemm, accelerator, tiles, count, rate)
    count.latency_s = _pipeline(compute_s, loads, stores, last, doubled)
    same = [_average(tile, gemm, tiles) for tile in tiles]
    mean_loads, mean_stores, mean_last = _moves(gemm, accelerator, same, Count(), rate)
    mean_s = [sum(compute_s) / len(tiles)] * len(tiles)
    count.averaged_s = _pipeline(mean_s, mean_loads, mean_stores, mean_last, doubled)
    pairs = ((compute_s, mean_s), (loads, mean_loads), (stores, mean_stores), ([last], [mean_last]))
    count.deviation_s = sum(abs(a - b) for mine, means in pairs for a, b in zip(mine, means, strict=True))
    count.link_s = (count.read_bytes + count.output_store) / rate
    return count


def _tiles(gemm: Any, mapping: Any) -> Any:
    """The tiles in the order of the loops, the batch outermost."""
    cut = {}
    for rank in "mnk":
        size, step = int(getattr(gemm, rank)), int(getattr(mapping, rank))
        cut[rank] = [min(step, size - start) for start in range(0, size, step)]
    for item in range(gemm.batch):
        for index in product(*(range(len(cut[rank])) for rank in mapping.order)):
            at = dict(zip(mapping.order, index, strict=True))
            yield Tile(item, at["m"], at["n"], at["k"], cut["m"][at["m"]], cut["n"][at["n"]], cut["k"][at["k"]])


def _average(tile: Tile, gemm: Any, tiles: list[Tile]) -> Tile:
    """The tile with the mean extents in place of its own."""
    trips = {rank: 1 + max(getattr(other, rank) for other in tiles) for rank in "mnk"}
    return replace(tile, rows=gemm.m / trips["m"], cols=gemm.n / trips["n"], depth=gemm.k / trips["k"])


def _pipeline(compute: list[float], loads: list[float], stores: list[float], last: float, doubled: bool) -> float:
    """loads[i] brings tile i in; stores[i] is what entering tile i pushes out; `last` is the final store.

    While tile i computes, the link stores what tile i - 1 left and loads tile i + 1.
    """
    if not doubled:
        return sum(compute) + sum(loads) + sum(stores) + last
    time = loads[0]
    for i, cycles in enumerate(compute):
        coming = loads[i + 1] if i + 1 < len(loads) else 0.0
        time += max(cycles, stores[i] + coming)
    return time + last


def _moves(
    gemm: Any, accelerator: Any, tiles: list[Tile], count: Count, rate: float
) -> tuple[list[float], list[float], float]:
    """Seconds of the link to bring in each tile, to push out what entering it displaces, and of the last store.

    One tile of each operand is resident, none in a buffer that it only passes through. Sums that leave before their
    reduction is complete go out, and come back, at the accumulators' width.
    """
    offchip = accelerator.memories[0]
    element = {side: _stored_bits(offchip, side, getattr(gemm, side)) / 8 for side in ("input", "weight")}
    wide, final = accelerator.compute.accumulate_bits / 8, gemm.output.bits / 8
    resident: dict[str, Any] = {"input": None, "weight": None, "output": None}
    reduced: dict[Any, float] = {}
    sizes: dict[Any, float] = {}
    loads, stores = [], []

    def leave(name: Any) -> float:
        width = final if reduced[name] > gemm.k - 0.5 else wide
        count.output_store += sizes[name] * width
        return sizes[name] * width

    for tile in tiles:
        coming = going = 0.0
        for side, name, size in (
            ("input", (tile.item, tile.m, tile.k), tile.rows * tile.depth),
            ("weight", (tile.item, tile.n, tile.k), tile.cols * tile.depth),
        ):
            (home,) = (memory for memory in accelerator.memories[1:] if side in memory.holds)
            if resident[side] != name or not home.keeps_tiles:
                resident[side] = name
                coming += size * element[side]
                setattr(count, f"{side}_load", getattr(count, f"{side}_load") + size * element[side])
        name = (tile.item, tile.m, tile.n)
        if resident["output"] != name:
            going = leave(resident["output"]) if resident["output"] is not None else 0.0
            resident["output"] = name
            sizes[name] = tile.rows * tile.cols
            if name in reduced:
                coming += sizes[name] * wide
                count.output_load += sizes[name] * wide
        reduced[name] = reduced.get(name, 0.0) + tile.depth
        loads.append(coming / rate)
        stores.append(going / rate)
    return loads, stores, leave(resident["output"]) / rate


def _stored_bits(memory: Any, side: str, operand: Any) -> float:
    """Bits per element: the word, or N words of every M with an offset each, where the memory has that format."""
    pattern = operand.pattern
    if "nm_offsets" in memory.formats.get(side, ()) and hasattr(pattern, "m"):
        return min(operand.bits, (operand.bits + math.ceil(math.log2(pattern.m))) * pattern.n / pattern.m)
    return float(operand.bits)


def _steps(gemm: Any, accelerator: Any, dataflow: str, depth: int) -> int:
    """Reduction steps of a tile: walk along K; of each group of M the array takes the N that may be nonzero.

    The stationary operand is skipped on; the output-stationary array skips on the side that saves more.
    """
    sides = {"weight_stationary": ("weight",), "input_stationary": ("input",)}.get(dataflow, ("weight", "input"))
    best = depth
    for side in sides:
        pattern, engine = getattr(gemm, side).pattern, getattr(accelerator.sparsity, side)
        if engine.mode != "structured_skip" or not hasattr(pattern, "m") or pattern.m > engine.max_group:
            continue
        taken = 0
        for start in range(0, depth, pattern.m):
            taken += min(pattern.n, depth - start)
        best = min(best, taken)
    return best


def _array_cycles(gemm: Any, accelerator: Any, dataflow: str, tiles: list[Tile]) -> list[float]:
    if accelerator.compute.fold.streams_through_tiles:
        whole = _tile_cycles(gemm, accelerator, dataflow, gemm.m, gemm.n, gemm.k)
        return [whole * gemm.batch / len(tiles)] * len(tiles)
    return [_tile_cycles(gemm, accelerator, dataflow, tile.rows, tile.cols, tile.depth) for tile in tiles]


def _tile_cycles(gemm: Any, accelerator: Any, dataflow: str, rows: int, cols: int, depth: int) -> float:
    """Cycles of one tile: its folds are listed one by one, those that interleave are taken together."""
    compute, fold = accelerator.compute, accelerator.compute.fold
    lanes = compute.macs_per_pe * compute.rates[gemm.dtype]
    steps = math.ceil(_steps(gemm, accelerator, dataflow, depth) / lanes)
    latency = compute.accumulate_latency_cycles
    if dataflow == "output_stationary":
        down, across, stream, per_row = rows, cols, steps, 1
    else:
        down, per_row = steps, latency
        across, stream = (cols, rows) if dataflow == "weight_stationary" else (rows, cols)
    folds = [None for _ in range(0, down, compute.rows) for _ in range(0, across, compute.cols)]
    skew = (min(down, compute.rows) if fold.skew_rows == "used" else compute.rows) * per_row
    skew += min(across, compute.cols) if fold.skew_cols == "used" else compute.cols
    skew += fold.constant_cycles
    turns = compute.accumulators_per_pe if dataflow == "output_stationary" and compute.interleave else 1
    total = float(skew) if fold.pipelined else 0.0
    while folds:
        together = len(folds[:turns])
        del folds[:turns]
        interval = max(1.0, latency / together) if dataflow == "output_stationary" else 1.0
        busy = together * stream * interval + (0 if fold.pipelined else skew)
        load = together * compute.rows
        total += max(busy, load) if dataflow in fold.hidden_load else busy + load
    return total


def _ports(gemm: Any, accelerator: Any, dataflow: str, tile: Tile, count: Count) -> None:
    """Bytes between buffers and array for one tile, fold by fold."""
    compute = accelerator.compute
    lanes = compute.macs_per_pe * compute.rates[gemm.dtype]
    element = {
        side: next(_stored_bits(memory, side, getattr(gemm, side)) / 8
                   for memory in accelerator.memories[1:] if side in memory.holds)
        for side in ("input", "weight")
    }  # fmt: skip
    wide = compute.accumulate_bits / 8
    inputs, weights, sums = tile.rows * tile.depth, tile.cols * tile.depth, tile.rows * tile.cols
    if dataflow == "output_stationary":
        count.input_port += inputs * element["input"] * len(range(0, tile.cols, compute.cols))
        count.weight_port += weights * element["weight"] * len(range(0, tile.rows, compute.rows))
        passes = 1
    else:
        streamed_again = len(range(0, tile.cols if dataflow == "weight_stationary" else tile.rows, compute.cols))
        again_input, again_weight = (streamed_again, 1) if dataflow == "weight_stationary" else (1, streamed_again)
        # a stream that tiles do not cut takes its stationary operand with its first tile only
        later = tile.m if dataflow == "weight_stationary" else tile.n
        if accelerator.compute.fold.streams_through_tiles and later:
            again_input, again_weight = (again_input, 0) if dataflow == "weight_stationary" else (0, again_weight)
        count.input_port += inputs * element["input"] * again_input
        count.weight_port += weights * element["weight"] * again_weight
        steps = math.ceil(_steps(gemm, accelerator, dataflow, tile.depth) / lanes)
        passes = len(range(0, steps, compute.rows))
    for number in range(passes):
        count.output_port_write += sums * wide
        if tile.k > 0 or number > 0:
            count.output_port_read += sums * wide


def _port_cycles(accelerator: Any, count: Count) -> float:
    """Cycles of the busiest port; reads and writes have a port each."""
    reads = {"input": count.input_port, "weight": count.weight_port, "output": count.output_port_read}
    busiest = 0.0
    for memory in accelerator.memories[1:]:
        if memory.port_bytes_per_cycle is None:
            continue
        read = sum(reads[side] for side in memory.holds)
        write = count.output_port_write if "output" in memory.holds else 0.0
        busiest = max(busiest, read / memory.port_bytes_per_cycle, write / memory.port_bytes_per_cycle)
    return busiest

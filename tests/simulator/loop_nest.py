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

    averaged_s: the latency if all tiles took the mean cycles and had the mean size.
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
    groups = _streams(gemm, accelerator, mapping.dataflow, tiles)
    for group in groups:
        _ports(gemm, accelerator, mapping.dataflow, group, count)
    count.port_cycles = _port_cycles(accelerator, count)
    slower = max(1.0, count.port_cycles / count.cycles)
    compute_s = [cycle * slower / accelerator.technology.clock_hz for cycle in cycles]
    offchip = accelerator.memories[0]
    rate = offchip.bandwidth_bytes_per_s * offchip.efficiency
    hidden = [memory.overlap for memory in accelerator.memories[1:]]
    doubled = [memory.double_buffered for memory in accelerator.memories[1:]]
    overlap = min(float(twice) if share is None else share for share, twice in zip(hidden, doubled, strict=True))
    loads, stores, last = _moves(gemm, accelerator, tiles, count, rate, mapping)
    count.latency_s = _pipeline(compute_s, loads, stores, last, overlap)
    same = _averaged(tiles, gemm)
    mean_loads, mean_stores, mean_last = _moves(gemm, accelerator, same, Count(), rate, mapping)
    mean_s = [sum(compute_s) / len(tiles)] * len(tiles)
    count.averaged_s = _pipeline(mean_s, mean_loads, mean_stores, mean_last, overlap)
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


def _averaged(tiles: list[Tile], gemm: Any) -> list[Tile]:
    """The tiles with the mean extents in place of their own."""
    trips = {rank: 1 + max(getattr(other, rank) for other in tiles) for rank in "mnk"}
    mean = {"rows": gemm.m / trips["m"], "cols": gemm.n / trips["n"], "depth": gemm.k / trips["k"]}
    return [replace(tile, **mean) for tile in tiles]


def _pipeline(compute: list[float], loads: list[float], stores: list[float], last: float, overlap: float) -> float:
    """loads[i] brings tile i in; stores[i] is what entering tile i pushes out; `last` is the final store.

    While tile i computes, the link stores what tile i - 1 left and loads tile i + 1; of the shorter of the two a share
    `overlap` hides behind the longer.
    """
    time = loads[0]
    for i, cycles in enumerate(compute):
        moving = stores[i] + (loads[i + 1] if i + 1 < len(loads) else 0.0)
        time += cycles + moving - overlap * min(cycles, moving)
    return time + last


def _moves(
    gemm: Any, accelerator: Any, tiles: list[Tile], count: Count, rate: float, mapping: Any
) -> tuple[list[float], list[float], float]:
    """Seconds of the link to bring in each tile, to push out what entering it displaces, and of the last store.

    One tile of each operand is resident, none in a buffer that it only passes through; of one that is held all are,
    until a loop outside that of its free rank steps: nothing that comes back while the free rank goes on is fetched.
    Sums that leave before their reduction is complete go out, and come back, at the accumulators' width.
    """
    offchip = accelerator.memories[0]
    element = {side: _stored_bits(offchip, side, getattr(gemm, side)) / 8 for side in ("input", "weight")}
    wide, final = accelerator.compute.accumulate_bits / 8, 0.0 if gemm.output.on_chip else gemm.output.bits / 8
    resident: dict[str, Any] = {"input": None, "weight": None, "output": None}
    staying: dict[str, Any] = {"input": (None, set()), "weight": (None, set())}
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
            there = resident[side] == name or name in _staying(side, tile, mapping, staying)
            if mapping.held.get(side):
                staying[side][1].add(name)
            if not there or not home.keeps_tiles:
                resident[side] = name
                coming += size * element[side]
                setattr(count, f"{side}_load", getattr(count, f"{side}_load") + size * element[side])
        name = (tile.item, tile.m, tile.n)
        if resident["output"] != name:
            stays = mapping.held.get("output")
            left = resident["output"]
            if left is not None and not (stays and reduced[left] < gemm.k - 0.5):
                going = leave(left)
            resident["output"] = name
            sizes[name] = tile.rows * tile.cols
            if name in reduced and not stays:
                coming += sizes[name] * wide
                count.output_load += sizes[name] * wide
        reduced[name] = reduced.get(name, 0.0) + tile.depth
        loads.append(coming / rate)
        stores.append(going / rate)
    return loads, stores, leave(resident["output"]) / rate


def _staying(side: str, tile: Tile, mapping: Any, staying: dict[str, Any]) -> set[Any]:
    """Names of the tiles of a held operand that are there: all since a loop outside that of its free rank stepped."""
    free = {"input": "n", "weight": "m"}[side]
    outside = (tile.item, *(getattr(tile, rank) for rank in mapping.order[: mapping.order.index(free)]))
    if staying[side][0] != outside:
        staying[side] = outside, set()
    names: set[Any] = staying[side][1]
    return names


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


def _streams(gemm: Any, accelerator: Any, dataflow: str, tiles: list[Tile]) -> list[list[Tile]]:
    """Tiles whose folds' streams follow one another: the array keeps what it holds while nothing but the streamed rank
    steps, if it holds all that the tile keeps at once."""
    compute = accelerator.compute
    streamed = {"output_stationary": "k", "weight_stationary": "m", "input_stationary": "n"}[dataflow]
    groups: list[list[Tile]] = []
    # the array is laid out for full tiles: an edge tile of fewer folds follows the same program
    full = _full_folds(gemm, accelerator, dataflow, tiles)
    for tile in tiles:
        room = compute.accumulators_per_pe if streamed == "k" and compute.interleave else 1
        if groups and full <= room:
            before = groups[-1][-1]
            kept = [rank for rank in ("item", "m", "n", "k") if rank != streamed]
            if all(getattr(before, rank) == getattr(tile, rank) for rank in kept):
                groups[-1].append(tile)
                continue
        groups.append([tile])
    return groups


def _full_folds(gemm: Any, accelerator: Any, dataflow: str, tiles: list[Tile]) -> int:
    """Folds of the largest tile."""
    compute = accelerator.compute
    rows, cols, depth = (max(getattr(tile, side) for tile in tiles) for side in ("rows", "cols", "depth"))
    steps = math.ceil(_steps(gemm, accelerator, dataflow, depth) / _lanes(gemm, accelerator))
    down, across = {
        "output_stationary": (rows, cols), "weight_stationary": (steps, cols), "input_stationary": (steps, rows)
    }[dataflow]  # fmt: skip
    return len(range(0, down, compute.rows)) * len(range(0, across, compute.cols))


def _lanes(gemm: Any, accelerator: Any) -> float:
    return float(accelerator.compute.macs_per_pe * accelerator.compute.rates[gemm.dtype])


def _array_cycles(gemm: Any, accelerator: Any, dataflow: str, tiles: list[Tile]) -> list[float]:
    """Cycles of each tile; a stream that goes on fills and drains once, and tiles share out what that saves."""
    groups = _streams(gemm, accelerator, dataflow, tiles)
    largest = max(tiles, key=lambda tile: (tile.rows, tile.cols, tile.depth))
    full = largest.rows, largest.cols, _steps(gemm, accelerator, dataflow, largest.depth)
    apart = [_tile_cycles(gemm, accelerator, dataflow, tile.rows, tile.cols,
                          _steps(gemm, accelerator, dataflow, tile.depth), full) for tile in tiles]  # fmt: skip
    together = 0.0
    for group in groups:
        rows, cols, steps = group[0].rows, group[0].cols, _steps(gemm, accelerator, dataflow, group[0].depth)
        if len(group) > 1:
            if dataflow == "weight_stationary":
                rows = sum(tile.rows for tile in group)
            elif dataflow == "input_stationary":
                cols = sum(tile.cols for tile in group)
            else:
                steps = sum(_steps(gemm, accelerator, dataflow, tile.depth) for tile in group)
        together += _tile_cycles(gemm, accelerator, dataflow, rows, cols, steps, full)
    return [cycles * together / sum(apart) for cycles in apart]


def _tile_cycles(
    gemm: Any, accelerator: Any, dataflow: str, rows: float, cols: float, steps: float, full: tuple[float, float, float]
) -> float:
    """Cycles of one tile: its folds are listed one by one, those that interleave together. The skew is that of
    the largest tile's fullest fold."""
    compute, fold = accelerator.compute, accelerator.compute.fold
    steps, full_steps = (math.ceil(each / _lanes(gemm, accelerator)) for each in (steps, full[2]))
    latency = compute.accumulate_latency_cycles
    if dataflow == "output_stationary":
        down, across, stream, per_row = rows, cols, steps, 1
        used_rows, used_cols = full[0], full[1]
    else:
        down, used_rows, per_row = steps, full_steps, latency
        across, stream = (cols, rows) if dataflow == "weight_stationary" else (rows, cols)
        used_cols = full[1] if dataflow == "weight_stationary" else full[0]
    folds = [None for _ in range(0, int(down), compute.rows) for _ in range(0, int(across), compute.cols)]
    skew = (min(used_rows, compute.rows) if fold.skew_rows == "used" else compute.rows) * per_row
    skew += min(used_cols, compute.cols) if fold.skew_cols == "used" else compute.cols
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


def _ports(gemm: Any, accelerator: Any, dataflow: str, group: list[Tile], count: Count) -> None:
    """Bytes between buffers and array for tiles of one stream, fold by fold; what the array keeps is read once."""
    compute = accelerator.compute
    element = {
        side: next(_stored_bits(memory, side, getattr(gemm, side)) / 8
                   for memory in accelerator.memories[1:] if side in memory.holds)
        for side in ("input", "weight")
    }  # fmt: skip
    wide = compute.accumulate_bits / 8
    for number, tile in enumerate(group):
        inputs, weights, sums = tile.rows * tile.depth, tile.cols * tile.depth, tile.rows * tile.cols
        again_input = again_weight = 1
        if dataflow == "output_stationary":
            again_input = len(range(0, int(tile.cols), compute.cols))
            again_weight = len(range(0, int(tile.rows), compute.rows))
            passes = 0 if number else 1
        else:
            steps = math.ceil(_steps(gemm, accelerator, dataflow, tile.depth) / _lanes(gemm, accelerator))
            passes = len(range(0, steps, compute.rows))
        if dataflow == "weight_stationary":
            again_input, again_weight = len(range(0, int(tile.cols), compute.cols)), 0 if number else 1
        if dataflow == "input_stationary":
            again_input, again_weight = 0 if number else 1, len(range(0, int(tile.rows), compute.cols))
        count.input_port += inputs * element["input"] * again_input
        count.weight_port += weights * element["weight"] * again_weight
        for each in range(passes):
            count.output_port_write += sums * wide
            if tile.k > 0 or each > 0:
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

"""Random small problems for the tests of this folder: products, small arrays, mappings; all from a seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.schema import Operand as Side
from zerocast.simulator.laws import law_of
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.simulator.products.mapping import ORDERS, Mapping, mapping_of
from zerocast.simulator.products.walks.tiles import Walk, tile_stream
from zerocast.workloads.ir import Window
from zerocast.workloads.patterns import DENSE, NM, Pattern

SIDES: tuple[Side, ...] = ("input", "weight", "output")

PATTERNS: tuple[Pattern, ...] = (DENSE, DENSE, NM(2, 8, "k"), NM(1, 4, "k"), NM(3, 4, "k"))


def windows(stride: int = 1) -> tuple[Window, Window]:
    """Those of x[n, c, p stride + r, q stride + s]."""
    return Window(2, "p", "r", stride, 1, "p+r"), Window(3, "q", "s", stride, 1, "q+s")


@dataclass(frozen=True)
class Problem:
    """A product, an accelerator and one mapping; `even` where the tiles divide the product."""

    gemm: Gemm
    accelerator: Accelerator
    mapping: Mapping
    even: bool


def small_accelerator(rng: random.Random, base: str = "") -> Accelerator:
    """A shipped template shrunk to an array of a few PEs, with its timing options shuffled."""
    base = base or rng.choice(["systolic-32x32", "sat-vcu1525", "tpu-like-128"])
    changes: dict[str, Any] = {
        "compute.rows": rng.choice([2, 4, 8]),
        "compute.cols": rng.choice([2, 4]),
        "memories.dram.bandwidth_bytes_per_s": rng.choice([1e8, 1e9, 1e10, 1e11]),
    }
    if base == "sat-vcu1525":
        changes |= {
            "compute.accumulate_latency_cycles": rng.choice([1, 3, 8]),
            "compute.accumulators_per_pe": rng.choice([1, 4, 8]),
            "compute.interleave": rng.random() < 0.7,
            "compute.macs_per_pe": rng.choice([1, 2]),
            "compute.fold.pipelined": rng.random() < 0.2,
            "memories.input_buffer.double_buffered": rng.random() < 0.7,
        }
        if rng.random() < 0.5:
            for side in ("input", "weight", "output"):
                changes[f"memories.{side}_buffer.port_bytes_per_cycle"] = rng.choice([2, 8, 64])
    own = random.Random(repr(changes))
    changes |= {f"memories.{memory.name}.keeps_tiles": own.random() < 0.8 for memory in load(base).buffers}
    if own.random() < 0.3:
        changes[f"memories.{load(base).buffers[0].name}.overlap"] = own.choice([0.0, 0.4, 0.75])
    return load(base, changes)


def random_problem(seed: int) -> Problem:
    """A problem of a few tiles; odd seeds have edge tiles."""
    rng = random.Random(seed)
    even = seed % 2 == 0
    accelerator = small_accelerator(rng)
    dataflow = rng.choice(accelerator.compute.dataflows)
    first, second = rng.choice(PATTERNS), rng.choice(PATTERNS)
    unit = law_of(dataflow).grain(plain_gemm(8, 8, 8, "fp16", 16, first, second), accelerator)
    tile = [extent * rng.randint(1, 3) for extent in unit]
    size = [extent * rng.randint(1, 5) if even else rng.randint(1, 4 * extent) for extent in tile]
    gemm = replace(plain_gemm(*size, "fp16", 16, first, second), batch=rng.choice([1, 1, 3]))
    extents = [min(pair) for pair in zip(tile, size, strict=True)]
    mapping = mapping_of(gemm, dataflow, rng.choice(ORDERS), *extents)
    stays = {side: rng.random() < 0.4 and accelerator.buffer_of(side).keeps_tiles for side in SIDES}
    return Problem(
        gemm, accelerator, replace(mapping, held={side: np.array(each) for side, each in stays.items()}), even
    )


def kept(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
    """Which of the mappings fit, and the operands whose tiles stay while the loop that they do not depend on repeats.

    Counted from the words of the schema, for arrays of tiles in one order: tiles twice where doubled, sums at full
    width unless the array keeps them until they are complete, and of an operand that is there for good one copy.
    """
    compute, order = accelerator.compute, str(mapping.order)
    tile, trips = {rank: getattr(mapping, rank) for rank in "mnk"}, mapping.trips
    nothing = np.ones_like(trips["m"])

    def steps(ranks: str) -> Any:
        return reduce(np.multiply, (trips[rank] for rank in ranks), nothing)

    folds = np.ceil(tile["m"] / compute.rows) * np.ceil(tile["n"] / compute.cols)
    in_pes = folds <= (compute.accumulators_per_pe if compute.interleave else 1)
    in_pes = in_pes & (steps(order[order.index("k") + 1 :]) == 1)
    complete = (mapping.dataflow == "output_stationary") & ((trips["k"] == 1) | in_pes)
    fits, stays = nothing > 0, {}
    for memory in accelerator.memories[1:]:
        copies, used, sizes, room = 2 if memory.double_buffered else 1, 0.0 * nothing, {}, memory.capacity_bytes or 0.0
        for side in memory.holds:
            first, second = {"input": "mk", "weight": "nk", "output": "mn"}[side]
            bits: Any = np.where(complete, gemm.output.bits, compute.accumulate_bits)
            if side != "output":
                pattern, bits = getattr(gemm, side).pattern, getattr(gemm, side).bits
                if "nm_offsets" in memory.formats.get(side, ()) and hasattr(pattern, "m"):
                    bits = min(bits, (bits + math.ceil(math.log2(pattern.m))) * pattern.n / pattern.m)
            sizes[side] = tile[first] * tile[second] * bits / 8
            used = used + copies * sizes[side]
        fits = fits & (used <= room)
        for side in memory.holds if memory.keeps_tiles else ():
            free = {"input": "n", "weight": "m", "output": "k"}[side]
            inner = steps(order[order.index(free) + 1 :])
            for_good = (gemm.batch == 1) & (steps(order[: order.index(free)]) == 1)
            whole = np.where(for_good, np.maximum(inner, copies), inner * copies) * sizes[side]
            more = whole - copies * sizes[side]
            stays[side] = (inner > 1) & (trips[free] > 1) & (used + more <= room)
            used = used + np.where(stays[side], more, 0.0)
    return fits, stays


def walk_tiles(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> Walk:
    """Every tile of a product walked at the accelerator's own rates; see `tile_stream`."""
    stream = tile_stream(gemm, accelerator, mapping)
    return stream.walk(accelerator.technology.clock_hz, accelerator.dram_bytes_per_s)

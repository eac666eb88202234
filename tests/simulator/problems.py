"""Random small problems for the tests of this folder: products, small arrays, mappings; all from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from zerocast.accelerators import Accelerator, load
from zerocast.simulator.gemm import Gemm, plain_gemm
from zerocast.simulator.mapping import ORDERS, Mapping, mapping_of, tile_units
from zerocast.simulator.tiles import Walk, tile_stream
from zerocast.workloads.ir import Window
from zerocast.workloads.patterns import DENSE, NM, Pattern

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
    return load(base, changes)


def random_problem(seed: int) -> Problem:
    """A problem of a few tiles; odd seeds have edge tiles."""
    rng = random.Random(seed)
    even = seed % 2 == 0
    accelerator = small_accelerator(rng)
    dataflow = rng.choice(accelerator.compute.dataflows)
    first, second = rng.choice(PATTERNS), rng.choice(PATTERNS)
    unit = tile_units(plain_gemm(8, 8, 8, "fp16", 16, first, second), accelerator, dataflow)
    tile = [extent * rng.randint(1, 3) for extent in unit]
    size = [extent * rng.randint(1, 5) if even else rng.randint(1, 4 * extent) for extent in tile]
    gemm = replace(plain_gemm(*size, "fp16", 16, first, second), batch=rng.choice([1, 1, 3]))
    extents = [min(pair) for pair in zip(tile, size, strict=True)]
    return Problem(gemm, accelerator, mapping_of(gemm, dataflow, rng.choice(ORDERS), *extents), even)


def walk_tiles(gemm: Gemm, accelerator: Accelerator, mapping: Mapping, masks: bool = True) -> Walk:
    """Every tile of a product walked at the accelerator's own rates; see `tile_stream`."""
    stream = tile_stream(gemm, accelerator, mapping, masks)
    return stream.walk(accelerator.technology.clock_hz, accelerator.dram_bytes_per_s)

"""Cycles of the array for one tile, fill and drain included, as closed forms over arrays.

A fold is the work between two changes of the stationary operand. With R x C PEs, a tile of m x n x k:
  output-stationary: ceil(m/R) ceil(n/C) folds of k' steps,
  weight-stationary: ceil(k'/R) ceil(n/C) folds of m steps,
  input-stationary:  ceil(k'/R) ceil(m/C) folds of n steps,
where k' counts the reduction steps left after skipping. Each fold pays the skew of data entering and results
leaving (R + C - 2 steps for a full array) and, unless hidden, R steps to load or drain what is stationary
(Samajdar et al., "A Systematic Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim",
ISPASS 2020, eq. 1-3: 2R + C + T - 2 cycles a fold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Compute, Dataflow, Fold, OperandSparsity
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Gemm, Operand
from zerocast.workloads.patterns import NM

if TYPE_CHECKING:
    from zerocast.simulator.products import mapping as mappings

Array = NDArray[np.float64]

_SKIPPERS: dict[Dataflow, tuple[str, ...]] = {
    "output_stationary": ("weight", "input"),
    "weight_stationary": ("weight",),
    "input_stationary": ("input",),
    "unrolled": ("weight", "input"),
}
"""Operands whose zeros a dataflow can skip: a stationary operand stays compressed in the PEs, a streaming one
is matched on the way; output-stationary streams both and skips on one of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """What of a convolution's geometry an array sees of a tile: rows m on one line of the output, and kernel positions
    in its k."""

    line: float = np.inf
    taps: int = 1


def window_of(gemm: Gemm, mapping: mappings.Mapping) -> Window:
    """The geometry of the tiles of a mapping."""
    sizes = dict(gemm.roles)
    if (block := mapping.block) is not None:
        return Window(block.output[1], math.prod(block.kernel))
    return Window(sizes.get("out_cols", gemm.m), sizes.get("kernel_rows", 1) * sizes.get("kernel_cols", 1))


def row_folds(compute: Compute, depth: Array, taps: int) -> Array:
    """Folds along the rows of a reduction of `depth` steps of a row of lanes, over `taps` kernel positions."""
    if compute.packs_kernel or taps == 1:
        return np.asarray(np.ceil(depth / compute.rows))
    each = np.minimum(float(taps), depth)
    return np.asarray(np.ceil(each * np.ceil(depth / each / compute.rows)))


def folds_of(compute: Compute, dataflow: Dataflow, m: Array, n: Array, depth: Array, taps: int) -> Array:
    """Folds of a tile of m x n outputs whose reduction takes `depth` steps of a row of lanes."""
    if dataflow == "output_stationary":
        return np.asarray(np.ceil(m / compute.rows) * np.ceil(n / compute.cols))
    across = n if dataflow == "weight_stationary" else m
    return row_folds(compute, depth, taps) * np.ceil(across / compute.cols)


def reduction_steps(
    gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, k: ArrayLike, spread: float = 0.0
) -> Array:
    """Steps along K of a tile of extent k after skipping: k where nothing is skipped.

    structured_skip: k N/M. skip: the fullest of `sync_group` fibers, output-stationary only.
    `spread` shifts a random law by that many standard deviations of the mean over the tile's lock-step groups.
    The operand that saves more is the one skipped on.
    """
    steps = np.asarray(k, dtype=float)
    best = steps
    for name in _SKIPPERS.get(dataflow, ()):
        operand: Operand = getattr(gemm, name)
        engine: OperandSparsity = getattr(accelerator.sparsity, name)
        best = np.minimum(best, _skipped(operand, engine, dataflow, steps, spread))
    return best


def skips(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> str:
    """Name of the operand whose zeros save cycles in this dataflow (the one that saves more), or "" where none do."""
    if dataflow == "zero_skipping":
        names = [name for name in ("weight", "input") if getattr(accelerator.sparsity, name).mode == "skip"]
        share, name = min(((getattr(gemm, name).pattern.density, name) for name in names), default=(1.0, ""))
        return name if share < 1 else ""
    best, steps = "", float(gemm.k)
    for name in _SKIPPERS.get(dataflow, ()):
        operand: Operand = getattr(gemm, name)
        engine: OperandSparsity = getattr(accelerator.sparsity, name)
        left = float(_skipped(operand, engine, dataflow, np.asarray(float(gemm.k)), 0.0))
        if left < steps:
            best, steps = name, left
    return best


def _skipped(operand: Operand, engine: OperandSparsity, dataflow: Dataflow, k: Array, spread: float) -> Array:
    pattern = operand.structured
    if engine.mode in ("structured_skip", "skip") and pattern is not None:
        if engine.mode == "structured_skip" and pattern.m > engine.max_group:
            return k
        return _structured_steps(pattern, dict(operand.fiber)[pattern.rank], k)
    if engine.mode != "skip" or operand.pattern.is_dense or dataflow != "output_stationary":
        return k
    tile = fiber_tile(operand, k)
    mean = operand.pattern.slowest(tile, engine.sync_group)
    deviation = np.sqrt(operand.pattern.occupancy(tile).variance)
    return np.clip(mean + spread * deviation, 0.0, k)


def _structured_steps(pattern: NM, length: int, k: Array) -> Array:
    """Nonzeros of the fullest fiber of k elements: N of each whole group of M, and up to N of a cut one.

    Where groups do not divide the rank they lie along (of that `length`), every pass over it cuts one.
    """
    whole, rest = np.divmod(k, pattern.m)
    steps = whole * pattern.n + np.minimum(rest, pattern.n)
    if length % pattern.m == 0:
        return steps
    full, cut = divmod(length, pattern.m)
    return np.where(k > length, np.ceil(k * (full * pattern.n + min(cut, pattern.n)) / length), steps)


def fiber_tile(operand: Operand, k: ArrayLike) -> dict[str, ArrayLike]:
    """Tile shape of one fiber of length k: the outermost rank along K is cut, the inner ones are whole."""
    (outer, _), *inner = operand.fiber
    depth = np.asarray(k, dtype=float)
    for _, extent in inner:
        depth = depth / extent
    tile: dict[str, ArrayLike] = dict(inner)
    return {outer: depth, **tile}


def multiplied_as(accelerator: Accelerator, types: str) -> str:
    """The entry of `compute.rates` under which a product of these types runs; `SimulationError` where there is none."""
    compute = accelerator.compute
    if (found := compute.multiplies_as(types)) is None:
        pair = f"; add {types!r}, or set compute.widens=true" if "*" in types and not compute.widens else ""
        known = ", ".join(compute.rates)
        raise SimulationError(f"{accelerator.name} has no {types} arithmetic; compute.rates lists {known}{pair}")
    return found


def rate_of(accelerator: Accelerator, types: str) -> float:
    """Rate of a data type, or of a pair, against `macs_per_pe`; raises as `multiplied_as`."""
    return accelerator.compute.rates[multiplied_as(accelerator, types)]


def array_cycles(
    accelerator: Accelerator, dtype: str, dataflow: Dataflow, m: ArrayLike, n: ArrayLike, steps: ArrayLike,
    fullest: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None, window: Window = Window(),
) -> Array:  # fmt: skip
    """Cycles of the array for tiles of m x n outputs and `steps` reduction steps; broadcasts.

    fullest: the largest tile of the product, m, n and steps, where the array skews all folds alike (default: this one).
    window: geometry of a convolution. Raises `SimulationError` for a data type that the array does not multiply.
    """
    compute = accelerator.compute
    lanes = compute.macs_per_pe * rate_of(accelerator, dtype)
    full_m, full_n, full_steps = (np.asarray(x, dtype=float) for x in fullest or (m, n, steps))
    m, n, steps = (np.asarray(x, dtype=float) for x in (m, n, steps))
    if dataflow == "output_stationary":
        skew = _skew(compute, np.minimum(full_m, compute.rows), np.minimum(full_n, compute.cols), compute.rows)
        return _output_stationary(compute, m, n, np.ceil(steps / lanes), skew)
    weights = dataflow == "weight_stationary"
    stream, across = (streamed(compute, m, window.line), full_n) if weights else (streamed(compute, n), full_m)
    folds = folds_of(compute, dataflow, m, n, np.ceil(steps / lanes), window.taps)
    # the partial sum takes the adder's latency at every row on its way down
    skew = _skew(compute, np.minimum(np.ceil(full_steps / lanes), compute.rows) * compute.accumulate_latency_cycles,
                 np.minimum(across, compute.cols), compute.rows * compute.accumulate_latency_cycles)  # fmt: skip
    cycles = _grouped(compute, dataflow, folds, 1, stream, skew)
    return cycles + skew if compute.fold.pipelined else cycles


def streamed(compute: Compute, steps: ArrayLike, line: ArrayLike = np.inf) -> Array:
    """Cycles of a fold's stream of so many steps, cut into instructions of at most `fold.block_rows` steps of one line
    (of `line` steps each, the last one shorter)."""
    if compute.fold.block_rows is None:
        return np.asarray(steps, dtype=float)
    lines, rest = np.divmod(np.asarray(steps, dtype=float), line)
    return np.where(lines > 0, lines * _blocks(compute.fold, np.asarray(line, dtype=float)), 0.0) + _blocks(
        compute.fold, rest
    )


def _blocks(fold: Fold, steps: Array) -> Array:
    """Cycles of the instructions of one line."""
    assert fold.block_rows is not None
    whole, rest = np.divmod(np.minimum(steps, 2.0**52), fold.block_rows)
    shortest = np.where(rest > 0, np.maximum(rest, fold.block_cycles), 0.0)
    return whole * max(fold.block_rows, fold.block_cycles) + shortest


def _output_stationary(compute: Compute, m: Array, n: Array, steps: Array, skew: Array) -> Array:
    """Folds interleave in groups of as many as a PE has accumulators; the last group of a tile may be smaller.

    A PE that accumulates I sums in turn starts a new step every max(1, L/I) cycles (L: adder latency), so that a
    group of I folds streams for T max(I, L) cycles.
    """
    folds = folds_of(compute, "output_stationary", m, n, steps, 1)
    together = compute.accumulators_per_pe if compute.interleave else 1
    whole, rest = np.divmod(folds, together)
    latency = compute.accumulate_latency_cycles
    cycles = _grouped(compute, "output_stationary", whole, together, steps * max(together, latency), skew)
    if together > 1:
        cycles = cycles + _grouped(
            compute, "output_stationary", np.sign(rest), rest, steps * np.maximum(rest, latency), skew
        )
    return cycles + skew if compute.fold.pipelined else cycles


def _skew(compute: Compute, used_rows: Array, used_cols: Array, all_rows: float) -> Array:
    """Cycles of data entering and results leaving; `used` means by the fullest fold."""
    rows = used_rows if compute.fold.skew_rows == "used" else np.asarray(float(all_rows))
    cols = used_cols if compute.fold.skew_cols == "used" else np.asarray(float(compute.cols))
    return np.maximum(rows + cols + compute.fold.constant_cycles, 0.0)


def _grouped(
    compute: Compute, dataflow: Dataflow, groups: Array, folds: ArrayLike, stream: Array, skew: Array
) -> Array:
    """Cycles of `groups` groups of `folds` interleaved folds, of `stream` cycles and one skew each.

    A pipelined array pays the skew once a tile (the caller adds it). A hidden load or drain takes R cycles of the
    registers' second set: it shows only where a fold is shorter.
    """
    busy = stream if compute.fold.pipelined else stream + skew
    load = np.asarray(folds, dtype=float) * compute.rows
    return groups * (np.maximum(busy, load) if dataflow in compute.fold.hidden_load else busy + load)

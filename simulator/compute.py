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

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelerators.schema import Accelerator, Compute, Dataflow, OperandSparsity
from simulator.errors import SimulationError
from simulator.gemm import Gemm, Operand

Array = NDArray[np.float64]

_SKIPPERS: dict[Dataflow, tuple[str, ...]] = {
    "output_stationary": ("weight", "input"),
    "weight_stationary": ("weight",),
    "input_stationary": ("input",),
}
"""Operands whose zeros a dataflow can skip: a stationary operand stays compressed in the PEs, a streaming one
is matched on the way; output-stationary streams both and skips on one of them."""


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
    for name in _SKIPPERS[dataflow]:
        operand: Operand = getattr(gemm, name)
        engine: OperandSparsity = getattr(accelerator.sparsity, name)
        best = np.minimum(best, _skipped(operand, engine, dataflow, steps, spread))
    return best


def skips(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> str:
    """Name of the operand whose zeros save cycles in this dataflow, or "" where none do."""
    for name in _SKIPPERS[dataflow]:
        operand: Operand = getattr(gemm, name)
        engine: OperandSparsity = getattr(accelerator.sparsity, name)
        if float(_skipped(operand, engine, dataflow, np.asarray(float(gemm.k)), 0.0)) < gemm.k:
            return name
    return ""


def _skipped(operand: Operand, engine: OperandSparsity, dataflow: Dataflow, k: Array, spread: float) -> Array:
    pattern = operand.structured
    if engine.mode in ("structured_skip", "skip") and pattern is not None:
        if engine.mode == "structured_skip" and pattern.m > engine.max_group:
            return k
        return np.ceil(k * pattern.n / pattern.m)
    if engine.mode != "skip" or operand.pattern.is_dense or dataflow != "output_stationary":
        return k
    tile = fiber_tile(operand, k)
    mean = operand.pattern.slowest(tile, engine.sync_group)
    deviation = np.sqrt(operand.pattern.occupancy(tile).variance)
    return np.clip(mean + spread * deviation, 0.0, k)


def fiber_tile(operand: Operand, k: ArrayLike) -> dict[str, ArrayLike]:
    """Tile shape of one fiber of length k: the outermost rank along K is cut, the inner ones are whole."""
    (outer, _), *inner = operand.fiber
    depth = np.asarray(k, dtype=float)
    for _, extent in inner:
        depth = depth / extent
    tile: dict[str, ArrayLike] = {rank: extent for rank, extent in inner}
    return {outer: depth, **tile}


def array_cycles(
    accelerator: Accelerator, dtype: str, dataflow: Dataflow, m: ArrayLike, n: ArrayLike, steps: ArrayLike
) -> Array:
    """Cycles of the array for tiles of m x n outputs and `steps` reduction steps; broadcasts.

    Raises `SimulationError` for a data type that the array does not multiply.
    """
    compute = accelerator.compute
    if dtype not in compute.rates:
        raise SimulationError(
            f"{accelerator.name} has no {dtype} arithmetic; compute.rates lists {', '.join(compute.rates)}"
        )
    lanes = compute.macs_per_pe * compute.rates[dtype]
    m, n, steps = (np.asarray(x, dtype=float) for x in (m, n, steps))
    if dataflow == "output_stationary":
        return _output_stationary(compute, m, n, np.ceil(steps / lanes))
    stream, across = (m, n) if dataflow == "weight_stationary" else (n, m)
    depth = np.ceil(steps / lanes)
    folds = np.ceil(depth / compute.rows) * np.ceil(across / compute.cols)
    # the partial sum takes the adder's latency at every row on its way down
    skew = _skew(compute, np.minimum(depth, compute.rows) * compute.accumulate_latency_cycles,
                 np.minimum(across, compute.cols), compute.rows * compute.accumulate_latency_cycles)  # fmt: skip
    return _folded(compute, dataflow, folds, folds, stream, skew)


def interleave_factor(compute: Compute, folds: ArrayLike) -> Array:
    """Independent accumulations in flight in a PE: as many as it has accumulators and folds to interleave."""
    if not compute.interleave:
        return np.ones_like(np.asarray(folds, dtype=float))
    return np.minimum(compute.accumulators_per_pe, folds).astype(float)


def _output_stationary(compute: Compute, m: Array, n: Array, steps: Array) -> Array:
    """A PE that accumulates I sums in turn starts a new step every max(1, L/I) cycles (L: adder latency)."""
    folds = np.ceil(m / compute.rows) * np.ceil(n / compute.cols)
    in_flight = interleave_factor(compute, folds)
    interval = np.maximum(1.0, compute.accumulate_latency_cycles / in_flight)
    skew = _skew(compute, np.minimum(m, compute.rows), np.minimum(n, compute.cols), compute.rows)
    return _folded(compute, "output_stationary", folds, np.ceil(folds / in_flight), steps * interval, skew)


def _skew(compute: Compute, used_rows: Array, used_cols: Array, all_rows: float) -> Array:
    rows = used_rows if compute.fold.skew_rows == "used" else np.asarray(float(all_rows))
    cols = used_cols if compute.fold.skew_cols == "used" else np.asarray(float(compute.cols))
    return rows + cols + compute.fold.constant_cycles


def _folded(
    compute: Compute, dataflow: Dataflow, folds: Array, groups: Array, stream: Array, skew: Array
) -> Array:
    """Cycles of `folds` folds of `stream` cycles whose skew is paid once per group (once per tile if pipelined).

    A hidden load or drain takes R cycles of the registers' second set: it shows only where a fold is shorter.
    """
    paid = np.minimum(groups, 1.0) if compute.fold.pipelined else groups
    cycles = folds * stream + paid * skew
    load = folds * compute.rows
    return np.maximum(cycles, load) if dataflow in compute.fold.hidden_load else cycles + load

"""Cycles of an accelerator's zero-skipping engine for one product, under its quickest arrangement."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from zerocast.accelerators.schema import Accelerator, Operand, Skipping
from zerocast.simulator.engine.dealing import deal
from zerocast.simulator.engine.expected import expected_cycles
from zerocast.simulator.engine.laws import law_along_k
from zerocast.simulator.engine.losses import EngineCycles
from zerocast.simulator.engine.operands import operand_bits, scattered
from zerocast.simulator.engine.packed import packed_cycles
from zerocast.simulator.engine.walked import walked_cycles
from zerocast.simulator.engine.window import window_cycles
from zerocast.simulator.gemm import Gemm


def engine_cycles(gemm: Gemm, accelerator: Accelerator, masks: bool = False) -> EngineCycles:
    """Cycles of all `gemm.batch` products and where they are lost.

    masks: with the nonzeros of each lane (a law is drawn with a fixed seed), else with the pattern's expectations.
    Raises `SimulationError` for masks that do not fit the product.
    """
    assert accelerator.skipping is not None  # the schema couples it to the dataflow
    sparsity = accelerator.sparsity
    skips = (sparsity.input.mode == "skip", sparsity.weight.mode == "skip")
    runs = (_run_bits(accelerator, "input"), _run_bits(accelerator, "weight"))
    return _engine_cycles(gemm, accelerator.skipping, skips, runs, accelerator.compute.multipliers, masks)


def _run_bits(accelerator: Accelerator, operand: Operand) -> int | None:
    """Width of the run field in which the engine holds an operand, None where it holds no runs."""
    formats = accelerator.buffer_of(operand).formats.get(operand, ())
    found = [re.fullmatch(r"run_length(?::(\d+))?", name) for name in formats]
    return int(found[0][1] or 5) if len(found) == 1 and found[0] else None


Skips = tuple[bool, bool]
Runs = tuple[int | None, int | None]


@lru_cache(maxsize=4096)
def _engine_cycles(
    gemm: Gemm, skipping: Skipping, skips: Skips, runs: Runs, multipliers: int, masks: bool
) -> EngineCycles:
    if skipping.law == "packed":
        return packed_cycles(gemm, skipping, skips, multipliers, masks)
    if skipping.law == "window":
        return window_cycles(gemm, skipping, skips[0], masks)
    quickest = _quickest(gemm, skipping, skips, runs)
    if not masks:
        return quickest
    conv = scattered(gemm, skipping)
    a, w = (operand_bits(gemm, side, conv is not None) for side in ("input", "weight"))
    taps, useful = (conv.taps, conv.useful) if conv is not None else (1, 1.0)
    found = walked_cycles(a, w, skipping, skipping.arrangements[quickest.arrangement], skips, runs, taps, useful)
    return replace(found, arrangement=quickest.arrangement)


@lru_cache(maxsize=4096)
def _quickest(gemm: Gemm, skipping: Skipping, skips: Skips, runs: Runs) -> EngineCycles:
    """Expected cycles under the arrangement that needs the fewest."""
    scatter = scattered(gemm, skipping) is not None
    laws = law_along_k(gemm, "input", skips[0], scatter), law_along_k(gemm, "weight", skips[1], scatter)
    found = [expected_cycles(gemm, skipping, how, laws, runs) for how in skipping.arrangements]
    best = min(range(len(found)), key=lambda at: found[at].cycles)
    return replace(found[best], arrangement=best)


def engine_turns(gemm: Gemm, accelerator: Accelerator) -> tuple[float, float]:
    """How often the weights, and the inputs, of a product are read from their buffers: once for each round of lanes
    along M, or N, that has a nonzero to meet them (zeros of the other side are not asked for where it skips)."""
    assert accelerator.skipping is not None  # the schema couples it to the dataflow
    arrangement = accelerator.skipping.arrangements[engine_cycles(gemm, accelerator).arrangement]
    conv = scattered(gemm, accelerator.skipping)
    rows = gemm.m if conv is None else conv.positions
    turns = []
    for side, dealt in (("input", deal(rows, arrangement.m)), ("weight", deal(gemm.n, arrangement.n))):
        skipped = getattr(accelerator.sparsity, side).mode == "skip"
        density = getattr(gemm, side).pattern.density if skipped else 1.0
        turns.append(dealt.rounds * (1 - (1 - density) ** dealt.tile))
    return turns[0], turns[1]

"""Cycles of an accelerator's zero-skipping engine for one product, under its quickest arrangement."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import lru_cache

from zerocast.accelerators.schema import Accelerator, Operand, Skipping
from zerocast.simulator.laws.lanes.arranged import Runs, Skips, quickest_arrangement, turns
from zerocast.simulator.laws.lanes.losses import EngineCycles
from zerocast.simulator.laws.lanes.operands import of_outputs, operand_bits, scattered
from zerocast.simulator.laws.lanes.times.packed import packed_cycles
from zerocast.simulator.laws.lanes.times.walked import walked_cycles
from zerocast.simulator.laws.lanes.times.window import window_cycles
from zerocast.simulator.laws.outputs import asked
from zerocast.simulator.products.gemm import Gemm


def engine_cycles(gemm: Gemm, accelerator: Accelerator, masks: bool = False) -> EngineCycles:
    """Cycles of all `gemm.batch` products and where they are lost.

    masks: with the nonzeros of each lane (a law is drawn with a fixed seed), else with the pattern's expectations.
    Raises `SimulationError` for masks that do not fit the product.
    """
    skipping = accelerator.skipping
    assert skipping is not None  # the schema couples it to the dataflow
    skips = _skips(accelerator)
    runs = (_run_bits(accelerator, "input"), _run_bits(accelerator, "weight"))
    found = _engine_cycles(asked(gemm.bare, accelerator), skipping, skips, runs, accelerator.compute.multipliers, masks)
    if skipping.law == "packed" or not found.cycles:
        return found
    exposed = skipping.tree_cycles(skipping.tree_leaves) + _channel_cycles(gemm, accelerator, skips[0])
    return replace(found, cycles=found.cycles + exposed, ramp=found.ramp + exposed) if exposed else found


def _channel_cycles(gemm: Gemm, accelerator: Accelerator, skip: bool) -> float:
    """Cycles in which a single channel brings the input, before the products of each pass, and takes the results.

    A pass makes as many sums of a row as the output buffer holds: the results of one leave before the next begins.
    """
    assert accelerator.skipping is not None
    width, buffer = accelerator.skipping.channel_words_per_cycle, accelerator.buffer_of("output")
    if width is None:
        return 0.0
    assert buffer.capacity_bytes is not None  # the schema asks for it
    passes = math.ceil(gemm.n * accelerator.compute.accumulate_bits / 8 / buffer.capacity_bytes)
    words = math.ceil(gemm.k * (gemm.input.pattern.density if skip else 1.0))
    return gemm.batch * gemm.m * float(passes * math.ceil(words / width) + math.ceil(gemm.n / width))


def _skips(accelerator: Accelerator) -> Skips:
    return accelerator.sparsity.input.mode == "skip", accelerator.sparsity.weight.mode == "skip"


def _run_bits(accelerator: Accelerator, operand: Operand) -> int | None:
    """Width of the run field in which the engine holds an operand, None where it holds no runs."""
    formats = accelerator.buffer_of(operand).formats.get(operand, ())
    found = [re.fullmatch(r"run_length(?::(\d+))?", name) for name in formats]
    return int(found[0][1] or 5) if len(found) == 1 and found[0] else None


@lru_cache(maxsize=4096)
def _engine_cycles(
    gemm: Gemm, skipping: Skipping, skips: Skips, runs: Runs, multipliers: int, masks: bool
) -> EngineCycles:
    if skipping.law == "packed":
        return packed_cycles(gemm, skipping, skips, multipliers, masks)
    if skipping.law == "window":
        return window_cycles(gemm, skipping, skips[0], masks)
    quickest = quickest_arrangement(gemm, skipping, skips, runs)
    if not masks:
        return quickest
    conv = scattered(gemm, skipping)
    a, w = (operand_bits(gemm, side, conv is not None) for side in ("input", "weight"))
    taps, useful = (conv.taps, conv.useful) if conv is not None else (1, 1.0)
    mask = None if gemm.mask.is_dense else operand_bits(of_outputs(gemm), "weight")
    how = skipping.arrangements[quickest.arrangement]
    found = walked_cycles(a, w, skipping, how, skips, runs, taps, useful, mask)
    return replace(found, arrangement=quickest.arrangement)


def engine_turns(gemm: Gemm, accelerator: Accelerator) -> tuple[float, float]:
    """How often the weights, and the inputs, of a product are read from their buffers (see `turns`)."""
    assert accelerator.skipping is not None  # the schema couples it to the dataflow
    arrangement = accelerator.skipping.arrangements[engine_cycles(gemm, accelerator).arrangement]
    return turns(gemm, accelerator.skipping, arrangement, _skips(accelerator))

"""Cycles of an accelerator's zero-skipping engine for one product, under its quickest arrangement."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from accelerators.schema import Accelerator, Operand, Skipping
from simulator.engine.dealing import deal
from simulator.engine.expected import expected_cycles
from simulator.engine.laws import law_along_k
from simulator.engine.losses import EngineCycles
from simulator.engine.operands import operand_bits
from simulator.engine.packed import packed_cycles
from simulator.engine.walked import walked_cycles
from simulator.engine.window import window_cycles
from simulator.gemm import Gemm


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


@lru_cache(maxsize=4096)
def _engine_cycles(
    gemm: Gemm,
    skipping: Skipping,
    skips: tuple[bool, bool],
    runs: tuple[int | None, int | None],
    multipliers: int,
    masks: bool,
) -> EngineCycles:
    if skipping.law == "packed":
        return packed_cycles(gemm, skipping, multipliers, masks)
    if skipping.law == "window":
        return window_cycles(gemm, skipping, skips[0], masks)
    scatter = skipping.convolution == "scatter"
    bits = [operand_bits(gemm, side, scatter) if masks else None for side in ("input", "weight")]
    a_law = law_along_k(gemm, "input", skips[0], scatter, bits[0])
    w_law = law_along_k(gemm, "weight", skips[1], scatter, bits[1])
    expected = [expected_cycles(gemm, skipping, how, (a_law, w_law), runs) for how in skipping.arrangements]
    best = min(range(len(expected)), key=lambda at: expected[at].cycles)
    a, w = bits
    if a is None or w is None:
        return replace(expected[best], arrangement=best)
    taps = gemm.conv.taps if scatter and gemm.conv is not None else 1
    found = walked_cycles(a, w, skipping, skipping.arrangements[best], skips, runs, taps)
    return replace(found, arrangement=best)


def engine_turns(gemm: Gemm, accelerator: Accelerator) -> tuple[int, int]:
    """Rounds of lanes along M and along N: how often the weights, and the inputs, of a product are read."""
    assert accelerator.skipping is not None  # the schema couples it to the dataflow
    arrangement = accelerator.skipping.arrangements[engine_cycles(gemm, accelerator).arrangement]
    rows = gemm.m if gemm.conv is None or accelerator.skipping.convolution == "gather" else gemm.conv.positions
    return deal(rows, arrangement.m).rounds, deal(gemm.n, arrangement.n).rounds

"""Cycles of an accelerator's zero-skipping engine for one product, under its quickest arrangement."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Operand, Skipping
from zerocast.simulator.engine.dealing import Dealt, deal
from zerocast.simulator.engine.expected import expected_cycles
from zerocast.simulator.engine.laws import shares_along_k
from zerocast.simulator.engine.losses import EngineCycles
from zerocast.simulator.engine.operands import fiber_of, operand_bits, pool, scattered
from zerocast.simulator.engine.packed import packed_cycles
from zerocast.simulator.engine.sampled import GLANCE, sampled_cycles
from zerocast.simulator.engine.walked import walked_cycles
from zerocast.simulator.engine.window import window_cycles
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.gemm import Operand as GemmOperand

Array = NDArray[np.float64]

GLANCES = 3
"""Arrangements that are told apart by walking some rounds under each."""


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
    """Expected cycles under the arrangement that needs the fewest.

    Where lanes wait for each step along K and its steps differ in density, a queue never settles to a law. Of many
    arrangements those that mean densities put first are sampled.
    """
    scatter = scattered(gemm, skipping) is not None
    a, w = (shares_along_k(gemm, side, skip, scatter) for side, skip in zip(("input", "weight"), skips, strict=True))
    hows = skipping.arrangements
    known = a is not None and w is not None and not (skipping.wait == "step" and len(a) * len(w) > 1)
    if known or len(hows) > GLANCES:
        shares = tuple(_mean(gemm, side) if each is None else each for side, each in (("input", a), ("weight", w)))
        found = [expected_cycles(gemm, skipping, how, shares, runs) for how in hows]  # type: ignore[arg-type]
        order = sorted(range(len(hows)), key=lambda at: found[at].cycles)
        if known:
            return replace(found[order[0]], arrangement=order[0])
    else:
        order = list(range(len(hows)))
    if len(hows) > 1:
        few = order[:GLANCES]
        glances = [sampled_cycles(gemm, skipping, hows[at], skips, runs, GLANCE).cycles for at in few]
        order = [few[int(np.argmin(glances))]]
    return replace(sampled_cycles(gemm, skipping, hows[order[0]], skips, runs), arrangement=order[0])


def _mean(gemm: Gemm, side: str) -> Array:
    """The mean density of an operand, which tells arrangements apart well enough for a short list."""
    operand: GemmOperand = getattr(gemm, side)
    return np.asarray([operand.pattern.density])


def engine_turns(gemm: Gemm, accelerator: Accelerator) -> tuple[float, float]:
    """How often the weights, and the inputs, of a product are read from their buffers: once for each round of lanes
    along M, or N, that has a nonzero to meet them (zeros of the other side are not asked for where it skips)."""
    assert accelerator.skipping is not None  # the schema couples it to the dataflow
    arrangement = accelerator.skipping.arrangements[engine_cycles(gemm, accelerator).arrangement]
    conv = scattered(gemm, accelerator.skipping)
    rows = gemm.m if conv is None else conv.positions
    turns = []
    taps = 1 if conv is None else conv.taps  # a lane holds the weights of all taps
    dealt_n = deal(gemm.n * taps, arrangement.n, taps)
    for side, dealt in (("input", deal(rows, arrangement.m)), ("weight", dealt_n)):
        skipped = getattr(accelerator.sparsity, side).mode == "skip"
        turns.append(dealt.rounds * (_asked(gemm, side, conv is not None, dealt) if skipped else 1.0))
    return turns[0], turns[1]


@lru_cache(maxsize=4096)
def _asked(gemm: Gemm, side: str, scatter: bool, dealt: Dealt) -> float:
    """Share of the elements along K, over all rounds and lanes, at which a lane holds a nonzero of `side`."""
    shares = getattr(gemm, side).pattern.shares_along(fiber_of(gemm, side, scatter))
    if shares is not None:
        return float(np.mean(1 - (1 - shares) ** dealt.tile))
    bits = pool(gemm, side, scatter)
    held = replace(dealt, size=bits.shape[1], tile=min(dealt.tile, bits.shape[1]))
    met = np.asarray(held.sums(bits.astype(np.int32)), dtype=np.int32)[:, (held.shares > 0).ravel()] > 0
    return float(met.mean())


def forget() -> None:
    """Drop what is kept of products priced before, as a measurement of speed wants."""
    _engine_cycles.cache_clear()
    _quickest.cache_clear()
    _asked.cache_clear()
    pool.cache_clear()

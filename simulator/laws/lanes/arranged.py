"""Which of an engine's arrangements a product runs under, and how often each reads the buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from zerocast.accelerators.schema import Arrangement, Skipping
from zerocast.simulator.laws.lanes.dealing import Dealt, deal
from zerocast.simulator.laws.lanes.laws import shares_along_k
from zerocast.simulator.laws.lanes.losses import EngineCycles
from zerocast.simulator.laws.lanes.operands import fiber_of, pool, scattered
from zerocast.simulator.laws.lanes.times.expected import expected_cycles
from zerocast.simulator.laws.lanes.times.sampled import GLANCE, sampled_cycles
from zerocast.simulator.products.gemm import Gemm

GLANCES = 3
"""Arrangements that are told apart by walking some rounds under each."""

SLACK = 0.01
"""Cycles that are given away for an arrangement that reads the buffers less."""

Skips = tuple[bool, bool]
"""Whether zeros of the input, and of the weight, are skipped."""
Runs = tuple[int | None, int | None]
"""Bits of the run fields of the input and of the weight; None for an operand that is held without runs."""


@lru_cache(maxsize=4096)
def quickest_arrangement(gemm: Gemm, skipping: Skipping, skips: Skips, runs: Runs) -> EngineCycles:
    """Expected cycles under the arrangement that needs the fewest; of those within `SLACK`, that of fewest reads.

    Where lanes wait for each step along K and its steps differ in density, a queue never settles to a law. Of many
    arrangements those that mean densities put first are sampled.
    """
    scatter = scattered(gemm, skipping) is not None
    a, w = (shares_along_k(gemm, side, skip, scatter) for side, skip in zip(("input", "weight"), skips, strict=True))
    hows = skipping.arrangements
    order: Sequence[int] = range(len(hows))
    known = a is not None and w is not None and not (skipping.wait == "step" and len(a) * len(w) > 1)
    known = known and gemm.mask.shares_along(gemm.output.fiber) is not None
    if known or len(hows) > GLANCES:
        means = [np.asarray([operand.pattern.density]) for operand in (gemm.input, gemm.weight)]
        shares = means[0] if a is None else a, means[1] if w is None else w
        found = [expected_cycles(gemm, skipping, how, shares, runs) for how in hows]
        if known:
            best = _best(gemm, skipping, skips, order, [each.cycles for each in found])
            return replace(found[best], arrangement=best)
        order = sorted(order, key=lambda at: found[at].cycles)[:GLANCES]
    best = order[0]
    if len(order) > 1:
        glances = [sampled_cycles(gemm, skipping, hows[at], skips, runs, GLANCE).cycles for at in order]
        best = _best(gemm, skipping, skips, order, glances)
    return replace(sampled_cycles(gemm, skipping, hows[best], skips, runs), arrangement=best)


def _best(gemm: Gemm, skipping: Skipping, skips: Skips, order: Sequence[int], cycles: Sequence[float]) -> int:
    """Of the arrangements `order`, which take `cycles`, that of fewest words read among the quickest."""
    near = [at for at, each in zip(order, cycles, strict=True) if each <= min(cycles) * (1 + SLACK)]
    if len(near) == 1:
        return near[0]

    def words(at: int) -> float:
        for_weights, for_inputs = turns(gemm, skipping, skipping.arrangements[at], skips)
        inputs, weights = gemm.input.unique * gemm.input.pattern.density, gemm.n * gemm.k * gemm.weight.pattern.density
        return inputs * for_inputs + weights * for_weights

    return min(near, key=words)


def turns(gemm: Gemm, skipping: Skipping, arrangement: Arrangement, skips: Skips) -> tuple[float, float]:
    """How often the weights, and the inputs, of a product are read from their buffers: once for each round of lanes
    along M, or N, that has a nonzero to meet them (zeros of the other side are not asked for where it skips)."""
    conv = scattered(gemm, skipping)
    rows, taps = (gemm.m, 1) if conv is None else (conv.positions, conv.taps)
    dealt = deal(rows, arrangement.m), deal(gemm.n * taps, arrangement.n, taps)  # a lane holds a filter's taps together
    times = [
        each.rounds * (asked(gemm, side, conv is not None, each) if skip else 1.0)
        for side, each, skip in zip(("input", "weight"), dealt, skips, strict=True)
    ]
    return times[0], times[1]


@lru_cache(maxsize=4096)
def asked(gemm: Gemm, side: str, scatter: bool, dealt: Dealt) -> float:
    """Share of the elements along K, over all rounds and lanes, at which a lane holds a nonzero of `side`."""
    shares = getattr(gemm, side).pattern.shares_along(fiber_of(gemm, side, scatter))
    if shares is not None:
        return float(np.mean(1 - (1 - shares) ** dealt.tile))
    bits = pool(gemm, side, scatter)
    held = replace(dealt, size=bits.shape[1])
    met = np.asarray(held.sums(bits.astype(np.int32)), dtype=np.int32)[:, (held.shares > 0).ravel()] > 0
    return float(met.mean())

"""Law packed: the nonzeros of the stationary operand fill the multipliers, the other one streams past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.engine.laws import shares_along_k
from zerocast.simulator.engine.losses import EngineCycles
from zerocast.simulator.engine.operands import operand_bits, pool
from zerocast.simulator.gemm import Gemm
from zerocast.workloads.patterns import DENSE

Array = NDArray[np.float64]


def packed_cycles(
    gemm: Gemm, skipping: Skipping, skips: tuple[bool, bool], multipliers: int, masks: bool
) -> EngineCycles:
    """Cycles with the operand stationary that needs the fewest, of those (a, w) that are skipped on."""
    sides = [side for side, skip in zip(("input", "weight"), skips, strict=True) if skip]
    found = [_stationary(gemm, side, skipping, multipliers, masks) for side in sides]
    if not found:
        whole = replace(gemm, input=replace(gemm.input, pattern=DENSE))
        return _stationary(whole, "input", skipping, multipliers, masks)
    return min(found, key=lambda cost: cost.cycles)


def _stationary(gemm: Gemm, side: str, skipping: Skipping, multipliers: int, masks: bool) -> EngineCycles:
    """A cycle per streamed column for each filling of the multipliers, chunk by chunk of K, and the loading.

    cycles = columns * sum over chunks of ceil(nonzeros / multipliers) + nonzeros / load width, per product of the
    batch: with chunks of 128 the cycle counts of SIGMA (Qin et al., HPCA 2020) as the TeAAL artifact archives them.
    """
    assert skipping.chunk is not None and skipping.load_words_per_cycle is not None  # the schema asks for them
    rows, columns = (gemm.m, gemm.n) if side == "input" else (gemm.n, gemm.m)
    starts = np.arange(0, gemm.k, skipping.chunk)
    shares = shares_along_k(gemm, side, True, False)
    if masks or shares is None:
        bits = operand_bits(gemm, side) if masks else pool(gemm, side)
        # of an operand too large to draw, some items and rows stand for all
        counts = np.add.reduceat(bits.sum(axis=1, dtype=float), starts, axis=1) * rows / bits.shape[1]
        fillings = np.ceil(counts / multipliers) * gemm.batch / len(bits)
        counts = counts * gemm.batch / len(bits)
    else:
        along = np.broadcast_to(shares, (gemm.k,))
        sizes, mean, variance = (
            rows * np.add.reduceat(each, starts) for each in (np.ones(gemm.k), along, along * (1 - along))
        )
        counts = gemm.batch * mean
        fillings = gemm.batch * expected_fillings(sizes, mean, variance, multipliers)
    nonzeros = float(np.sum(counts))
    ramp = nonzeros / skipping.load_words_per_cycle
    streaming = float(np.sum(fillings)) * columns
    ideal = nonzeros * columns / multipliers
    return EngineCycles(streaming + ramp, ideal, fragmentation=streaming - ideal, ramp=ramp)


def expected_fillings(sizes: Array, mean: Array, variance: Array, multipliers: int) -> Array:
    """E[ceil(nonzeros / multipliers)]: the sum of P(nonzeros > j * multipliers), by independence of `sizes` elements
    for j = 0, by the normal law above."""
    from scipy.special import ndtr

    deviation = np.sqrt(np.maximum(variance, 1e-12))
    most = int(np.ceil((np.max(mean) + 8 * np.max(deviation)) / multipliers)) + 1
    edges = np.arange(1, most) * float(multipliers) + 0.5  # counts are whole: more than j is j + 1 or more
    above = ndtr((np.asarray(mean)[:, None] - edges) / deviation[:, None])
    return np.asarray(1 - (1 - np.minimum(mean / sizes, 1.0)) ** sizes + above.sum(axis=1))

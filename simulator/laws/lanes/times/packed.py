"""Law packed: the nonzeros of the stationary operand fill the multipliers, the other one streams past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.laws.lanes.laws import shares_along_k
from zerocast.simulator.laws.lanes.losses import EngineCycles
from zerocast.simulator.laws.lanes.operands import operand_bits, pool
from zerocast.simulator.products.gemm import Gemm
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
    """A cycle per streamed column for each filling of a chunk of K, the loading, and the tree of adders.

    cycles = columns * sum over chunks of ceil(nonzeros of the chunk / multipliers) + ceil(nonzeros / load width)
    + tree depth * ceil(nonzeros / multipliers), per product of the batch. The nonzeros lie in the multipliers one
    behind the other, whatever chunk they belong to, so that the array is filled (and its tree runs empty) as often as
    all of them fill it; a chunk streams its own columns past as often as its nonzeros need. With chunks of 128 these
    are the cycles of SIGMA (Qin et al., HPCA 2020) as the TeAAL artifact archives them, to the cycle.
    """
    assert skipping.chunk is not None and skipping.load_words_per_cycle is not None  # the schema asks for them
    rows, columns = (gemm.m, gemm.n) if side == "input" else (gemm.n, gemm.m)
    starts = np.arange(0, gemm.k, skipping.chunk)
    shares = shares_along_k(gemm, side, True, False)
    if masks or shares is None:
        bits = operand_bits(gemm, side) if masks else pool(gemm, side)
        # of an operand too large to draw, some items and rows stand for all
        counts = np.add.reduceat(bits.sum(axis=1, dtype=float), starts, axis=1) * rows / bits.shape[1]
        fillings, each = np.ceil(counts / multipliers), counts.sum(axis=1)
        loads = np.ceil(each / multipliers)
    else:
        along = np.broadcast_to(shares, (gemm.k,))
        parts = (rows * np.add.reduceat(share, starts) for share in (np.ones(gemm.k), along, along * (1 - along)))
        sizes, mean, variance = (np.append(part, part.sum()) for part in parts)  # the last one: all of K
        expected = expected_fillings(sizes, mean, variance, multipliers)
        fillings, loads, each = expected[:-1], expected[-1:], mean[-1:]
    items = gemm.batch / len(each)
    nonzeros, tree = items * float(np.sum(each)), skipping.tree_cycles(multipliers)
    ramp = items * float(np.sum(np.ceil(_whole(each) / skipping.load_words_per_cycle)) + tree * np.sum(loads))
    streaming = items * float(np.sum(fillings)) * columns
    ideal = nonzeros * columns / multipliers
    return EngineCycles(streaming + ramp, ideal, fragmentation=streaming - ideal, ramp=ramp)


def _whole(counts: Array) -> Array:
    """Counts freed of the rounding of their sum, so that a whole number of loads stays one."""
    return np.round(counts, 6)


def expected_fillings(sizes: Array, mean: Array, variance: Array, multipliers: int) -> Array:
    """E[ceil(nonzeros / multipliers)]: the sum of P(nonzeros > j * multipliers), by independence of `sizes` elements
    for j = 0, by the normal law above, between the counts j * multipliers and the next."""
    from scipy.special import ndtr

    deviation = np.sqrt(np.maximum(variance, 1e-12))
    most = int(np.ceil((np.max(mean) + 8 * np.max(deviation)) / multipliers)) + 1
    edges = np.arange(1, most) * float(multipliers) + 0.5  # counts are whole: more than j is j + 1 or more
    above = ndtr((np.asarray(mean)[:, None] - edges) / deviation[:, None])
    return np.asarray(1 - (1 - np.minimum(mean / sizes, 1.0)) ** sizes + above.sum(axis=1))

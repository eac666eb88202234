"""Law packed: the nonzeros of the stationary input fill the multipliers, the weights stream past."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelerators.schema import Skipping
from simulator.engine.losses import EngineCycles
from simulator.engine.operands import operand_bits
from simulator.gemm import Gemm

Array = NDArray[np.float64]


def packed_cycles(gemm: Gemm, skipping: Skipping, multipliers: int, masks: bool) -> EngineCycles:
    """N cycles for each filling of the multipliers, chunk by chunk of K, and the loading of the nonzeros.

    cycles = N * sum over chunks of ceil(nonzeros / multipliers) + nonzeros / load width, per product of the batch:
    with chunks of 128 the cycle counts of SIGMA (Qin et al., HPCA 2020) as the TeAAL artifact archives them.
    """
    assert skipping.chunk is not None and skipping.load_words_per_cycle is not None  # the schema asks for them
    starts = np.arange(0, gemm.k, skipping.chunk)
    if masks:
        counts = np.add.reduceat(operand_bits(gemm, "input").sum(axis=1, dtype=float), starts, axis=1)
        fillings = np.ceil(counts / multipliers)
    else:
        extents = np.minimum(skipping.chunk, gemm.k - starts)
        occupancy = gemm.input.pattern.occupancy({"rows": gemm.m * extents.astype(float)})
        counts = gemm.batch * occupancy.mean
        fillings = gemm.batch * expected_fillings(occupancy.mean, occupancy.variance, multipliers)
    nonzeros = float(np.sum(counts))
    ramp = nonzeros / skipping.load_words_per_cycle
    streaming = float(np.sum(fillings)) * gemm.n
    ideal = nonzeros * gemm.n / multipliers
    return EngineCycles(streaming + ramp, ideal, fragmentation=streaming - ideal, ramp=ramp)


def expected_fillings(mean: Array, variance: Array, multipliers: int) -> Array:
    """E[ceil(nonzeros / multipliers)] of a normal number of nonzeros: the sum of P(nonzeros > j * multipliers)."""
    from scipy.special import ndtr

    deviation = np.sqrt(np.maximum(variance, 1e-12))
    most = int(np.ceil((np.max(mean) + 8 * np.max(deviation)) / multipliers)) + 1
    edges = np.arange(1, most) * float(multipliers)
    above = ndtr((np.asarray(mean)[:, None] - edges) / deviation[:, None])
    return np.asarray((np.asarray(mean) > 0) + above.sum(axis=1))

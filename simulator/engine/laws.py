"""The zeros of an operand along K, as a law: densities of channels, and N:M groups."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.engine.operands import fiber_of, operand_bits
from zerocast.simulator.gemm import Gemm, Operand
from zerocast.workloads.patterns import NM, Mask, PerChannel

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Law:
    """Zeros of an operand along K. share: of elements that take time at each index, [K], or [1] where all are alike.

    groups: the N:M pattern whose groups lie along K, `inner` elements of K for each place of its rank.
    """

    share: Array
    groups: NM | None = None
    inner: int = 1

    def evenness(self, elements: float, met: Array) -> float:
        """Variance of the nonzeros along `elements` of K, against that of independent zeros.

        N:M groups hold a fixed number, of which an opposite side that takes time at a share `met` of the indices sees
        a random part.
        """
        if self.groups is None:
            return 1.0
        length = max(elements / self.inner, 1.0)
        density = self.groups.density
        alone = length * density * (1 - density)
        even = float(self.groups.occupancy({self.groups.rank: length}).variance) / alone if alone else 0.0
        return even + (1 - even) * (1 - float(np.mean(met)))


def law_along_k(gemm: Gemm, side: str, skip: bool, scatter: bool) -> Law:
    """What is known of an operand's zeros; all elements take time where they are not skipped."""
    operand: Operand = getattr(gemm, side)
    share = _channel_shares(gemm, side, skip, scatter)
    groups = operand.structured if skip else None
    if groups is None:
        return Law(share)
    fiber = fiber_of(gemm, side, scatter)
    at = [rank for rank, _ in fiber].index(groups.rank)
    return Law(share, groups, math.prod(size for _, size in fiber[at + 1 :]))


def _channel_shares(gemm: Gemm, side: str, skip: bool, scatter: bool) -> Array:
    operand: Operand = getattr(gemm, side)
    pattern = operand.pattern
    if not skip or pattern.is_dense:
        return np.ones(1)
    if isinstance(pattern, Mask):
        return np.asarray(operand_bits(gemm, side, scatter).mean(axis=(0, 1)))
    fiber = fiber_of(gemm, side, scatter)
    depth = math.prod(size for _, size in fiber)
    if isinstance(pattern, PerChannel) and dict(fiber).get(pattern.rank) == len(pattern.shares):
        at = [rank for rank, _ in fiber].index(pattern.rank)
        inner = math.prod(size for _, size in fiber[at + 1 :])
        outer = depth // (len(pattern.shares) * inner)
        return np.tile(np.repeat(np.asarray(pattern.shares), inner), outer)
    return np.asarray([pattern.density])

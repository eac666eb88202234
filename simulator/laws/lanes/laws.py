"""The zeros of an operand along K as a law of independent elements, where that is all there is to know of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.laws.lanes.operands import fiber_of
from zerocast.simulator.products.gemm import Gemm, Operand

Array = NDArray[np.float64]

INSIDE = 0.97
"""Share of the places of gathered windows that lie in the image, below which the padding is not spread evenly but
laid out: it lies at the edges, where lanes meet more of it than elsewhere."""


def shares_along_k(gemm: Gemm, side: str, skip: bool, scatter: bool) -> Array | None:
    """Share of an operand's elements that take time at each index of K, [K], or [1] where all are alike.

    All do where zeros are not skipped. None where zeros depend on one another, or on the row or column: there only
    a draw (or the mask) shows how they meet the lanes.
    """
    if not skip:
        return np.ones(1)
    operand: Operand = getattr(gemm, side)
    shares = operand.pattern.shares_along(fiber_of(gemm, side, scatter))
    if shares is None or side == "weight" or scatter or gemm.conv is None:
        return shares
    return shares * gemm.conv.inside if gemm.conv.inside >= INSIDE else None

"""How many multiplications of a product have nonzeros on the sides that matter: real zeros meet where they lie."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.laws.lanes.operands import MOST_ELEMENTS, cut, operand_bits
from zerocast.simulator.products.gemm import Gemm

Array = NDArray[np.float64]

SIDES = ("input", "weight")


def effectual_macs(gemm: Gemm) -> float:
    """Multiply-accumulates with both operands nonzero, of the outputs that are asked for. Padding around an image
    counts as the image does: what is counted are zeros of the tensors."""
    return gemm.macs * met_share(gemm, SIDES) * gemm.mask.density


def met_share(gemm: Gemm, sides: Collection[str]) -> float:
    """Share of the multiply-accumulates at which every one of `sides` is nonzero.

    All of a product's rows meet all of its columns, so that the pairs at an index of K are the nonzeros there of one
    side times those of the other. Only where both sides have other densities at some places than at others does that
    differ from the product of their mean densities.
    """
    varying = [side for side in sides if not _constant(gemm, side)]
    share = float(np.prod([getattr(gemm, side).pattern.density for side in sides if side not in varying]))
    if len(varying) < 2:
        return share * float(np.prod([getattr(gemm, side).pattern.density for side in varying]))
    return share * _meeting(gemm)


def _constant(gemm: Gemm, side: str) -> bool:
    shares = getattr(gemm, side).pattern.shares_along(getattr(gemm, side).fiber)
    return shares is not None and len(shares) == 1


@lru_cache(maxsize=4096)
def _meeting(gemm: Gemm) -> float:
    at_k = [_shares(gemm, side) for side in SIDES]
    items = min(len(each) for each in at_k if len(each) > 1) if any(len(each) > 1 for each in at_k) else 1
    at_k = [each[:items] for each in at_k]  # of operands too large to lay out, the batch may be cut
    return float(np.mean(np.prod(np.broadcast_arrays(*at_k), axis=0)))


def _shares(gemm: Gemm, side: str) -> Array:
    """Share of an operand's rows (columns) that are nonzero, [batch or 1, K]: expected, or counted where it is a mask
    or depends on the row."""
    shares = getattr(gemm, side).pattern.shares_along(getattr(gemm, side).fiber)
    if shares is not None:
        return shares[None]
    return np.asarray(operand_bits(cut(gemm, side, most=MOST_ELEMENTS), side, beyond=True).mean(axis=1))

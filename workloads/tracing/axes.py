"""How the dimensions of a traced tensor are called in the einsum that reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from zerocast.workloads.ir import Affine, Einsum

POSITION = {"r": "h", "s": "w", "t": "d"}
"""Rank of a convolution's input position, by the kernel rank that moves over it. The einsum has no rank of its
own for it: h = p * stride + r * dilation - padding, with 0 <= h < height of the stored tensor, so that the
padding (which no stored mask holds) lies outside."""


def mask_ranks(op: Einsum, operand: int, shape: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Names and extents of a mask's dimensions for operand 0 or 1 of `op`, a tensor of `shape`.

    A dimension that is one rank has its name; one that is a mix (group * size + channel) is split into its ranks,
    in row-major order; a window has the name in `POSITION`. So an image is (n, c, h, w), of a depthwise
    convolution (n, g, c, h, w), rows of a linear layer (m0, .., c). None where the tensor is read through a view
    that leaves no such names.
    """
    names: list[str] = []
    sizes: list[int] = []
    index = op.index[operand]
    if len(index) != len(shape):
        # the einsum is written on a reshaped view, whose extents are the ranks' own
        if any(_is_window(affine) for affine in index):
            return None
        shape = [_span(affine, op.sizes) for affine in index] if math.prod(shape) else shape
    for affine, size in zip(index, shape, strict=True):
        found = _split(affine, size, op.sizes)
        if found is None:
            return None
        names += [name for name, _ in found]
        sizes += [extent for _, extent in found]
    return (tuple(names), tuple(sizes)) if len(set(names)) == len(names) else None


def channel_axis(op: Einsum, operand: int, shape: Sequence[int]) -> int | None:
    """The tensor's dimension that the einsum sums over: channels of an image, features of a row."""
    return _last(op, operand, shape, lambda rank: rank[0] in "cg")


def token_axis(op: Einsum, operand: int, shape: Sequence[int]) -> int | None:
    """The dimension that counts tokens: the last row dimension of operand 0 after the batch, None for images."""
    if operand or any(_is_window(affine) for affine in op.index[0]):
        return None
    axis = _last(op, operand, shape, lambda rank: rank[0] == "m")
    return axis or None  # dimension 0 is the batch


def _last(op: Einsum, operand: int, shape: Sequence[int], wanted: Callable[[str], bool]) -> int | None:
    index = op.index[operand]
    if len(index) != len(shape):
        return None
    hits = [axis for axis, affine in enumerate(index) if any(wanted(rank) for rank, _ in affine)]
    return hits[-1] if hits else None


def _is_window(affine: Affine) -> bool:
    return any(rank in POSITION for rank, _ in affine)


def _span(affine: Affine, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[rank] for rank, _ in affine)


def _split(affine: Affine, size: int, sizes: Mapping[str, int]) -> list[tuple[str, int]] | None:
    """Ranks that together are this dimension of `size`, outermost first."""
    if _is_window(affine):
        return [(next(POSITION[rank] for rank, _ in affine if rank in POSITION), size)]
    terms = sorted(affine, key=lambda term: (-term[1], -sizes[term[0]]))
    ranks = [(rank, sizes[rank]) for rank, _ in terms]
    steps = [math.prod(extent for _, extent in ranks[at + 1 :]) for at in range(len(ranks))]
    exact = all(by == step or extent == 1 for (_, by), step, (_, extent) in zip(terms, steps, ranks, strict=True))
    return ranks if exact and math.prod(extent for _, extent in ranks) == size else None

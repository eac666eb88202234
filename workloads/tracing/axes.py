"""How the dimensions of a traced tensor are called in the einsum that reads it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from zerocast.workloads.ir import Affine, Einsum


def mask_ranks(op: Einsum, operand: int, shape: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Names and extents of a mask's dimensions for operand 0 or 1 of `op`, a tensor of `shape`.

    A dimension that is one rank has its name; one that is a mix (group * size + channel) is split into its ranks,
    in row-major order; a window has the name of its own that `Einsum.windows` gives it, as no rank of the einsum runs
    along the image (h = p * stride + r * dilation - padding, with 0 <= h < height of the stored tensor, so that the
    padding, which no stored mask holds, lies outside). So an image is (n, c, p+r, q+s), of a depthwise convolution
    (n, g, c, p+r, q+s), rows of a linear layer (m0, .., c). None where the tensor is read through a view that leaves
    no such names.
    """
    names: list[str] = []
    sizes: list[int] = []
    index = op.index[operand]
    windows = {window.axis: window.name for window in op.windows(operand)}
    if len(index) != len(shape):
        # the einsum is written on a reshaped view, whose extents are the ranks' own
        if windows:
            return None
        shape = [_span(affine, op.sizes) for affine in index] if math.prod(shape) else shape
    for axis, (affine, size) in enumerate(zip(index, shape, strict=True)):
        found = [(windows[axis], size)] if axis in windows else _split(affine, size, op.sizes)
        if found is None:
            return None
        names += [name for name, _ in found]
        sizes += [extent for _, extent in found]
    return (tuple(names), tuple(sizes)) if len(set(names)) == len(names) else None


def channel_axis(op: Einsum, operand: int, shape: Sequence[int]) -> int | None:
    """The tensor's dimension that the einsum sums over: channels of an image, features of a row."""
    taps = {window.tap for window in op.windows(operand)}
    summed = op.ranks_of(operand) & op.ranks_of(1 - operand) - op.ranks_of(2) - taps
    return _last(op, operand, shape, summed)


def token_axis(op: Einsum, operand: int, shape: Sequence[int]) -> int | None:
    """The dimension that counts tokens: the last row dimension of operand 0 after the batch, None for images."""
    if operand or op.windows(0):
        return None
    axis = _last(op, operand, shape, op.ranks_of(0) & op.ranks_of(2) - op.ranks_of(1))
    return axis or None  # dimension 0 is the batch


def _last(op: Einsum, operand: int, shape: Sequence[int], wanted: Collection[str]) -> int | None:
    index = op.index[operand]
    if len(index) != len(shape):
        return None
    hits = [axis for axis, affine in enumerate(index) if any(rank in wanted for rank, _ in affine)]
    return hits[-1] if hits else None


def _span(affine: Affine, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[rank] for rank, _ in affine)


def _split(affine: Affine, size: int, sizes: Mapping[str, int]) -> list[tuple[str, int]] | None:
    """Ranks that together are this dimension of `size`, outermost first."""
    terms = sorted(affine, key=lambda term: (-term[1], -sizes[term[0]]))
    ranks = [(rank, sizes[rank]) for rank, _ in terms]
    steps = [math.prod(extent for _, extent in ranks[at + 1 :]) for at in range(len(ranks))]
    exact = all(by == step or extent == 1 for (_, by), step, (_, extent) in zip(terms, steps, ranks, strict=True))
    return ranks if exact and math.prod(extent for _, extent in ranks) == size else None

"""The nonzeros of a product's operands as bits: real masks, or drawn from their law with a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Conv, Gemm

Bits = NDArray[np.bool_]

SEED = 0
"""Seed of what is drawn where a pattern is only known as a law."""

MOST_ELEMENTS = 500_000_000
"""Elements of an operand that are laid out at most, one byte each."""


POOL_ELEMENTS = 2**25
"""Elements of an operand from which an expectation is drawn at most."""


def operand_bits(gemm: Gemm, side: str, scatter: bool = False, beyond: bool = False) -> Bits:
    """True where an operand is nonzero: input [batch, rows, K], weight [batch, columns, K].

    beyond: what stands for places outside an image, which an engine skips like any zero.

    scatter: the layout of engines that do not gather windows: K holds input channels only, the rows of the input
    are its positions, the columns of the weight are output channels times kernel positions.
    Raises `SimulationError` for a mask whose ranks are not the operand's, and for more than `MOST_ELEMENTS`.
    """
    operand = gemm.input if side == "input" else gemm.weight
    across, fiber = operand.across, fiber_of(gemm, side, scatter)
    if scatter and gemm.conv is not None:
        inner = tuple((rank, size) for rank, size in across if rank not in _positions(gemm.conv))
        across = (*inner, *_image(gemm.conv)) if side == "input" else (*across, *_kernel(gemm.conv, gemm.weight.fiber))
    axes = (*gemm.outer, *across, *fiber)
    split = math.prod(size for _, size in across)
    classes = gemm.batch // math.prod(size for _, size in gemm.outer)
    shape = (gemm.batch // classes, split, math.prod(size for _, size in fiber))
    if math.prod(shape) > MOST_ELEMENTS:
        raise SimulationError(
            f"the tile fidelity would lay out {math.prod(shape):,} elements of a {gemm.m} x {gemm.n} x {gemm.k} "
            "product; use --fidelity analytic or a smaller batch"
        )
    if operand.pattern.is_dense and (side == "weight" or scatter or gemm.conv is None or beyond):
        return np.broadcast_to(np.True_, (gemm.batch, *shape[1:]))
    rng = np.random.default_rng((SEED, side == "weight"))
    ranks, bits = operand.pattern.draw(_stored(gemm, side, dict(axes)), rng)
    bits = _lay_out(bits, ranks, dict(axes), gemm.conv, str(operand.pattern), beyond).reshape(shape)
    return np.repeat(bits, classes, axis=0) if classes > 1 else bits


def of_outputs(gemm: Gemm) -> Gemm:
    """The product with the mask of its outputs in the place of the weight: rows along M, and N for K."""
    return replace(gemm, weight=replace(gemm.output, pattern=gemm.mask))


@lru_cache(maxsize=4)
def pool(gemm: Gemm, side: str, scatter: bool = False, most: int = POOL_ELEMENTS) -> Bits:
    """`operand_bits`, but of an operand of more than `most` elements only a part: [some batch, some rows, K]."""
    return operand_bits(cut(gemm, side, scatter, most), side, scatter)


def cut(gemm: Gemm, side: str, scatter: bool = False, most: int = POOL_ELEMENTS) -> Gemm:
    """The product with no more than `most` elements of one operand, for its zeros alone: outermost ranks are cut
    first, K never, and one row of one item is always left."""
    operand = gemm.input if side == "input" else gemm.weight
    fixed = math.prod(size for _, size in fiber_of(gemm, side, scatter))
    windows: tuple[str, ...] = ()
    if scatter and gemm.conv is not None:
        windows, kernel = _positions(gemm.conv), _kernel(gemm.conv, operand.fiber)
        fixed *= math.prod(size for _, size in (_image(gemm.conv) if side == "input" else kernel))
    left = max(most // max(fixed, 1), 1)
    outer, across = dict(gemm.outer), dict(operand.across)
    for ranks in (across, outer):
        for rank in (rank for rank in reversed(ranks) if rank not in windows):
            ranks[rank] = min(ranks[rank], left)
            left = max(left // ranks[rank], 1)
    classes = gemm.batch // math.prod(size for _, size in gemm.outer)
    part = replace(operand, across=tuple(across.items()))
    found = replace(gemm, batch=classes * math.prod(outer.values()), outer=tuple(outer.items()))
    return replace(found, input=part) if side == "input" else replace(found, weight=part)


def fiber_of(gemm: Gemm, side: str, scatter: bool) -> tuple[tuple[str, int], ...]:
    """Ranks along an operand's K, outermost first: without the kernel positions where the engine scatters."""
    fiber: tuple[tuple[str, int], ...] = getattr(gemm, side).fiber
    if not scatter or gemm.conv is None:
        return fiber
    return tuple((rank, size) for rank, size in fiber if rank not in _taps(gemm.conv))


def scattered(gemm: Gemm, skipping: Skipping) -> Conv | None:
    """The convolution that an engine scatters; None where it gathers, or where there is none."""
    return gemm.conv if skipping.convolution == "scatter" else None


def _positions(conv: Conv) -> tuple[str, ...]:
    return tuple(window.position for window in conv.windows)


def _taps(conv: Conv) -> tuple[str, ...]:
    return tuple(window.tap for window in conv.windows)


def _image(conv: Conv) -> tuple[tuple[str, int], ...]:
    """Dimensions of the stored image, under the names that masks have for them."""
    return tuple((window.name, size) for window, size in zip(conv.windows, (conv.height, conv.width), strict=False))


def _kernel(conv: Conv, fiber: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return tuple((rank, size) for rank, size in fiber if rank in _taps(conv))


def _stored(gemm: Gemm, side: str, axes: Mapping[str, int]) -> dict[str, int]:
    """Ranks of the operand's tensor: those of the product, with the image in place of its windows."""
    if side == "weight" or gemm.conv is None:
        return dict(axes)
    image = dict(_image(gemm.conv))
    windows = (*_positions(gemm.conv), *_taps(gemm.conv))
    return {**{rank: size for rank, size in axes.items() if rank not in windows and rank not in image}, **image}


def _lay_out(
    bits: Bits, ranks: tuple[str, ...], axes: Mapping[str, int], conv: Conv | None, what: str, beyond: bool
) -> Bits:
    """The operand's bits over the product's ranks: windows gathered (`beyond` outside the image), missing ranks
    repeated, kernel positions beyond those that a product takes left out."""
    grid = dict(zip(axes, np.ogrid[tuple(slice(size) for size in axes.values())], strict=True)) if axes else {}
    image = {window.name: axis for axis, window in enumerate(conv.windows)} if conv is not None else {}
    index: list[NDArray[np.intp]] = []
    outside: Bits | None = None
    for rank, size in zip(ranks, bits.shape, strict=True):
        if rank in grid:
            if axes[rank] > size:
                raise SimulationError(_unfit(what, rank, size, axes))
            index.append(grid[rank])
        elif conv is not None and rank in image and conv.windows[image[rank]].position in grid:
            place, out = _window(conv, image[rank], grid, size)
            index.append(place)
            outside = out if outside is None else outside | out
        elif size == 1:
            index.append(np.zeros((1,) * len(axes), dtype=np.intp))
        else:
            raise SimulationError(_unfit(what, rank, size, axes))
    if len(ranks) == len(axes) and all(rank in grid for rank in ranks) and list(ranks) == list(axes):
        return bits[tuple(slice(axes[rank]) for rank in ranks)]
    laid = bits[tuple(index)]
    if outside is not None:
        laid = laid | outside if beyond else laid & ~outside
    return np.broadcast_to(laid, tuple(axes.values()))


def _window(conv: Conv, axis: int, grid: Mapping[str, NDArray[np.intp]], size: int) -> tuple[NDArray[np.intp], Bits]:
    """Image position of every (output, kernel) position along one dimension, and where it lies in the padding."""
    window = conv.windows[axis]
    taps = grid.get(window.tap, np.zeros(1, dtype=np.intp))
    place = grid[window.position] * conv.stride[axis] + taps * conv.dilation[axis] - conv.padding[axis]
    return np.clip(place, 0, size - 1), (place < 0) | (place >= size)


def _unfit(what: str, rank: str, size: int, axes: Mapping[str, int]) -> str:
    return (
        f"the zeros {what} have {size} places along rank {rank!r}, which does not fit the product's ranks "
        f"{dict(axes)}; prune or trace the model that is simulated"
    )

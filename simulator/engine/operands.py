"""The nonzeros of a product's operands as bits: real masks, or drawn from their law with a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm import Conv, Gemm
from zerocast.workloads.patterns import NM, Block, Mask, Pattern, PerChannel

Bits = NDArray[np.bool_]

SEED = 0
"""Seed of what is drawn where a pattern is only known as a law."""

MOST_ELEMENTS = 500_000_000
"""Elements of an operand that are laid out at most, one byte each."""


def operand_bits(gemm: Gemm, side: str, scatter: bool = False) -> Bits:
    """True where an operand is nonzero: input [batch, rows, K], weight [batch, columns, K].

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
    stored = _stored(gemm, side, dict(axes))
    ranks, bits = _bits(operand.pattern, stored, side)
    bits = _lay_out(bits, ranks, dict(axes), gemm.conv, str(operand.pattern)).reshape(shape)
    return np.repeat(bits, classes, axis=0) if classes > 1 else bits


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


def _bits(pattern: Pattern, stored: Mapping[str, int], side: str) -> tuple[tuple[str, ...], Bits]:
    """The operand's own bits with the names of their dimensions."""
    if isinstance(pattern, Mask):
        return pattern.ranks, pattern.bits
    ranks, shape = tuple(stored), tuple(stored.values())
    if pattern.is_dense:
        return ranks, np.ones(shape, dtype=bool)
    rng = np.random.default_rng((SEED, side == "weight"))
    if isinstance(pattern, NM) and stored.get(pattern.rank, 0) >= pattern.m:
        return ranks, _drawn_nm(pattern, ranks, shape, rng)
    if isinstance(pattern, Block):
        return ranks, _drawn_blocks(pattern, ranks, shape, rng)
    share = np.asarray(pattern.density, dtype=np.float32)
    if isinstance(pattern, PerChannel) and stored.get(pattern.rank) == len(pattern.shares):
        along = [-1 if rank == pattern.rank else 1 for rank in ranks]
        share = np.asarray(pattern.shares, dtype=np.float32).reshape(along)
    return ranks, rng.random(shape, dtype=np.float32) < share


def _drawn_nm(pattern: NM, ranks: tuple[str, ...], shape: tuple[int, ...], rng: np.random.Generator) -> Bits:
    """N of every M along the pattern's rank; of a cut last group at most N."""
    axis = ranks.index(pattern.rank)
    moved = [size for at, size in enumerate(shape) if at != axis]
    groups = -(-shape[axis] // pattern.m)
    score = rng.random((*moved, groups, pattern.m), dtype=np.float32)
    rest = shape[axis] - (groups - 1) * pattern.m
    score[..., -1, rest:] = 2.0
    place = np.argsort(np.argsort(score, axis=-1), axis=-1)
    bits = (place < pattern.n).reshape(*moved, -1)[..., : shape[axis]]
    return np.moveaxis(bits, -1, axis)


def _drawn_blocks(pattern: Block, ranks: tuple[str, ...], shape: tuple[int, ...], rng: np.random.Generator) -> Bits:
    """One draw for each block; ranks that a block spans whole have one draw, others a draw for each element."""
    extents = dict(pattern.shape)
    sides = [extents.get(rank, size if pattern.whole else 1) for rank, size in zip(ranks, shape, strict=True)]
    bits: Bits = rng.random([-(-size // side) for size, side in zip(shape, sides, strict=True)]) < pattern.share
    for axis, (size, side) in enumerate(zip(shape, sides, strict=True)):
        if side > 1:
            bits = np.repeat(bits, side, axis=axis).take(range(size), axis=axis)
    return bits


def _lay_out(bits: Bits, ranks: tuple[str, ...], axes: Mapping[str, int], conv: Conv | None, what: str) -> Bits:
    """The operand's bits over the product's ranks: windows gathered (zero outside the image), missing ranks
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
            place, beyond = _window(conv, image[rank], grid, size)
            index.append(place)
            outside = beyond if outside is None else outside | beyond
        elif size == 1:
            index.append(np.zeros((1,) * len(axes), dtype=np.intp))
        else:
            raise SimulationError(_unfit(what, rank, size, axes))
    if len(ranks) == len(axes) and all(rank in grid for rank in ranks) and list(ranks) == list(axes):
        return bits[tuple(slice(axes[rank]) for rank in ranks)]
    laid = bits[tuple(index)]
    if outside is not None:
        laid = laid & ~outside
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

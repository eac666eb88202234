"""Time of a sparse kernel: what its format stores, what its indices gather, what it multiplies, and its floor.

One law for all classes; how they differ is data (`accelerators.schema.SparseKernel`). out[M, N] = x[M, K] W[N, K]^T
with zeros in W: a row of entries of the format (rows of W that share their indices) walks its stored entries, and for
each fetches the places of x that it meets from the caches. What comes from off chip and what is gathered overlap, as
the p-norm of both; arithmetic and floor add up, since the kernels wait for the indices before they can multiply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import KernelConstants, SparseKernel
from zerocast.simulator.gpu.card import Card

Array = NDArray[np.float64]

SECTOR_BYTES = 32
"""Least that the caches of an SM fetch at once."""
OVERLAP = 3.0
"""Exponent of the p-norm of gathering and off-chip traffic (chosen among 1, 2, 3 on the tables of the calibration)."""
COLUMNS, LINES = 64, 4
"""Rows of activations that a thread block works on, and rows of entries of so many that keep an SM busy (assumption:
all measured products have more)."""
PAIR_BITS = 2
"""Bits that say which of four a value of a 2:4 pair is."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Products by a sparse matrix of n rows and k columns, m rows of activations each. Fields broadcast.

    filled: share of the entries of the format that hold a nonzero. density: share of nonzeros. height: rows of an
    entry. uneven: nonzeros of the fullest of the rows that run in lock step over their mean; arithmetic and gathering
    wait for it, the memory does not, which other rows keep busy.
    """

    m: ArrayLike
    n: ArrayLike
    k: ArrayLike
    filled: ArrayLike
    density: ArrayLike
    height: ArrayLike = 1
    element_bytes: ArrayLike = 2
    uneven: ArrayLike = 1.0


@dataclass(frozen=True, slots=True)
class SparseTimes:
    """Seconds of products under a kernel, and what they are made of before it overlaps; all of one shape.

    macs: multiply-accumulates, stored zeros included. matrix_bytes: of the stored matrix with its indices.
    """

    seconds: Array
    compute_s: Array
    gather_s: Array
    off_chip_s: Array
    macs: Array
    matrix_bytes: Array


def sparse_times(
    kernel: SparseKernel, constants: KernelConstants, card: Card, matrix: Matrix, dirty_bytes: float = 0.0,
    floor_s: float = 0.0,
) -> SparseTimes:  # fmt: skip
    """Times of the products under a kernel.

    floor_s: the smallest dense kernel of the card: a sparse one is launched alike.
    dirty_bytes: written lines that fill the L2 when the kernel starts and go off chip as its operands come in, as
    where a benchmark empties the L2 by writing before every run.
    """
    m, n, k, filled, density, height, size, uneven = np.broadcast_arrays(
        *(np.asarray(getattr(matrix, name), dtype=float) for name in Matrix.__slots__)
    )
    lines = np.ceil(n / height)
    entries = _stored_entries(kernel, k, filled)
    met = np.minimum(entries * kernel.width / k, 1.0)
    cycles = card.sms * card.clock_hz
    busy = np.minimum(lines * np.ceil(m / COLUMNS) / (LINES * card.sms), 1.0)
    macs = lines * entries * height * kernel.width * m
    compute_s = uneven * macs / (busy * _macs_per_s(constants, card))
    gathered = lines * _gathered_bytes(m, k, met, lines, size, constants)
    gather_s = uneven * gathered / (busy * constants.gather * cycles if constants.gather else np.inf)
    values = n * k * density * (size + PAIR_BITS / 8) if kernel.panels else macs / m * size
    stored = values + lines * entries * kernel.index_bits / 8
    met_by_any = 1 - (1 - np.minimum(met, 1 - 1e-12)) ** lines
    moved = stored + lines * entries * _scattered(constants, entries) + (k * met_by_any + n) * m * size
    if dirty_bytes:
        moved = moved - dirty_bytes * np.expm1(-moved / dirty_bytes)
    off_chip_s = moved / (constants.dram * card.dram_bytes_per_s)
    overlapped = (gather_s**OVERLAP + off_chip_s**OVERLAP) ** (1 / OVERLAP)
    seconds = max(constants.floor_s, floor_s) + compute_s + overlapped + constants.output_cycles * m * n / cycles
    return SparseTimes(seconds, compute_s, gather_s, off_chip_s, macs, stored)


def _macs_per_s(c: KernelConstants, card: Card) -> float:
    """Rate of a kernel's arithmetic."""
    if c.tensor:
        return c.tensor * card.macs16_per_s
    return c.macs * card.sms * card.clock_hz if c.macs else np.inf


def _scattered(c: KernelConstants, entries: Array) -> Array:
    """Bytes that an entry of a long row moves beyond its own."""
    return np.asarray(c.scattered_bytes / (1 + (c.scattered_row / np.maximum(entries, 1e-9)) ** c.scattered_sharpness))


def _stored_entries(kernel: SparseKernel, k: Array, filled: Array) -> Array:
    """Entries that a row of them stores, with those that rounding and short indices add.

    An index of a distance that reaches R places asks for a stored zero in each run of R - 1 zeros: of independent
    zeros a share (1 - filled)^R of the stored ones.
    """
    entries = k / kernel.width * filled
    if kernel.index_span:
        entries = entries / np.maximum(1 - (1 - filled) ** kernel.index_span, 1e-9)
    return np.asarray(np.ceil(entries / kernel.step) * kernel.step if kernel.step > 1 else entries)


def _gathered_bytes(m: Array, k: Array, met: Array, lines: Array, size: Array, c: KernelConstants) -> Array:
    """Bytes of activations that one row of entries gathers: whole sectors, of which rows on the same SM share some.

    Of R rows side by side, each of which meets a place with the same probability, the first to come fetches it:
    (1 - (1 - met)^R) / (R met) of all fetches. R grows with the rows of the matrix, since blocks of an SM work on
    the same columns of x only where there are enough of them.
    """
    slice_bytes = m * size
    neighbours = np.maximum(SECTOR_BYTES / slice_bytes, 1.0)
    sectors = k / neighbours * (1 - (1 - met) ** neighbours)
    rows = 1 + (c.sharing_rows - 1) * lines / (lines + c.tall_rows)
    first = (1 - (1 - met) ** rows) / np.maximum(rows * met, 1e-12)
    return np.asarray(sectors * np.maximum(slice_bytes, SECTOR_BYTES) * np.minimum(first, 1.0))

"""How many bits a tile takes in a compression format, from its sparsity pattern alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.patterns import Extents, Pattern, tile_size
from zerocast.workloads.patterns.base import Array

RUN_BITS = 5
"""Width of the run field where the format's name gives none: Eyeriss (Chen et al., JSSC 2017)."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Expected bits of a tile: the words stored, and what tells where they belong."""

    value_bits: Array
    metadata_bits: Array

    @property
    def bits(self) -> Array:
        """Values and metadata together."""
        return self.value_bits + self.metadata_bits


def formats() -> list[str]:
    """Names of the formats; `run_length` also takes the width of its run field, as in `run_length:4`."""
    return list(_FORMATS)


def storage_bits(fmt: str, pattern: Pattern, tile: Extents, word_bits: ArrayLike) -> Storage:
    """Expected bits of a tile of shape `tile` whose words have `word_bits`, broadcast over both.

    | format | metadata |
    |---|---|
    | uncompressed | none; zeros are stored |
    | bitmask | one bit per element |
    | run_length:B | B bits that count the zeros before each word; runs of 2^B zeros store a zero |
    | coordinate | ceil(log2 extent) bits of each rank per nonzero |
    | csr | a pointer per row and one more, a column index per nonzero; rows are the tile's first rank |
    | nm_offsets | ceil(log2 M) bits per kept value of an N:M pattern |

    Raises `WorkloadError` for an unknown format, a run field of no width, and nm_offsets of another pattern.
    """
    name, _, field = fmt.partition(":")
    if name not in _FORMATS:
        raise WorkloadError(f"unknown format {fmt!r}; {closest(name, _FORMATS)}")
    if field and name != "run_length":
        raise WorkloadError(f"format {fmt!r}: only run_length takes a width; write {name!r}")
    word = np.asarray(word_bits, dtype=float)
    if name == "run_length":
        words, metadata = _run_length(pattern, tile, _run_bits(fmt, field))
    else:
        words, metadata = _FORMATS[name](pattern, tile)
    values, metadata, _ = np.broadcast_arrays(words * word, metadata, word)
    return Storage(values, metadata)


def _uncompressed(pattern: Pattern, tile: Extents) -> tuple[Array, Array]:
    return tile_size(tile), np.asarray(0.0)


def _bitmask(pattern: Pattern, tile: Extents) -> tuple[Array, Array]:
    return pattern.expected(tile), tile_size(tile)


def _run_length(pattern: Pattern, tile: Extents, bits: int = RUN_BITS) -> tuple[Array, Array]:
    """Nonzeros and padding words, each with a run field.

    A word is padded in after every 2^B zeros that a nonzero still follows (EIE, Han et al., ISCA 2016,
    section III-B: B = 4); zeros after the last nonzero take nothing, since the tile's size is known.
    With zeros taken as independent, a tile of S has at least j zeros before a nonzero in (S - j) p (1 - p)^j
    places, so that the expected padding is p * sum over i >= 1 of (S - i R) x^i, with R = 2^B and
    x = (1 - p)^R.
    """
    size, nonzeros = tile_size(tile), pattern.expected(tile)
    share = np.clip(nonzeros / size, 0.0, 1.0)
    run = 2.0**bits
    x = (1.0 - share) ** run
    full = np.floor(size / run)
    far = 1.0 - x
    # share = 0 makes x = 1, where both closed sums are 0 / 0; there is nothing to store then.
    gap = np.where(far > 0, far, 1.0)
    plain = x * (1.0 - x**full) / gap
    weighted = x * (1.0 - (full + 1.0) * x**full + full * x ** (full + 1.0)) / gap**2
    padding = np.where(far > 0, share * (size * plain - run * weighted), 0.0)
    words = nonzeros + np.clip(padding, 0.0, full)
    return words, words * bits


def _coordinate(pattern: Pattern, tile: Extents) -> tuple[Array, Array]:
    nonzeros = pattern.expected(tile)
    width = np.asarray(0.0)
    for extent in tile.values():
        width = width + _index_bits(extent)
    return nonzeros, nonzeros * width


def _csr(pattern: Pattern, tile: Extents) -> tuple[Array, Array]:
    """A tile of one rank is one row. Pointers can count every element of the tile."""
    nonzeros, size = pattern.expected(tile), tile_size(tile)
    rows = np.asarray(next(iter(tile.values())), dtype=float) if len(tile) > 1 else np.asarray(1.0)
    pointers = (rows + 1.0) * _index_bits(size + 1.0)
    return nonzeros, pointers + nonzeros * _index_bits(size / rows)


def _nm_offsets(pattern: Pattern, tile: Extents) -> tuple[Array, Array]:
    groups = pattern.groups
    if groups is None:
        raise WorkloadError(f"format 'nm_offsets' stores N:M patterns only, not {pattern}; use 'bitmask'")
    kept = groups.expected(tile)
    return kept, kept * _index_bits(groups.m)


def _index_bits(extent: ArrayLike) -> Array:
    """Bits that tell `extent` places apart."""
    return np.ceil(np.log2(np.asarray(extent, dtype=float)))


def _run_bits(fmt: str, field: str) -> int:
    if not field:
        return RUN_BITS
    if not field.isdecimal() or not 1 <= int(field) <= 32:
        raise WorkloadError(f"format {fmt!r}: the run field needs a width of 1 to 32 bits, as 'run_length:5'")
    return int(field)


_FORMATS: dict[str, Callable[[Pattern, Extents], tuple[Array, Array]]] = {
    "uncompressed": _uncompressed,
    "bitmask": _bitmask,
    "run_length": _run_length,
    "coordinate": _coordinate,
    "csr": _csr,
    "nm_offsets": _nm_offsets,
}

"""What the zeros of a real weight amount to: N:M groups, blocks, empty rows and columns, or none of these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.patterns.mask import Mask
from zerocast.workloads.patterns.nm import NM

Bits = NDArray[np.bool_]
Histograms = dict[int, NDArray[np.int64]]
"""By group size M: the number of groups that hold 0, 1, .. M nonzeros."""

WIDEST = 64
"""Largest group, and longest side of a block, that is looked for."""

CHANCE = 1e-6
"""Independent zeros of the same number would keep to a law with less than this probability, else it is no law."""

NEARLY = 0.95
"""Share of groups that keep to N:M from which a weight that misses it is said to be near it."""


OFTEN = 0.9
"""A law that more of the groups of independent zeros keep to tells nothing where it is missed."""


@dataclass(frozen=True, slots=True)
class Found:
    """The zeros of a weight as a pattern, and in words."""

    pattern: Mask
    words: str


def detect(bits: Bits, ranks: Sequence[str], along: Sequence[str]) -> Found:
    """What the nonzeros `bits` [one dimension per rank] keep to.

    along: ranks along which N:M groups may lie, the forward pass's reduction first. Groups and blocks are aligned to
    the origin; M divides the rank. Of the groups that fit along a rank, those with the smallest N/M are taken, and of
    these the smallest M. Zeros that empty rows and columns explain altogether are told as such, with a law that holds.
    """
    mask = Mask.of(bits, ranks)
    empty = _empty(bits, ranks)
    explained = bool(empty) and _explained(bits)
    groups = {rank: _histograms(bits, ranks.index(rank)) for rank in along}
    laws = [law for rank in along if (law := _law(groups[rank], mask.density, rank)) is not None]
    words = [f"{law.n}:{law.m} along {law.rank}" for law in laws]
    if explained:  # a law may hold all the same: every other channel empty is 2:4
        found = replace(mask, laws=tuple((law.n, law.m, law.rank) for law in laws))
        return Found(found, "; ".join([*words, f"{'; '.join(empty)}, nothing else is zero"]))
    if (block := _block(bits, ranks, along)) and not laws:
        words.append(block)
    words += empty
    density = f"{mask.density:.1%} nonzero"
    words.append(density if words else f"no structure, {density}")
    if near := _near(groups, mask.density, {law.rank: law.density for law in laws}):
        words.append(near)
    return Found(replace(mask, laws=tuple((law.n, law.m, law.rank) for law in laws)), "; ".join(words))


def _histograms(bits: Bits, axis: int) -> Histograms:
    """For each group size M that divides the axis: how many groups hold 0, 1, .. M nonzeros.

    Groups that are no word of bits add up those of the largest size that divides theirs.
    """
    length, inner = bits.shape[axis], math.prod(bits.shape[axis + 1 :])
    sizes = [m for m in range(2, min(WIDEST, length) + 1) if length % m == 0]
    words = [m for m in sizes if m in _WORDS] if inner == 1 and bits.size % 8 == 0 else []
    found = _of_words(np.ascontiguousarray(bits).reshape(-1), words) if words else {}
    counts = {1: np.ascontiguousarray(bits).view(np.uint8).reshape(-1, length, inner)}
    for m in sizes:
        if m not in found:
            part = max(size for size in counts if m % size == 0)
            parts = counts[part].reshape(-1, m // part, inner)
            counts[m] = parts[:, 0].copy()
            for at in range(1, m // part):
                counts[m] += parts[:, at]
            # quicker than a histogram of numpy's, which widens every element first
            found[m] = np.array([np.count_nonzero(counts[m] == n) for n in range(m + 1)])
    return found


_WORDS: dict[int, Any] = {2: None, 4: None, 8: None, 16: np.uint16, 32: np.uint32, 64: np.uint64}
"""Sizes of groups that fill a byte, or a word of a type, when their elements are bits."""


def _of_words(flat: Bits, sizes: Sequence[int]) -> Histograms:
    """Histograms of groups that are bits of a byte, or of a word: one look at each byte instead of at each element."""
    packed = np.packbits(flat)
    bytes_ = np.bincount(packed, minlength=256)
    every = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    found: Histograms = {}
    for m in sizes:
        if _WORDS[m] is not None:
            found[m] = np.bincount(np.bitwise_count(packed.view(_WORDS[m])), minlength=m + 1)
        else:
            groups = every.reshape(256, 8 // m, m).sum(axis=2)
            weights = np.broadcast_to(bytes_[:, None], groups.shape)
            found[m] = np.bincount(groups.ravel(), weights=weights.ravel(), minlength=m + 1).astype(np.int64)
    return found


def _at_most(m: int, density: float) -> NDArray[np.float64]:
    """Probability that m independent elements hold at most 0, 1, .. m nonzeros."""
    chances = [math.comb(m, n) * density**n * (1 - density) ** (m - n) for n in range(m + 1)]
    return np.minimum(np.cumsum(chances), 1.0)


def _law(histograms: Histograms, density: float, rank: str) -> NM | None:
    """The tightest N:M that all groups along a rank keep to and chance would not."""
    fits: list[tuple[float, int, int]] = []
    for m, histogram in histograms.items():
        n = int(np.flatnonzero(histogram)[-1])
        groups = int(histogram.sum())
        exact = int(histogram[n]) == groups
        # all groups exactly full is rarer still than none above N
        share = math.comb(m, n) * density**n * (1 - density) ** (m - n) if exact else _at_most(m, density)[n]
        if 0 < n < m and groups * math.log(max(share, 1e-300)) < math.log(CHANCE):
            fits.append((n / m, m, n))
    if not fits:
        return None
    _, m, n = min(fits)
    return NM(n, m, rank)


def _near(groups: Mapping[str, Histograms], density: float, kept: Mapping[str, float]) -> str:
    """The tightest N:M that nearly all groups keep to, and not by chance: "99.2 % of groups along c are 2:4".

    kept: N/M of the law that all groups along a rank keep to; only a tighter one is worth saying.
    """
    for rank, histograms in groups.items():
        near: list[tuple[float, int, int, float]] = []
        for m, histogram in histograms.items():
            shares = np.cumsum(histogram) / histogram.sum()
            by_chance = _at_most(m, density)
            near += [
                (n / m, m, n, float(shares[n])) for n in range(1, m)
                if n / m < kept.get(rank, 1.0) and NEARLY <= shares[n] < 1 and by_chance[n] < OFTEN
                and 1 - shares[n] < (1 - by_chance[n]) / 4
            ]  # fmt: skip
        if near:
            _, m, n, share = min(near)
            return f"{math.floor(share * 1000) / 10:.1f} % of groups along {rank} are {n}:{m}"
    return ""


def _empty(bits: Bits, ranks: Sequence[str]) -> list[str]:
    """Slices without a nonzero, by rank: "12 of 64 along k are empty"."""
    found = []
    for axis, rank in enumerate(ranks):
        others = tuple(at for at in range(bits.ndim) if at != axis)
        empty = int((~bits.any(axis=others)).sum())
        if empty:
            found.append(f"{empty} of {bits.shape[axis]} along {rank} are empty")
    return found


def _explained(bits: Bits) -> bool:
    """Whether all zeros lie in slices that are empty."""
    full = np.ones((1,) * bits.ndim, dtype=bool)
    for axis in range(bits.ndim):
        others = tuple(at for at in range(bits.ndim) if at != axis)
        full = full & bits.any(axis=others, keepdims=True)
    return int(full.sum()) == int(bits.sum())


def _block(bits: Bits, ranks: Sequence[str], along: Sequence[str]) -> str:
    """The largest aligned rectangles over the two channel ranks that are zero or nonzero as one."""
    if len(along) < 2:
        return ""
    first, second = sorted((ranks.index(along[0]), ranks.index(along[1])))
    matrix = np.moveaxis(bits, (first, second), (-2, -1))
    best = (1, 1)
    for height in _sides(matrix.shape[-2]):
        for width in _sides(matrix.shape[-1]):
            larger = height * width > best[0] * best[1]
            corner = matrix[..., : 8 * height, : 8 * width]  # most sizes fail there already
            if larger and _uniform(corner, height, width) and _uniform(matrix, height, width):
                best = (height, width)
    if best == (1, 1):
        return ""
    return f"blocks of {best[0]} {ranks[first]} x {best[1]} {ranks[second]}"


def _sides(length: int) -> list[int]:
    return [side for side in range(1, min(WIDEST, length) + 1) if length % side == 0 and side < length]


def _uniform(matrix: Bits, height: int, width: int) -> bool:
    rows, columns = matrix.shape[-2:]
    tiles = matrix.reshape(*matrix.shape[:-2], rows // height, height, columns // width, width)
    return bool((tiles == tiles[..., :1, :, :1]).all())

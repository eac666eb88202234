"""Products on a card as columns of numbers, so that all shapes and kernels are priced at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.gpu.card import Card

Array = NDArray[np.float64]

KEPT = 2
"""Values that sparse tensor cores take of each group."""


def kept_share(group: ArrayLike) -> Array:
    """Share of the multiplications that are left with two weights of each `group`; 1 for group 0, dense weights."""
    size = np.asarray(group, dtype=float)
    return np.where(size > 0, KEPT / np.maximum(size, KEPT), 1.0)


def weight_share(group: ArrayLike, element_bytes: ArrayLike, stored_bits: ArrayLike | None = None) -> Array:
    """Bytes of a weight as it is stored over the dense one in the type that is multiplied: the values that are kept,
    and log2 M bits for each of them where it is 2:M. stored_bits: of a value, where it is not `element_bytes` wide."""
    bits = 8 * np.asarray(element_bytes, dtype=float)
    stored = bits if stored_bits is None else np.asarray(stored_bits, dtype=float)
    offset = np.log2(np.maximum(np.asarray(group, dtype=float), 1.0))
    return kept_share(group) * (stored + offset) / bits


UNPACKING = {4: 13 / 8, 8: 6 / 4}
"""Instructions of a lane for each weight that is stored in so many bits and multiplied in 16: eight of 4 bits come out
of a register by a shift, four logical operations, two subtractions and two multiply-adds on pairs, four of 8 bits by
two permutations and two subtractions; each pair is then multiplied with its scale. Counted after the conversions that
Kim et al. describe (arXiv 2211.10017), which Marlin (arXiv 2408.11743) uses too."""


def unpacked_per_s(card: Card, stored_bits: ArrayLike, element_bytes: int) -> Array:
    """Weights per second that the lanes of all SMs make of narrower ones; infinity where there is nothing to do."""
    bits = np.asarray(stored_bits, dtype=float)
    work = np.where(bits <= 4, UNPACKING[4], UNPACKING[8])
    return np.where(bits < 8 * element_bytes, card.lanes_per_s / work, np.inf)


@dataclass(frozen=True, slots=True)
class Problem:
    """Products out[M, N] = x[M, K] W[N, K]^T, `batch` times over. Every field is a column, shape (shapes, 1).

    macs_per_s counts dense products: with 2:4 twice the datasheet's dense rate, with 2:M M/2 times. *_bytes are those
    of the whole batch, each byte once; weight_share: bytes of W over those of a dense one. repeats: 1 where the same
    operands come again and again, so that a product that fits the L2 stays there; 0 where the weights come from off
    chip. quantise: 1 where the activations come in 16 bits and are quantised first. whole: 1 where kernels go through K
    in one piece.
    """

    m: Array
    n: Array
    k: Array
    batch: Array
    element_bytes: Array
    out_element_bytes: Array
    weight_share: Array
    x_bytes: Array
    weight_bytes: Array
    out_bytes: Array
    repeats: Array
    quantise: Array
    whole: Array
    sms: Array
    macs_per_s: Array
    sm16_macs_per_s: Array
    dram_bytes_per_s: Array
    l2_bytes: Array
    power_macs_per_s: Array
    unpacked_per_s: Array

    def __len__(self) -> int:
        return len(self.m)

    def __getitem__(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Problem:
        """Some of the shapes."""
        return Problem(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def problem(
    card: Card,
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    *,
    batch: ArrayLike = 1,
    element_bytes: int = 2,
    out_element_bytes: ArrayLike = 2.0,
    group: ArrayLike = 0,
    repeats: ArrayLike = False,
    quantise: bool = False,
    whole: ArrayLike = False,
    x_elements: ArrayLike | None = None,
    weight_elements: ArrayLike | None = None,
    weight_bits: ArrayLike | None = None,
    scale_bits: ArrayLike = 0.0,
) -> Problem:
    """Products of one kind on one card. group: M of 2:M weights, 0 for dense ones.

    x_elements, weight_elements: elements in memory of one product of the batch, where they are fewer than M K and
    N K (the windows of a convolution overlap). whole: whether K is not split. weight_bits: of a stored weight, where
    they are not those of `element_bytes`. scale_bits: of scales for each weight, whether it is kept or not.
    """
    rows = np.broadcast(*map(np.atleast_1d, (m, n, k, batch))).size

    def column(value: ArrayLike) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=float).reshape(-1, 1), (rows, 1))

    mm, nn, kk, times = map(column, (m, n, k, batch))
    stored = column(8 * element_bytes if weight_bits is None else weight_bits)
    share = weight_share(column(group), element_bytes, stored) + column(scale_bits) / (8 * element_bytes)
    # constants of the power limit were fitted to the dense products of 2:4 operands; fewer are left of wider groups
    power = np.where(column(group) > 0, kept_share(4) / kept_share(column(group)), 1.0)
    x = mm * kk if x_elements is None else column(x_elements)
    weight = nn * kk if weight_elements is None else column(weight_elements)
    return Problem(
        m=mm, n=nn, k=kk, batch=times, element_bytes=column(element_bytes),
        out_element_bytes=column(out_element_bytes), weight_share=share,
        x_bytes=times * x * element_bytes, weight_bytes=times * weight * element_bytes * share,
        out_bytes=times * mm * nn * column(out_element_bytes),
        repeats=column(repeats), quantise=column(float(quantise)), whole=column(whole), sms=column(card.sms),
        macs_per_s=column(card.macs_per_s) / kept_share(column(group)),
        sm16_macs_per_s=column(card.macs16_per_s / card.sms), dram_bytes_per_s=column(card.dram_bytes_per_s),
        l2_bytes=column(card.l2_bytes), power_macs_per_s=column(card.power_macs_per_s) * power,
        unpacked_per_s=unpacked_per_s(card, stored, element_bytes),
    )  # fmt: skip


def join(problems: Sequence[Problem]) -> Problem:
    """Several tables of products under each other."""
    return Problem(**{f.name: np.concatenate([getattr(one, f.name) for one in problems]) for f in fields(Problem)})

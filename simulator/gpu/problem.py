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


def weight_share(group: ArrayLike, element_bytes: ArrayLike) -> Array:
    """Bytes of a 2:M weight over the dense one: the values that are kept, and log2 M bits for each of them."""
    bits = 8 * np.asarray(element_bytes, dtype=float)
    offset = np.log2(np.maximum(np.asarray(group, dtype=float), 1.0))
    return kept_share(group) * (bits + offset) / bits


@dataclass(frozen=True, slots=True)
class Problem:
    """Products out[M, N] = x[M, K] W[N, K]^T, `batch` times over. Every field is a column, shape (shapes, 1).

    macs_per_s counts dense products: with 2:4 twice the datasheet's dense rate, with 2:M M/2 times. *_bytes are those
    of the whole batch, each byte once; weight_share: bytes of W over those of a dense one. repeats: 1 where the same
    operands come again and again, so that a product that fits the L2 stays there; 0 where the weights come from off
    chip. quantise: 1 where the activations come in 16 bits and are quantised first.
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
    sms: Array
    macs_per_s: Array
    sm16_macs_per_s: Array
    dram_bytes_per_s: Array
    l2_bytes: Array
    power_macs_per_s: Array

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
    repeats: bool = False,
    quantise: bool = False,
    x_elements: ArrayLike | None = None,
    weight_elements: ArrayLike | None = None,
) -> Problem:
    """Products of one kind on one card. group: M of 2:M weights, 0 for dense ones.

    x_elements, weight_elements: elements in memory of one product of the batch, where they are fewer than M K and
    N K (the windows of a convolution overlap).
    """
    rows = np.broadcast(*map(np.atleast_1d, (m, n, k, batch))).size

    def column(value: ArrayLike) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=float).reshape(-1, 1), (rows, 1))

    mm, nn, kk, times = map(column, (m, n, k, batch))
    share = weight_share(column(group), element_bytes)
    # constants of the power limit were fitted to the dense products of 2:4 operands; fewer are left of wider groups
    power = np.where(column(group) > 0, kept_share(4) / kept_share(column(group)), 1.0)
    x = mm * kk if x_elements is None else column(x_elements)
    weight = nn * kk if weight_elements is None else column(weight_elements)
    return Problem(
        m=mm, n=nn, k=kk, batch=times, element_bytes=column(element_bytes),
        out_element_bytes=column(out_element_bytes), weight_share=share,
        x_bytes=times * x * element_bytes, weight_bytes=times * weight * element_bytes * share,
        out_bytes=times * mm * nn * column(out_element_bytes),
        repeats=column(float(repeats)), quantise=column(float(quantise)), sms=column(card.sms),
        macs_per_s=column(card.macs_per_s) / kept_share(column(group)),
        sm16_macs_per_s=column(card.macs16_per_s / card.sms), dram_bytes_per_s=column(card.dram_bytes_per_s),
        l2_bytes=column(card.l2_bytes), power_macs_per_s=column(card.power_macs_per_s) * power,
    )  # fmt: skip


def join(problems: Sequence[Problem]) -> Problem:
    """Several tables of products under each other."""
    return Problem(**{f.name: np.concatenate([getattr(one, f.name) for one in problems]) for f in fields(Problem)})

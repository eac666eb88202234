"""Moments of the vectors that a share of an operand takes, when its zeros are known as a law."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from workloads.formats import storage_bits
from workloads.patterns import Uniform

Array = NDArray[np.float64]

EXACT_UP_TO = 1024
"""Elements of a share up to which the binomial law is summed; above it vectors are rounded up by half of one."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Of the vectors that a share takes for one index of K, over shares and indices: [..., K classes].

    mean and square: of the vectors with padding words. bare: mean of the vectors of nonzeros alone. words: mean of
    the words. nonzeros: mean of the elements to multiply. some: probability of at least one.
    """

    mean: Array
    square: Array
    bare: Array
    words: Array
    nonzeros: Array
    some: Array


def vectors(elements: Array, density: Array, vector: int, run_bits: int | None) -> Vectors:
    """Moments for shares of `elements` whose nonzeros are independent with `density`; broadcasts, [shares, K]."""
    shape = np.broadcast_shapes(elements.shape, density.shape)
    pairs = np.stack([np.broadcast_to(elements, shape).ravel(), np.broadcast_to(density, shape).ravel()])
    rows, back = np.unique(pairs, axis=1, return_inverse=True)
    table = np.array([_vectors(int(n), float(d), vector, run_bits) for n, d in rows.T]).T
    return Vectors(*(column[back.ravel()].reshape(shape) for column in table))


@cache
def _vectors(elements: int, density: float, vector: int, run_bits: int | None) -> tuple[float, ...]:
    if elements == 0 or density == 0:
        return (0.0,) * 6
    nonzeros = elements * density
    words = nonzeros
    if run_bits is not None:
        stored = storage_bits(f"run_length:{run_bits}", Uniform(density), {"x": elements}, 1.0)
        words = float(stored.value_bits)
    some = 1 - (1 - density) ** elements
    bare_mean, bare_square = _rounded_up(elements, density, vector)
    if words > nonzeros * (1 + 1e-12):
        # padding makes a share look like one of more nonzeros
        mean, square = _rounded_up(elements, min(words / elements, 1.0), vector)
    else:
        mean, square = bare_mean, bare_square
    return mean, square, bare_mean, words, nonzeros, some


def _rounded_up(elements: int, density: float, vector: int) -> tuple[float, float]:
    """E and E of the square of ceil(nonzeros / vector)."""
    if density >= 1:
        full = float(-(-elements // vector))
        return full, full**2
    if elements <= EXACT_UP_TO:
        from scipy.stats import binom

        law = binom.pmf(np.arange(elements + 1), elements, density)
        turns = np.ceil(np.arange(elements + 1) / vector)
        return float(law @ turns), float(law @ turns**2)
    mean = elements * density / vector + (vector - 1) / (2 * vector)
    variance = elements * density * (1 - density) / vector**2 + (vector**2 - 1) / (12 * vector**2)
    return mean, variance + mean**2

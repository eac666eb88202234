"""Moments of the vectors that a share of an operand takes, when its zeros are known as a law."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.workloads.formats import storage_bits
from zerocast.workloads.patterns import Uniform

Array = NDArray[np.float64]

EXACT_UP_TO = 1024
"""Elements of a share up to which the binomial law is summed; above it vectors are rounded up by half of one."""

DENSITY_DIGITS = 3
"""Significant digits to which densities of channels are rounded, so that nearly equal ones are worked out once."""


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


def vectors(elements: NDArray[Any], density: Array, vector: int, run_bits: int | None, pace: float = 0.0) -> Vectors:
    """Moments for shares of `elements` whose nonzeros are independent with `density`.

    elements: [shares]. density: [K classes, ...], rounded where there are several. Results: [shares, K classes, ...].
    pace: vectors whose time each word takes at least (see `Skipping.accumulate_pace`), in mean and square alone.
    """
    sizes, size_of = np.unique(elements, return_inverse=True)
    levels, level_of = np.unique(density, return_inverse=True)
    if len(levels) > 1:
        levels, level_of = np.unique(_rounded(density), return_inverse=True)
    table = np.array([_vectors(int(size), tuple(levels.tolist()), vector, run_bits, pace) for size in sizes])
    picked = table[size_of][:, :, level_of.ravel()]  # [shares, moments, K classes]
    return Vectors(*(picked[:, at].reshape(len(elements), *density.shape) for at in range(picked.shape[1])))


def _rounded(density: Array) -> Array:
    step = 10.0 ** (np.floor(np.log10(np.maximum(density, 1e-12))) + 1 - DENSITY_DIGITS)
    return np.minimum(np.round(density / step) * step, 1.0)


@lru_cache(maxsize=4096)
def _vectors(elements: int, levels: tuple[float, ...], vector: int, run_bits: int | None, pace: float) -> Array:
    """[moments, densities]."""
    density = np.asarray(levels)
    nonzeros = elements * density
    some = 1 - (1 - density) ** elements
    bare, _ = _rounded_up(elements, density, vector)
    words = nonzeros
    if run_bits is not None and elements > 0:
        stored = [storage_bits(f"run_length:{run_bits}", Uniform(float(d)), {"x": elements}, 1.0) for d in density]
        words = np.array([float(bits.value_bits) for bits in stored])
    # padding makes a share look like one of more nonzeros
    mean, square = _rounded_up(elements, np.minimum(words / max(elements, 1), 1.0), vector, pace)
    return np.array([mean, square, bare, words, nonzeros, some])


def _rounded_up(elements: int, density: Array, vector: int, pace: float = 0.0) -> tuple[Array, Array]:
    """E and E of the square of max(ceil(nonzeros / vector), pace * nonzeros), for each density."""
    if elements <= EXACT_UP_TO:
        from scipy.stats import binom

        counts = np.arange(elements + 1)
        law = binom.pmf(counts, elements, density[:, None])
        turns = np.maximum(np.ceil(counts / vector), pace * counts)
        return law @ turns, law @ turns**2
    mean = elements * density / vector + (vector - 1) / (2 * vector) * (density > 0) * (density < 1)
    variance = elements * density * (1 - density) / vector**2 + (vector**2 - 1) / (12 * vector**2) * (density < 1)
    mean = np.where(density >= 1, np.ceil(mean), mean)
    longer = np.maximum(pace * elements * density / np.maximum(mean, 1e-30), 1.0)
    return mean * longer, (variance + mean**2) * longer**2

"""Expected time of the slowest of several lanes, from the mean and variance of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COUNT_UP_TO = 300.0
"""Mean above which the normal law stands for a count."""

GRID = 160
"""Points at which a continuous distribution is summed."""


def expected_slowest(mean: Array, variance: Array) -> Array:
    """E[max over lanes] of independent lane times, [..., lanes] -> [...].

    E[max] = sum over x of 1 - prod_l F_l(x). F is the law of a count with the lane's mean and variance: binomial where
    the variance is below the mean, else a Poisson count of larger steps; above `COUNT_UP_TO` the normal law.
    """
    lead = mean.shape[:-1]
    mean, variance = mean.reshape(-1, mean.shape[-1]), variance.reshape(-1, mean.shape[-1])
    rows, back = np.unique(np.concatenate([mean, variance], axis=1), axis=0, return_inverse=True)
    lanes = mean.shape[1]
    values = np.array([_slowest(row[:lanes], row[lanes:]) for row in rows])
    return np.asarray(values[back.ravel()].reshape(lead))


def _slowest(mean: Array, variance: Array) -> float:
    kinds, number = np.unique(np.stack([mean, variance]), axis=1, return_counts=True)
    (mean, variance), counts = kinds, number.astype(float)
    busy = mean > 0
    if not busy.any():
        return 0.0
    mean, variance, counts = mean[busy], variance[busy], counts[busy]
    if counts.sum() == 1 or variance.max() < 1e-12 * mean.max():
        return float(mean.max())
    step = max(float((variance / mean).mean()), 1.0)
    if mean.max() / step > COUNT_UP_TO:
        return _slowest_normal(mean, np.sqrt(variance), counts)
    return _slowest_count(mean / step, variance / step**2, counts) * step


def _slowest_normal(mean: Array, deviation: Array, counts: Array) -> float:
    from scipy.special import log_ndtr

    low, high = float((mean - 6 * deviation).max()), float((mean + 7 * deviation).max())
    at = np.linspace(low, high, GRID)
    below = np.exp(
        (counts[:, None] * log_ndtr((at - mean[:, None]) / np.maximum(deviation[:, None], 1e-9))).sum(axis=0)
    )
    return low + float(np.trapezoid(1 - below, at))


def _slowest_count(mean: Array, variance: Array, counts: Array) -> float:
    from scipy.special import betainc, pdtr

    most = np.ceil(mean.max() + 9 * np.sqrt(variance.max()) + 9)
    at = np.arange(most)
    share = 1 - variance / mean
    log_below = np.zeros_like(at)
    for centre, part, many in zip(mean, share, counts, strict=True):
        if part > 1e-3:
            trials = centre / part
            inside = at < trials
            below = np.ones_like(at)
            below[inside] = betainc(np.maximum(trials - at[inside], 1e-9), at[inside] + 1, 1 - part)
        else:
            below = pdtr(at, centre)
        with np.errstate(divide="ignore"):
            log_below = log_below + many * np.log(below)
    return float(np.sum(1 - np.exp(log_below)))

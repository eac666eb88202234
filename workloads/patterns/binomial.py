"""The fullest of several binomial tiles: what a lock-step group waits for under Bernoulli zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zerocast.workloads.patterns.base import Array

EXACT_UP_TO = 4096
"""Trials up to which the maximum is summed from the binomial law; above it the normal law is as good."""


def expected_maximum(trials: ArrayLike, share: float, group: ArrayLike) -> Array:
    """E[max of `group` independent Binomial(trials, share)], broadcast over trials and group.

    Sum over x of 1 - F(x)^group, with the binomial F as a regularised incomplete beta function: exact for
    whole numbers of trials, linear between them. Equal pairs (trials, group) are computed once.
    """
    number, lanes = np.broadcast_arrays(np.asarray(trials, dtype=float), np.asarray(group, dtype=float))
    pairs, back = np.unique(np.stack([number.ravel(), lanes.ravel()]), axis=1, return_inverse=True)
    below = np.floor(pairs[0])
    results = np.empty(pairs.shape[1])
    for at, (low, part, many) in enumerate(zip(below, pairs[0] - below, pairs[1], strict=True)):
        results[at] = _maximum(int(low), share, many)
        if part:
            results[at] += part * (_maximum(int(low) + 1, share, many) - results[at])
    return results[back.ravel()].reshape(number.shape)


def _maximum(trials: int, share: float, group: float) -> float:
    from scipy.special import betainc

    if share in (0.0, 1.0) or not trials:
        return trials * share
    counts = np.arange(trials)
    above = betainc(counts + 1.0, trials - counts, share)
    with np.errstate(divide="ignore"):  # a certain excess: log 0, and 1 - exp(-inf) = 1
        return float(np.sum(-np.expm1(group * np.log1p(-above))))

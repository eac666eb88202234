"""Requests that arrive one by one and share steps (continuous batching): a small event simulation over priced steps.

At the end of each step finished sequences leave and waiting requests join, as many as there is room for. Whoever joins
has a prompt's pass first, during which the others wait (no chunks of prompts); else each running sequence gets a token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Load:
    """What requests meet, half of them (p50) and 99 of 100 (p99).

    first_token_s: from arrival, waiting included. token_s: from one token to the next, averaged over a request.
    tokens_per_s: generated, over the whole run. batch: mean number of sequences in a step, weighted by its time.
    keeps_up: whether as many are finished as arrive, or the queue grows.
    """

    rate_per_s: float
    first_token_p50_s: float
    first_token_p99_s: float
    token_p50_s: float
    token_p99_s: float
    tokens_per_s: float
    batch: float
    keeps_up: bool


@dataclass
class _Request:
    arrived_s: float
    first_s: float = 0.0
    done_s: float = 0.0
    made: int = 0


def under_load(
    rate_per_s: float,
    prompt_s: Callable[[int], float],
    token_s: Callable[[int, float], float],
    *,
    generate: int,
    most: int,
    requests: int = 500,
    seed: int = 0,
) -> Load:
    """Requests that arrive independently at a mean rate, each with as many tokens to generate.

    prompt_s: time of a prompt's pass for so many sequences. token_s: time of one token for so many sequences, each of
    which has so many generated already on average. most: sequences that run at once.
    """
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1.0, requests)
    arrivals = np.cumsum(gaps / (gaps.mean() * rate_per_s))  # as many as asked for, not only on average over draws
    waiting = deque(_Request(float(at)) for at in arrivals)
    running: list[_Request] = []
    finished: list[_Request] = []
    now = busy_s = weighted = 0.0
    while waiting or running:
        if not running and waiting and waiting[0].arrived_s > now:
            now = waiting[0].arrived_s
        joining: list[_Request] = []
        while waiting and waiting[0].arrived_s <= now and len(running) + len(joining) < most:
            joining.append(waiting.popleft())
        step_s = prompt_s(len(joining)) if joining else token_s(len(running), float(np.mean([r.made for r in running])))
        now += step_s
        served = joining or running
        busy_s, weighted = busy_s + step_s, weighted + step_s * len(served)
        for request in served:
            request.made += 1
            request.first_s = request.first_s or now
            request.done_s = now
        running += joining
        finished += [request for request in running if request.made >= generate]
        running = [request for request in running if request.made < generate]
    return _load(rate_per_s, finished, generate, now - float(arrivals[0]), weighted / busy_s)


def _load(rate_per_s: float, finished: Sequence[_Request], generate: int, span_s: float, batch: float) -> Load:
    first = np.array([request.first_s - request.arrived_s for request in finished])
    each = np.array([(request.done_s - request.first_s) / max(generate - 1, 1) for request in finished])
    last = np.array([request.done_s - request.arrived_s for request in finished])
    half = len(finished) // 2
    # a queue that grows makes later requests wait ever longer
    keeps_up = float(np.median(last[half:])) <= 1.5 * float(np.median(last[:half]))
    first_50, first_99, each_50, each_99 = (
        float(np.percentile(values, share)) for values in (first, each) for share in (50, 99)
    )
    tokens_per_s = len(finished) * generate / span_s
    return Load(rate_per_s, first_50, first_99, each_50, each_99, tokens_per_s, batch, keeps_up)


def between(sizes: Sequence[int], times_s: Sequence[float]) -> Callable[[float], float]:
    """Times at priced batch sizes, and on straight lines between them; beyond the largest, in proportion."""
    order = np.argsort(sizes)
    known, values = np.asarray(sizes, dtype=float)[order], np.asarray(times_s, dtype=float)[order]

    def at(size: float) -> float:
        inside = float(np.interp(size, known, values))
        return inside * max(size / known[-1], 1.0)

    return at

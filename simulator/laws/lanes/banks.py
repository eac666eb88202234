"""Bank conflicts: how much longer requests take that meet at the banks of a memory."""

from __future__ import annotations

from functools import cache

import numpy as np

CYCLES = 20_000
"""Cycles simulated for one configuration; the mean is then good to about 1 %."""


@cache
def conflict_factor(requests: int, banks: int, queue: int) -> float:
    """Cycles per round of requests, against one without conflicts, each lane always having a next request.

    Every cycle each lane offers its request to a bank drawn at random, a bank takes what its queue has room for (lanes
    in turn, from a first one that moves on every cycle) and serves one; a lane that is refused offers the same again.
    Without queues this is the saturated crossbar with blocking at the head of the line (Karol, Hluchyj, Morgan,
    IEEE Trans. Communications 1987: 0.618 of its ports for 8 x 8).
    """
    rng = np.random.default_rng(0)
    wanted = rng.integers(banks, size=requests)
    waiting = np.zeros(banks, dtype=int)
    served = 0
    for cycle in range(CYCLES):
        for turn in range(requests):
            lane = (cycle + turn) % requests
            if waiting[wanted[lane]] <= queue:
                waiting[wanted[lane]] += 1
                served += 1
                wanted[lane] = rng.integers(banks)
        waiting = np.maximum(waiting - 1, 0)
    return max(requests * CYCLES / served, 1.0)

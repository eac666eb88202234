"""How far to trust the latency of kernels that only stream, and of a whole network, on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zerocast.simulator.cost import OpRow
from zerocast.simulator.gpu.predict import UNSEEN_BAR
from zerocast.workloads.ir import Op, Vector

ONE_BY_ONE_S = 5e-6
"""Time for a host to launch one kernel after the other, without a graph (assumption, as in the templates)."""


def unit_bounds(op: Op, latency_s: float) -> tuple[float, float]:
    """Seconds between which 9 of 10 measurements of an op beside the tensor cores are to lie.

    No constant was fitted to such kernels, so their bar is that of unseen cards. Elementwise work may take no time at
    all: compilers put it into the kernel before.
    """
    fusible = isinstance(op, Vector) and op.elementwise
    return 0.0 if fusible else latency_s * math.exp(-UNSEEN_BAR), latency_s * math.exp(UNSEEN_BAR)


def latency_bounds(rows: Sequence[OpRow], latency_s: float) -> tuple[float, float]:
    """Seconds between which 9 of 10 measurements of a network are to lie that is said to take `latency_s`.

    Errors of kernels of one kind have one cause (the library, its version, the clock) and do not average out, so bounds
    add up as they are; time in which kernels wait for the host is in both. A host that launches kernels one by one may
    be the slower part of a run, which no kernel's time knows of: the upper bound is at least a launch for each kernel.
    """
    launched = sum(row.latency_s > 0 for row in rows)
    waits = max(latency_s - sum(row.latency_s for row in rows), 0.0)
    low, high = (sum(bounds) + waits for bounds in ((r.low_s for r in rows), (r.high_s for r in rows)))
    return low, max(high, launched * ONE_BY_ONE_S)

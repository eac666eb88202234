"""From the ideal time of a layer to the real one, cause by cause; the parts sum to the latency exactly."""

from __future__ import annotations

from collections.abc import Iterable

from zerocast.analysis.reports.plots.losses import LOSSES, losses_of
from zerocast.simulator.cost import OpRow

CAUSES = {
    "ideal": "every multiplier busy on what must be multiplied",
    "imbalance": "lanes that wait for the slowest",
    "fragmentation": "vectors that are not full",
    "padding": "multiplications with padding",
    "edge": "tiles that do not fill the array",
    "conflict": "bank conflicts",
    "ramp": "filling and draining the engine",
    "wasted": "products that no output wants",
    "fold": "filling, draining, edges and ports of an array's folds; tiles, bandwidth and start of a GPU's kernel",
    "port": "waiting for the ports of the buffers",
    "memory": "waiting for the off-chip link",
    "launch": "the host's overhead before an op",
    "unit": "work in the units beside the array",
}
"""The parts, in the order in which they add up, and what each is."""


def waterfall(rows: Iterable[OpRow], clock_hz: float, launch_s: float = 0.0) -> dict[str, float]:
    """Seconds of each part of the latency of some ops, those that are there; they sum to the sum of the latencies.

    launch_s: the host's overhead before an op, which is in the latency of every one that takes time.

    A systolic array does not tell fill from edges and ports, nor a GPU's kernel its causes: what these take beside the
    ideal time is `fold`.
    """
    parts = dict.fromkeys(CAUSES, 0.0)
    for row in rows:
        if row.kind != "einsum":
            launch = min(launch_s, row.latency_s)
            parts["launch"] += launch
            parts["unit"] += row.latency_s - launch
            continue
        ideal_s = min(row.ideal_cycles / clock_hz, row.latency_s)
        lost = {cause: cycles / clock_hz for cause, cycles in losses_of(row, clock_hz).items()}
        named = {cause: lost[cause] for cause in LOSSES if cause not in ("launch",)}
        known = sum(named.values())
        parts["ideal"] += ideal_s
        for cause, seconds in named.items():
            parts[cause] += seconds
        left = row.latency_s - ideal_s - known
        launch = min(max(lost["launch"], 0.0), max(left, 0.0))
        parts["launch"] += launch
        parts["fold"] += left - launch
    return {cause: seconds for cause, seconds in parts.items() if seconds}

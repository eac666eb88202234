"""What did the zeros buy: speedup and energy against a baseline, and how far the MAC count explains them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from zerocast.simulator.result import Result

WAITS = {
    "dram": "waiting for DRAM, where fewer bytes count and not fewer MACs",
    "port": "waiting for a buffer port, where fewer bytes count and not fewer MACs",
    "fill": "filling and draining the array, which another mapping shortens",
    "unit": "in the units beside the array",
    "launch": "launching ops",
    "compute": "multiplying, which another mapping shortens beyond the zeros skipped",
}
"""For each bound of a row, what its time is spent on."""


@dataclass(frozen=True, slots=True)
class Gain:
    """A result against its baseline. All ratios are baseline over result, more than 1 is better.

    mac_ceiling: multiply-accumulates with both operands nonzero in the baseline over those of the result; inf where
    none is left. explanation: why the speedup exceeds the ceiling, "" where it does not.
    """

    speedup: float
    energy_ratio: float
    dram_ratio: float
    mac_ceiling: float
    explanation: str


def gain(result: Result, baseline: Result) -> Gain:
    """Compare a result with a baseline of the same network (latency_s, energy_j, DRAM bytes, MACs)."""
    speedup = _ratio(baseline.latency_s, result.latency_s)
    ceiling = _ratio(baseline.total("effectual_macs"), result.total("effectual_macs"))
    above = speedup > 1.005 * ceiling
    return Gain(
        speedup=speedup,
        energy_ratio=_ratio(baseline.energy_j, result.energy_j),
        dram_ratio=_ratio(dram_bytes(baseline), dram_bytes(result)),
        mac_ceiling=ceiling,
        explanation=_explain(result, baseline, speedup, ceiling) if above else "",
    )


def dram_bytes(result: Result) -> float:
    """Bytes read from and written to off-chip memory."""
    return result.total("dram_read_bytes") + result.total("dram_write_bytes")


def _ratio(before: float, after: float) -> float:
    if after > 0:
        return before / after
    return 1.0 if before == 0 else float("inf")


def _explain(result: Result, baseline: Result, speedup: float, ceiling: float) -> str:
    """Where the saved time was spent in the baseline, by what bounded the ops it was saved on."""
    after = {row.op: row.latency_s for row in result.rows}
    saved: Counter[str] = Counter()
    for row in baseline.rows:
        saved[row.bound] += row.latency_s - after.get(row.op, 0.0)  # type: ignore[assignment]
    whole = sum(value for value in saved.values() if value > 0)
    text = f"the speedup of {speedup:.2f}x is above the MAC ceiling of {ceiling:.2f}x"
    if whole <= 0:
        return f"{text}: the ops overlap better than in the baseline"
    parts = [
        f"{value / whole:.0%} of the saved time is time that the baseline spends {WAITS.get(bound, bound)}"
        for bound, value in saved.most_common(2)
        if value > 0.05 * whole
    ]
    return f"{text}: {'; '.join(parts)}"

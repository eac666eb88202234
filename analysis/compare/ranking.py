"""Cases in order, best first, each with what it gains, what limits it, and how far it can be trusted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zerocast.analysis.compare.cases import DENSE, Case, Tried
from zerocast.analysis.run.speedup import WAITS, dram_bytes, gain
from zerocast.simulator import Result
from zerocast.simulator.gpu.trust import latency_bounds

PAYS = 1.02
"""Gain from which a recipe is said to pay: less is inside what two runs of one program differ by."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A priced case. Times and energies of one pass over the batch.

    low_s, high_s: between which 9 of 10 measurements are to lie; None where nothing is known of the error.
    speedup, energy_ratio: over the dense case of the same machine, type and batch; None where there is none.
    limit: on what most of the ops' time is spent, with its share. losing: layers that run dense because their zeros
    would cost time.
    """

    case: Case
    latency_s: float
    low_s: float | None
    high_s: float | None
    per_sample_s: float
    energy_j: float
    dram_bytes: float
    peak_bytes: float
    speedup: float | None
    energy_ratio: float | None
    limit: str
    losing: tuple[str, ...]


def rank(tried: Sequence[Tried]) -> list[Ranked]:
    """The cases that have a result, by time per sample, shortest first."""
    results = {each.case: each.result for each in tried if each.result is not None}
    return sorted(
        (_ranked(case, result, results) for case, result in results.items()), key=lambda row: row.per_sample_s
    )


def _ranked(case: Case, result: Result, results: dict[Case, Result]) -> Ranked:
    dense = results.get(Case(case.accelerator, DENSE, case.dtype, case.batch))
    better = None if dense is None or case.recipe == DENSE else gain(result, dense)
    low_s, high_s = (
        latency_bounds(result.rows, result.latency_s) if any(row.high_s for row in result.rows) else (None, None)
    )
    samples = case.batch or int(result.meta.get("batch") or 1)
    losing = dict.fromkeys(row.layer for row in result.rows if row.fallback == "slower")
    return Ranked(
        case, result.latency_s, low_s, high_s, result.latency_s / samples, result.energy_j, dram_bytes(result),
        float(result.footprint.peak_bytes), None if better is None else better.speedup,
        None if better is None else better.energy_ratio, _limit(result), tuple(losing),
    )  # fmt: skip


def _limit(result: Result) -> str:
    spent: dict[str, float] = defaultdict(float)
    for row in result.rows:
        spent[row.bound] += row.latency_s
    if not sum(spent.values()):
        return ""
    bound = max(spent, key=lambda name: spent[name])
    words = WAITS.get(bound, bound).partition(",")[0]
    return f"{spent[bound] / sum(spent.values()):.0%} {words}"


def pays_from(rows: Sequence[Ranked]) -> Iterator[str]:
    """For each recipe, machine and type with several batches: from which of them on the recipe pays."""
    groups: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row.speedup is not None and row.case.batch is not None:
            groups[row.case.accelerator, row.case.recipe, row.case.dtype][row.case.batch] = row.speedup
    for (accelerator, recipe, dtype), gains in sorted(groups.items()):
        if len(gains) < 2:
            continue
        name = f"{recipe} on {accelerator} in {dtype}"
        paying = [batch for batch in sorted(gains) if gains[batch] >= PAYS]
        best = max(gains.values())
        if not paying:
            yield f"{name} pays at none of the batches (at most {best:.2f}x)"
        elif len(paying) == len(gains):
            yield f"{name} pays at every batch (up to {best:.2f}x)"
        else:
            words = ", ".join(map(str, paying))
            yield f"{name} pays at batch {words} (up to {best:.2f}x), not at the others"

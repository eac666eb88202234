"""Rows for people and files: ops with their baseline, layers and passes summed, totals."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.run.speedup import gain
from zerocast.simulator.cost import COLUMNS, OpRow
from zerocast.simulator.result import Result
from zerocast.simulator.size.size import over_budget

PHASES = ("FF", "BP", "WU", "UPDATE")
OUTSIDE = "(model)"
"""Where the ops stand that belong to no layer: the loss, what the model's own forward does."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """The ops of one layer in one pass, summed.

    bound: what bounds the largest share of their latency. utilisation: of the array, weighted by latency
    (of the unit, for layers that never use the array). baseline_s: None where the baseline has no such op.
    """

    layer: str
    phase: str
    cycles: float
    utilisation: float
    bound: str
    latency_s: float
    baseline_s: float | None
    energy_j: float

    @property
    def speedup(self) -> float | None:
        """Latency of the baseline over that of the result."""
        return None if self.baseline_s is None or self.latency_s <= 0 else self.baseline_s / self.latency_s


def layer_rows(result: Result, baseline: Result | None = None) -> list[LayerRow]:
    """One row per layer and pass, layers in the order in which they first run, passes FF, BP, WU, UPDATE."""
    groups: dict[str, dict[str, list[OpRow]]] = {}
    for row in result.rows:
        groups.setdefault(row.layer or OUTSIDE, {}).setdefault(row.phase, []).append(row)
    before: dict[tuple[str, str], float] = {}
    for row in baseline.rows if baseline is not None else ():
        key = (row.layer or OUTSIDE, row.phase)
        before[key] = before.get(key, 0.0) + row.latency_s
    return [
        _layer_row(layer, phase, passes[phase], before.get((layer, phase)))
        for layer, passes in groups.items()
        for phase in PHASES
        if phase in passes
    ]


def _layer_row(layer: str, phase: str, rows: list[OpRow], baseline_s: float | None) -> LayerRow:
    bounds: Counter[str] = Counter()
    for row in rows:
        bounds[row.bound] += row.latency_s  # type: ignore[assignment]
    array = [row for row in rows if row.kind == "einsum"] or rows
    busy = sum(row.latency_s for row in array)
    return LayerRow(
        layer=layer,
        phase=phase,
        cycles=sum(row.cycles for row in rows),
        utilisation=sum(row.utilisation * row.latency_s for row in array) / busy if busy else 0.0,
        bound=bounds.most_common(1)[0][0],
        latency_s=sum(row.latency_s for row in rows),
        baseline_s=baseline_s,
        energy_j=sum(row.energy_j for row in rows),
    )


def slowest(rows: list[LayerRow], limit: int) -> list[LayerRow]:
    """The slowest layers with all their passes, as many as fit into `limit` rows, in their old order."""
    passes: dict[str, list[LayerRow]] = {}
    for row in rows:
        passes.setdefault(row.layer, []).append(row)
    kept: set[str] = set()
    room = limit
    for layer, mine in sorted(passes.items(), key=lambda item: -sum(row.latency_s for row in item[1])):
        if len(mine) > room and kept:
            break
        kept.add(layer)
        room -= len(mine)
    return [row for row in rows if row.layer in kept]


def write_ops(path: Path, result: Result, baseline: Result | None) -> None:
    """All ops as CSV: the columns of `OpRow`, baseline_latency_s, speedup (empty without a counterpart)."""
    before = {row.op: row.latency_s for row in baseline.rows} if baseline is not None else {}
    names = [column.name for column in COLUMNS]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, "baseline_latency_s", "speedup"])
        for row in result.rows:
            was = before.get(row.op)
            ratio = was / row.latency_s if was is not None and row.latency_s > 0 else ""
            writer.writerow([*(getattr(row, name) for name in names), "" if was is None else was, ratio])


def samples_per_s(result: Result) -> float | None:
    """Throughput, where the workload knows its batch."""
    batch = result.meta.get("batch")
    return float(batch) / result.latency_s if batch and result.latency_s > 0 else None


def dense_reasons(result: Result) -> dict[str, int]:
    """Why layers were left dense, and how many for each reason, most frequent first."""
    return dict(Counter(why for why in result.layers.values() if why).most_common())


def pruned_layers(result: Result) -> int:
    """Number of layers that the recipe pruned."""
    return sum(not why for why in result.layers.values())


def summary(result: Result, baseline: Result | None, accelerator: Accelerator | None) -> dict[str, Any]:
    """Everything but the ops, ready for JSON: totals, throughput, and the comparison with the baseline."""
    facts = result.summary()
    facts |= {"samples_per_s": samples_per_s(result), "dense_reasons": dense_reasons(result)}
    if accelerator is not None and result.resources:
        part = accelerator.technology.fpga
        facts["resource_budget"] = {name: getattr(part, name) for name in result.resources}
        facts["over_budget"] = sorted(over_budget(accelerator))
    if baseline is not None:
        facts["baseline"] = baseline.summary()
        facts["gain"] = {k: v for k, v in asdict(gain(result, baseline)).items() if v != float("inf")}
    return facts


def total_by(rows: Iterable[OpRow], column: str, key: str) -> dict[str, float]:
    """Sum of a numeric column over the rows that share the value of `key`."""
    sums: dict[str, float] = {}
    for row in rows:
        name = getattr(row, key)
        sums[name] = sums.get(name, 0.0) + float(getattr(row, column))
    return sums

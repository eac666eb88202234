"""What a run says at its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from zerocast.analysis.explore.pricing.store import FILE
from zerocast.analysis.explore.search.pareto import front, losses
from zerocast.analysis.explore.show.columns import Column, fit, short_names
from zerocast.analysis.explore.show.table import Table
from zerocast.analysis.explore.show.words import design_count

if TYPE_CHECKING:
    import pandas

SHOWN = 10
"""Designs of the front that are printed."""
STATUSES = ("ok", "infeasible", "error")


def print_summary(console: Console, table: Table, folder: Path, said: str) -> None:
    """Counts by status, the Pareto front, where all of it is, and what to do next."""
    frame = table.frame
    counts = frame["status"].value_counts()
    words = ", ".join(f"{counts.get(status, 0):,} {status}" for status in STATUSES)
    console.print(f"{table.name} on {table.accelerator}: {design_count(len(frame))}: {words}; {said}", soft_wrap=True)
    if table.note:
        console.print(f"not complete: {table.note}", soft_wrap=True)
    fine = frame[frame["status"] == "ok"]
    names = [o.name for o in table.objectives]
    turned = losses(fine[names].to_numpy(), [o.direction for o in table.objectives])
    best = fine.iloc[front(turned)].sort_values(names, kind="stable")
    if len(best):
        console.print()
        _print_front(console, table, best)
    else:
        _print_why(console, frame)
    if uncosted := int((fine["uncosted_ops"] > 0).sum()):
        have = "has" if uncosted == 1 else "have"
        console.print(f"\n{design_count(uncosted)} {have} ops that no unit runs: these are in no total (uncosted_ops)")
    place = shlex.quote(str(folder))
    console.print(f"\nstore: {folder / FILE}", soft_wrap=True)
    console.print(f"next: zerocast plot {place}; zerocast export {place} --to parquet", soft_wrap=True)


def _print_front(console: Console, table: Table, best: pandas.DataFrame) -> None:
    names = [o.name for o in table.objectives]
    shown = best.iloc[np.unique(np.linspace(0, len(best) - 1, min(SHOWN, len(best))).round().astype(int))]
    some = f", {len(shown)} of them:" if len(shown) < len(best) else ":"
    directions = ", ".join(f"{o.name} {o.direction}" for o in table.objectives)
    console.print(f"Pareto front ({directions}): {design_count(len(best))}{some}", soft_wrap=True)
    same = {name: _cell(best[name].iloc[0]) for name in table.parameters if best[name].map(_cell).nunique() == 1}
    titles = short_names(("number", "design", *table.parameters, *names))
    columns = [
        Column(title, tuple(map(_cell, shown[name])), name == "design", name in ("number", "design"), name in same)
        for name, title in titles.items()
    ]
    lines, dropped = fit(columns, console.width)
    for line in lines:
        console.print(line.rstrip(), soft_wrap=True)
    if dropped:
        left_out = ", ".join(f"{name} = {value}" for name, value in same.items())
        console.print(f"the same in the whole front: {left_out}", soft_wrap=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5g}"
    return "" if value is None else str(value)


def _print_why(console: Console, frame: pandas.DataFrame) -> None:
    """Why no design is left, by the commonest reasons."""
    kinds = set(frame["status"])
    said = {"error": "no design could be priced", "infeasible": "no design keeps the constraints"}
    mixed = "no design is left: some could not be priced, the others break the constraints"
    headline = said[kinds.pop()] if len(kinds) == 1 else mixed
    reasons = frame["reason"].str.replace(r" \(.*?\)", "", regex=True).value_counts().head(3)
    if len(reasons) == 1:
        console.print(f"{headline}: {frame['reason'].iloc[0]}", soft_wrap=True)
        return
    console.print(f"{headline}; the commonest reasons:")
    for reason, number in reasons.items():
        console.print(f"  {number:,}: {reason}", soft_wrap=True)

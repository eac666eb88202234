"""What a run says at its end."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as Lines

from analysis.explore.pareto import front, losses
from analysis.explore.store import FILE
from analysis.explore.table import Table

SHOWN = 10
"""Designs of the front that are printed."""
STATUSES = ("ok", "infeasible", "error")


def print_summary(console: Console, table: Table, folder: Path, said: str) -> None:
    """Counts by status, the Pareto front, where all of it is, and what to do next."""
    frame = table.frame
    counts = frame["status"].value_counts()
    words = ", ".join(f"{counts.get(status, 0):,} {status}" for status in STATUSES)
    console.print(f"{table.name} on {table.accelerator}: {len(frame):,} designs: {words}; {said}", soft_wrap=True)
    fine = frame[frame["status"] == "ok"]
    names = [o.name for o in table.objectives]
    turned = losses(fine[names].to_numpy(), [o.direction for o in table.objectives])
    best = fine.iloc[front(turned)].sort_values(names, kind="stable")
    if len(best):
        console.print()
        _print_front(console, table, best)
    else:
        _print_why(console, table)
    if uncosted := int((fine["uncosted_ops"] > 0).sum()):
        console.print(f"\n{uncosted:,} designs have ops that no unit runs: these are in no total (uncosted_ops)")
    place = shlex.quote(str(folder))
    console.print(f"\nstore: {folder / FILE}", soft_wrap=True)
    console.print(f"next: zerocast plot {place}; zerocast export {place} --to parquet", soft_wrap=True)


def _print_front(console: Console, table: Table, best: object) -> None:
    import pandas

    assert isinstance(best, pandas.DataFrame)
    names = [o.name for o in table.objectives]
    shown = best.iloc[np.unique(np.linspace(0, len(best) - 1, min(SHOWN, len(best))).round().astype(int))]
    some = f", {len(shown)} of them:" if len(shown) < len(best) else ":"
    directions = ", ".join(f"{o.name} {o.direction}" for o in table.objectives)
    console.print(f"Pareto front ({directions}): {len(best):,} designs{some}", soft_wrap=True)
    lines = Lines(box=None, pad_edge=False, header_style="")
    for name in ("number", "design", *table.parameters, *names):
        lines.add_column(name, justify="left" if name == "design" else "right", overflow="fold")
    for _, row in shown.iterrows():
        cells = [row[name] for name in ("number", "design", *table.parameters, *names)]
        lines.add_row(*(_cell(value) for value in cells))
    console.print(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5g}"
    return "" if value is None else str(value)


def _print_why(console: Console, table: Table) -> None:
    """The commonest reasons where no design is left."""
    reasons = table.frame["reason"].str.replace(r" \(.*?\)", "", regex=True).value_counts().head(3)
    console.print("no design is left that keeps the constraints; the commonest reasons:")
    for reason, number in reasons.items():
        console.print(f"  {number:,}: {reason}", soft_wrap=True)

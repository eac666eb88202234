"""Comparisons with references, for the screen and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from zerocast.analysis.console import output

if TYPE_CHECKING:
    from zerocast.analysis.validate import Comparison


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """One line per comparison, the sources as footnotes, then how many hold."""
    console = output()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("suite", "what", "predicted", "reference", "unit", "error", "tolerance", "", "source", "note"):
        right = name in ("predicted", "reference", "error", "tolerance")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    named = dict.fromkeys(c.source for c in comparisons if c.source)
    sources = {source: number for number, source in enumerate(named, 1)}
    verdicts = {True: "ok", False: "FAIL", None: "info"}
    for c in comparisons:
        error = "" if c.error is None else f"{c.error:+.2%}"
        tolerance = "" if c.tolerance is None else f"{c.tolerance:.2%}"
        source = f"[{sources[c.source]}]" if c.source else ""
        table.add_row(
            c.suite, c.what, _figure(c.predicted), _figure(c.reference), c.unit, error, tolerance, verdicts[c.ok],
            source, c.note, style="red" if c.ok is False else "",
        )  # fmt: skip
    console.print(table)
    console.print()
    for text, number in sources.items():
        console.print(f"[{number}] {text}")
    failed = sum(c.ok is False for c in comparisons)
    held = sum(c.ok is True for c in comparisons)
    others = len(comparisons) - held - failed
    console.print(f"\n{held} within tolerance, {failed} not, {others} for information")


def write_comparisons(path: Path, comparisons: Sequence[Comparison]) -> None:
    """All fields of the comparisons as CSV."""
    rows = [asdict(comparison) for comparison in comparisons]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

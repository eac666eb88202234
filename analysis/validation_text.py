"""Comparisons with references, for the screen and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from analysis.console import output

if TYPE_CHECKING:
    from analysis.validate import Comparison


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """One line per comparison, then how many hold."""
    console = output()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("suite", "what", "predicted", "reference", "unit", "error", "tolerance", "", "source", "note"):
        right = name in ("predicted", "reference", "error", "tolerance")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    verdicts = {True: "ok", False: "FAIL", None: "info"}
    for c in comparisons:
        table.add_row(
            c.suite, c.what, _figure(c.predicted), _figure(c.reference), c.unit, _share(c.error),
            _share(c.tolerance), verdicts[c.ok], c.source, c.note, style="red" if c.ok is False else "",
        )  # fmt: skip
    console.print(table)
    failed = sum(c.ok is False for c in comparisons)
    held = sum(c.ok is True for c in comparisons)
    console.print(f"\n{held} within tolerance, {failed} not, {len(comparisons) - held - failed} for information")


def write_comparisons(path: Path, comparisons: Sequence[Comparison]) -> None:
    """All fields of the comparisons as CSV."""
    rows = [asdict(comparison) for comparison in comparisons]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:+.2%}" if value < 0 else f"{value:.2%}"

"""Verdicts on comparisons, for the screen and as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from zerocast.analysis.commands.printing.console import output

if TYPE_CHECKING:
    from zerocast.analysis.validate.verdict import Verdict

_STYLES = {"FAIL": "red", "known miss": "yellow"}


def print_verdicts(verdicts: Sequence[Verdict], wrong: Sequence[str] = (), remarks: Sequence[str] = ()) -> None:
    """One line per comparison, the sources as footnotes, what to know, and how many hold.

    wrong, remarks: about rows that were expected and did not come.
    """
    console = output()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("suite", "what", "predicted", "reference", "unit", "error", "tolerance", "", "source", "note"):
        right = name in ("predicted", "reference", "error", "tolerance")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    named = dict.fromkeys(v.comparison.source for v in verdicts if v.comparison.source)
    sources = {source: number for number, source in enumerate(named, 1)}
    for verdict in verdicts:
        c = verdict.comparison
        table.add_row(
            c.suite, c.what, figure(c.predicted), figure(c.reference), c.unit, share(c.error), share(c.tolerance, ""),
            verdict.status, f"[{sources[c.source]}]" if c.source else "",
            "; ".join(filter(None, (verdict.why, verdict.remark, c.note))), style=_STYLES.get(verdict.status, ""),
        )  # fmt: skip
    console.print(table)
    console.print()
    for text, number in sources.items():
        console.print(f"[{number}] {text}")
    for text in wrong:
        console.print(f"FAIL: {text}", style="red", soft_wrap=True)
    for text in remarks:
        console.print(text, soft_wrap=True)
    for verdict in verdicts:
        if verdict.status == "FAIL" or verdict.remark:
            c = verdict.comparison
            words = f"FAIL: {verdict.why}" if verdict.status == "FAIL" else verdict.remark
            console.print(f"{c.suite}, {c.what}: {words}", style=_STYLES.get(verdict.status, ""), soft_wrap=True)
    counts = Counter(verdict.status for verdict in verdicts)
    console.print(
        f"\n{counts['holds']} within tolerance, {counts['known miss']} known misses, {counts['information']} for "
        f"information, {counts['FAIL'] + len(wrong)} failed"
    )


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """All fields of the comparisons and what is said of them as CSV."""
    rows = [asdict(v.comparison) | {"status": v.status, "why": v.why, "remark": v.remark} for v in verdicts]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def figure(value: float | None) -> str:
    """A number of six digits; "" for none."""
    return "" if value is None else f"{value:.6g}"


def share(value: float | None, sign: str = "+") -> str:
    """A share in percent; "" for none."""
    return "" if value is None else f"{value:{sign}.2%}"

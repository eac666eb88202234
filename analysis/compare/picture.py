"""The comparison as a picture and a page: a bar for each case, best first, with the span of its error."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from zerocast.analysis.compare.cases import Tried
from zerocast.analysis.compare.ranking import Ranked, pays_from
from zerocast.analysis.reports.plots.times import new_figure, png, tidy
from zerocast.analysis.units import scale_of, si, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = ("", "case", "time", "9 of 10 within", "per sample", "speedup", "energy", "DRAM", "memory", "most of the time")


def cells(rank: int, row: Ranked) -> list[str]:
    """A row in words, under `TITLES`."""
    span = "" if row.low_s is None or row.high_s is None else f"{si(row.low_s, 's')} - {si(row.high_s, 's')}"
    return [str(rank), row.case.label, si(row.latency_s, "s"), span, si(row.per_sample_s, "s"), times(row.speedup),
            si(row.energy_j, "J"), si(row.dram_bytes, "B"), si(row.peak_bytes, "B"), row.limit]  # fmt: skip


def figure_of(rows: Sequence[Ranked]) -> Figure:
    """Time of each case per sample, best on top; thin lines span what 9 of 10 measurements are to lie in."""
    figure = new_figure(9, 1.2 + 0.3 * len(rows))
    axes = figure.subplots()
    scale, prefix = scale_of(max(row.per_sample_s for row in rows))
    values = [row.per_sample_s / scale for row in rows]
    axes.barh(range(len(rows)), values, color="#3b6ea8", height=0.62)
    for at, row in enumerate(rows):
        end = values[at]
        if row.low_s is not None and row.high_s is not None:
            share = row.per_sample_s / row.latency_s / scale
            axes.plot([row.low_s * share, row.high_s * share], [at, at], color="#222222", linewidth=1)
            end = max(end, row.high_s * share)
        axes.annotate(times(row.speedup), (end, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row.case.label for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"time per sample [{prefix}s]")
    tidy(axes)
    return figure


def write_page(title: str, rows: Sequence[Ranked], tried: Sequence[Tried], out: Path) -> Path:
    """Write compare.png and compare.html (self-contained) into the folder `out`; the page's path."""
    from jinja2 import Environment

    image = png(figure_of(rows))
    (out / "compare.png").write_bytes(image)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = (files("zerocast.analysis.reports") / "templates" / "compare.html").read_text(encoding="utf-8")
    page = out / "compare.html"
    page.write_text(
        environment.from_string(source).render(
            title=title, titles=TITLES, rows=[cells(at, row) for at, row in enumerate(rows, 1)],
            picture=base64.b64encode(image).decode(), pays=list(pays_from(rows)),
            losing=[(row.case.label, ", ".join(row.losing)) for row in rows if row.losing],
            refused=[(each.case.label, each.reason) for each in tried if each.result is None],
        ),
        encoding="utf-8",
    )  # fmt: skip
    return page

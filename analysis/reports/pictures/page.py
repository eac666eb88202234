"""The interactive page: one file with its data and its library inside, which asks for nothing."""

from __future__ import annotations

import base64
import gzip
import json
import math
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zerocast.analysis.reports.pictures.columns import (
    BOOKKEEPING,
    Levels,
    levels_of,
    spans_decades,
    takes_prefix,
    unit_of,
    words_of,
)
from zerocast.analysis.reports.pictures.designs import Chosen, Designs, numbers_of, reasons_of
from zerocast.analysis.reports.pictures.style import DPI, PALETTE, SEQUENCE

if TYPE_CHECKING:
    from pandas import DataFrame

    from zerocast.analysis.reports.pictures.command import Pictures

SCRIPTS = ("1_data", "2_scatter", "3_parallel", "4_filters", "5_table", "6_start")
"""Parts of the page's script, in order."""
CELLS = 900_000
"""Cells that the page holds at most, so that it stays below 6 MB: beyond, designs off the front are thinned evenly."""
CHOICES = 16
"""Levels up to which a numeric column is filtered by choices and stands at even steps."""
REASONS = 12
"""Reasons that the page lists with their counts."""
MOST_CHOICES = 300
"""Levels up to which words can be chosen from."""
DIGITS = 7
"""Significant digits of a number on the page; the store has all of them."""


def write_page(designs: Designs, chosen: list[Chosen], path: Path) -> Path:
    """Write the page for all designs of a table, those included that are infeasible or failed."""
    from jinja2 import Environment
    from markupsafe import Markup

    parts = files("zerocast.analysis.reports.pictures") / "page_parts"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    # our own style and script, and base64: nothing of the user's, so nothing to escape
    script = "\n".join((parts / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    style = (parts / "explore.css").read_text(encoding="utf-8")
    text = environment.from_string((parts / "explore.html").read_text(encoding="utf-8")).render(
        title=_title(designs),
        note=designs.table.note,
        library=_library(),
        library_version=f"of plotly.py {version('plotly')}",
        data=packed(json.dumps(payload(designs, chosen), allow_nan=False, separators=(",", ":")).encode()),
        style=Markup(style),
        script=Markup(script),
    )
    path.write_text(text, encoding="utf-8")
    return path


@cache
def _library() -> str:
    return packed((files("plotly") / "package_data" / "plotly.min.js").read_bytes())


def packed(content: bytes) -> str:
    """gzip in base64, the same bytes every time: a third of the library's size, and no letter that ends a script."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _title(designs: Designs) -> str:
    return f"{designs.table.name} on {designs.table.accelerator}"


def payload(designs: Designs, chosen: list[Chosen]) -> dict[str, Any]:
    """What the page knows, ready for JSON: columns, each a list over the same designs, and where to begin."""
    frame, place = _kept(designs, chosen)
    varied, fixed = _columns(designs, frame)
    names = [column["name"] for column in varied]
    objectives = [objective.name for objective in designs.objectives]
    begin = [name for name in (*objectives, *names) if name in names]
    return {
        "title": _title(designs),
        "method": designs.table.method,
        "first": designs.objectives[0].name,
        "of": len(designs.table.frame),
        "columns": varied,
        "fixed": fixed,
        "number": _texts(frame, "number"),
        "design": _texts(frame, "design"),
        "command": _texts(frame, "command"),
        "status": _coded(levels_of("status", frame["status"])),
        "reason": _coded(levels_of("reason", frame["reason"])) if "reason" in frame else None,
        "front": [place[int(row)] for row in np.flatnonzero(designs.front)],
        "chosen": [{"row": place[each.row], "letter": each.letter, "role": each.role} for each in chosen],
        "begin": {"x": begin[0], "y": begin[min(1, len(begin) - 1)], "colour": begin[min(2, len(begin) - 1)]},
        "notes": list(designs.notes),
        "reasons": reasons_of(designs.table)[:REASONS],
        "palette": list(PALETTE),
        "scales": {"light": _shades(0.0, 0.92), "dark": _shades(0.22, 1.0)},
    }


def _kept(designs: Designs, chosen: list[Chosen]) -> tuple[DataFrame, dict[int, int]]:
    """The rows of the page, and for each row of `designs.frame` on it its place there.

    A large table keeps its front, the chosen designs and an even choice of the others.
    """
    frame = designs.table.frame
    kept = np.arange(len(frame))
    must = designs.source[np.union1d(np.flatnonzero(designs.front), [each.row for each in chosen]).astype(int)]
    room = CELLS // max(frame.shape[1], 1) - len(must)
    if len(frame) - len(must) > room:
        others = np.setdiff1d(kept, must)
        kept = np.union1d(must, others[np.linspace(0, len(others) - 1, max(room, 1)).astype(int)])
    at = {int(row): place for place, row in enumerate(kept)}
    places = {row: at[int(source)] for row, source in enumerate(designs.source) if int(source) in at}
    return frame.iloc[kept].reset_index(drop=True), places


def _columns(designs: Designs, frame: DataFrame) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """The objectives and what takes two values or more, parameters first; and the others as name and text."""
    objectives = {objective.name: objective.direction for objective in designs.objectives}
    parameters = designs.table.parameters
    metrics = [str(c) for c in frame.columns if c not in (*BOOKKEEPING, *parameters, *objectives)]
    varied, fixed = [], []
    for name in dict.fromkeys((*parameters, *objectives, *metrics)):
        if frame[name].isna().all():
            continue
        levels = levels_of(name, frame[name])
        if len(levels) == 1 and name not in objectives:
            fixed.append([words_of(name), levels.labels[0]])
            continue
        kind = "parameter" if name in parameters else "objective" if name in objectives else "metric"
        varied.append(_column(name, kind, levels, frame) | {"direction": objectives.get(name)})
    return varied, fixed


def _column(name: str, kind: str, levels: Levels, frame: DataFrame) -> dict[str, Any]:
    """Levels and codes of a column of few values or of words, numbers of any other."""
    numeric = all(value is None or isinstance(value, float) for value in levels.values)
    column: dict[str, Any] = {"name": name, "words": words_of(name), "unit": unit_of(name), "kind": kind,
                              "prefix": takes_prefix(name)}  # fmt: skip
    if numeric:
        values = numbers_of(frame, name)
        column |= {"values": [_short(value) for value in values], "log": spans_decades(values)}
    if not numeric or (kind == "parameter" and len(levels) <= CHOICES):
        column |= _coded(levels) | {"choices": len(levels) <= MOST_CHOICES}
    return column


def _coded(levels: Levels) -> dict[str, Any]:
    return {"levels": list(levels.labels), "codes": levels.codes.tolist()}


def _texts(frame: DataFrame, name: str) -> list[str]:
    return [str(value) for value in frame[name]] if name in frame else [""] * len(frame)


def _short(value: float) -> float | None:
    """A number with the digits that the page keeps; None where there is none, which JSON knows and NaN it does not."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _shades(low: float, high: float) -> list[list[Any]]:
    """Part of the colour map that shows on the page's background, as plotly.js takes it."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    steps = np.linspace(0.0, 1.0, 11)
    return [[float(step), to_hex(colormaps[SEQUENCE](low + step * (high - low)))] for step in steps]


def write_index(designs: Designs, pictures: Pictures, path: Path) -> Path:
    """The figures with their captions on one page, and what was left out."""
    from jinja2 import Environment

    source = (files("zerocast.analysis.reports.pictures") / "page_parts" / "index.html").read_text(encoding="utf-8")
    counts = designs.table.frame["status"].value_counts()
    path.write_text(
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source).render(
            title=_title(designs),
            note=designs.table.note,
            counts=", ".join(f"{count:,} {status}" for status, count in counts.items()),
            figures=[(name, text, _width(path.parent / f"{name}.png")) for name, text in pictures.figures.items()],
            left_out=pictures.left_out,
            page=(path.parent / "explore.html") in pictures.files,
        ),
        encoding="utf-8",
    )  # fmt: skip
    return path


def _width(png: Path) -> int:
    """Width on the page in CSS pixels, half as large again as on paper: bytes 16 to 20 of a PNG are its width."""
    with png.open("rb") as stream:
        pixels = int.from_bytes(stream.read(20)[16:], "big")
    return round(pixels / DPI * 96 * 1.4)

"""What every comparison gave when it was last recorded, and which misses are known: data beside the references."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate.comparison import Comparison, Kind, reference_rows

RECORD, MISSES, PAGE = "validation.csv", "known_misses.csv", "VALIDATION.md"
"""Files of `analysis/references`: the record, the misses, and the record as a page to read."""

COLUMNS = ("suite", "row", "kind", "predicted", "reference", "unit", "tolerance", "ok", "needs", "source")
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Miss:
    """A row that is known to miss its tolerance. cause: why, in one line. bound: how far off it may be, see `off`."""

    suite: str
    row: str
    cause: str
    bound: float


def key_of(comparison: Comparison) -> Key:
    """How the record calls a comparison."""
    return comparison.suite, comparison.what


def off(comparison: Comparison) -> float:
    """How far a prediction is on the wrong side of its reference, as a share of it: the absolute error of a target,
    what is above a limit or a ceiling, what lacks of a share (below 0 where nothing does). NaN for a plain figure."""
    reference = comparison.reference
    if reference is None:
        return math.nan
    over = comparison.predicted / reference - 1 if reference else math.copysign(math.inf, comparison.predicted)
    return {"target": abs(over), "share": -over}.get(comparison.nature, over)


def recorded() -> dict[Key, Comparison]:
    """The record, by suite and row. Empty where there is none yet."""
    if not (files("zerocast.analysis") / "references" / RECORD).is_file():
        return {}
    return {(row["suite"], row["row"]): _comparison(row) for row in reference_rows(RECORD)}


def known_misses() -> dict[Key, Miss]:
    """The known misses, by suite and row. Raises `AnalysisError` for one without a cause or a bound."""
    found: dict[Key, Miss] = {}
    for row in reference_rows(MISSES):
        name = f"{MISSES}: {row['suite']}, {row['row']!r}"
        try:
            bound = float(row["bound"])
        except ValueError:
            raise AnalysisError(f"{name}: bound {row['bound']!r} is no number; write a share such as 0.42") from None
        if not (row["cause"].strip() and math.isfinite(bound) and bound >= 0):
            raise AnalysisError(f"{name}: write the cause in one line and a bound of 0 or more")
        found[row["suite"], row["row"]] = Miss(row["suite"], row["row"], row["cause"].strip(), bound)
    return found


def merged(
    old: Mapping[Key, Comparison], new: Sequence[Comparison], whole: Iterable[str], suites: Sequence[str]
) -> list[Comparison]:
    """The record with new rows in place of the old ones, in the order of `suites`.

    whole: suites of which `new` holds every row, so that old ones that are gone leave the record, unless they only
    lack an extra here.
    """
    kept, fresh = set(whole), {key_of(row): row for row in new}
    stay = {key: row for key, row in old.items() if key not in fresh and (row.suite not in kept or row.needs)}
    order = {suite: place for place, suite in enumerate(suites)}
    return sorted([*fresh.values(), *stay.values()], key=lambda row: order.get(row.suite, len(order)))


def record_text(rows: Iterable[Comparison]) -> str:
    """The record as CSV. Six digits, so that another machine's last bits change no line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([
            row.suite, row.what, row.nature, _digits(row.predicted), _digits(row.reference), row.unit,
            _digits(row.tolerance), {True: "yes", False: "no", None: ""}[row.ok], row.needs, row.source,
        ])  # fmt: skip
    return stream.getvalue()


def write_record(rows: Sequence[Comparison], page: str) -> list[Path]:
    """Write the record and its page into the references of this installation; errors as of `write_reference`."""
    return [write_reference(name, text) for name, text in ((RECORD, record_text(rows)), (PAGE, page))]


def write_reference(name: str, text: str) -> Path:
    """Write a file of the references of this installation. Raises `OSError` where it is read-only and `AnalysisError`
    where the package is no folder."""
    folder = files("zerocast.analysis") / "references"
    if not isinstance(folder, Path):
        raise AnalysisError(f"--record: {folder} is no folder; run it in a checkout")
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _comparison(row: Mapping[str, str]) -> Comparison:
    kind: Kind = row["kind"]  # type: ignore[assignment]  # written by us
    reference, tolerance = (float(row[name]) if row[name] else None for name in ("reference", "tolerance"))
    predicted = float(row["predicted"])
    error = None if not reference or kind in ("limit", "share") else predicted / reference - 1
    return Comparison(
        row["suite"], row["row"], predicted, reference, row["unit"], error, tolerance,
        {"yes": True, "no": False}.get(row["ok"]), row["source"], "", kind, row["needs"],
    )  # fmt: skip

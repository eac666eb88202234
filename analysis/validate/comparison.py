"""One comparison of a prediction with a reference."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Comparison:
    """A prediction beside its reference.

    error: (predicted - reference) / reference. tolerance: the error allowed, None for a row that informs only
    (`ok` is then None). An upper bound has its bound as the reference and `ok` set by the suite.
    """

    suite: str
    what: str
    predicted: float
    reference: float | None
    unit: str
    error: float | None
    tolerance: float | None
    ok: bool | None
    source: str
    note: str = ""


def against(
    suite: str, what: str, predicted: float, reference: float, unit: str, tolerance: float, source: str, note: str = ""
) -> Comparison:
    """A comparison that must hold within a relative tolerance."""
    error = predicted / reference - 1
    ok = abs(error) <= tolerance
    return Comparison(suite, what, predicted, reference, unit, error, tolerance, ok, source, note)


def below(suite: str, what: str, predicted: float, bound: float, unit: str, source: str, note: str = "") -> Comparison:
    """A comparison that holds while the prediction does not exceed a bound."""
    ok = predicted <= bound * (1 + 1e-9)
    return Comparison(
        suite, what, predicted, bound, unit, predicted / bound - 1, 0.0, ok, source, note or "upper bound"
    )


def information(suite: str, what: str, predicted: float, unit: str, note: str = "") -> Comparison:
    """A figure without a reference."""
    return Comparison(suite, what, predicted, None, unit, None, None, None, "", note)


def reference_rows(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file in `analysis/references`."""
    text = (files("zerocast.analysis") / "references" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))

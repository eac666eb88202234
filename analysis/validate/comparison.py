"""One comparison of a prediction with a reference."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Kind = Literal["target", "limit", "share", "ceiling", "figure"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A prediction beside its reference.

    error: (predicted - reference) / reference. tolerance: the error allowed, None for a row that informs only
    (`ok` is then None). kind: what the reference is. target: the figure to meet. limit: an error that must not be
    exceeded, the less the better. share: one that must be reached, the more the better. ceiling: what physics or a part
    allows; below it nothing is better or worse. figure: there is none. needs: extra without which the row is not there.
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
    kind: Kind = "target"
    needs: str = ""

    @property
    def nature(self) -> Kind:
        """The kind; a row without a reference is a figure."""
        return "figure" if self.reference is None else self.kind


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
    error = predicted / bound - 1
    return Comparison(suite, what, predicted, bound, unit, error, 0.0, ok, source, note or "upper bound", "ceiling")


def at_most(suite: str, what: str, value: float, limit: float, source: str, note: str = "") -> Comparison:
    """An error that must not exceed a limit."""
    return Comparison(suite, what, value, limit, "", None, None, value <= limit, source,
                      "; ".join(filter(None, (f"at most {limit:.0%}", note))), "limit")  # fmt: skip


def at_least(suite: str, what: str, value: float, least: float, source: str, note: str = "") -> Comparison:
    """A share that must be reached."""
    return Comparison(suite, what, value, least, "", None, None, value >= least, source,
                      "; ".join(filter(None, (f"at least {least:.0%}", note))), "share")  # fmt: skip


def information(suite: str, what: str, predicted: float, unit: str, note: str = "") -> Comparison:
    """A figure without a reference."""
    return Comparison(suite, what, predicted, None, unit, None, None, None, "", note)


def reference_rows(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file in `analysis/references`, named by its path there."""
    text = (files("zerocast.analysis") / "references" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def published(suite: str, row: dict[str, str], predicted: float, tolerance: float) -> Comparison:
    """A figure of a reference table beside what is predicted, or below it where the table gives an upper bound."""
    what, reference, unit = f"{row['system']}, {row['what']}", float(row["value"]), row["unit"]
    source = f"{row['source']} ({row['read_or_recalled']})"
    if row["conditions"].startswith("upper bound"):
        return below(suite, what, predicted, reference, unit, source, row["conditions"])
    return against(suite, what, predicted, reference, unit, tolerance, source, row["conditions"])

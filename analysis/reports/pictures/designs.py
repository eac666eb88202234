"""Which designs are drawn, and which of them matter: the front, its extremes, its knee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.reports.pictures.columns import Levels, levels_of, words_of

if TYPE_CHECKING:
    from pandas import DataFrame

    from zerocast.analysis.explore.show.table import Objective, Table

SHOWN_REASONS = 3
"""Reasons that the message about an empty table quotes."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A design that a picture names: its row in `Designs.frame`, its letter, and why it was chosen."""

    row: int
    letter: str
    role: str


@dataclass(frozen=True, slots=True)
class Designs:
    """The designs that can be drawn.

    frame: rows with status ok and a finite value of each objective, numbered from 0. source: shape (rows,), their
    places in the table. costs: shape (rows, objectives),
    smaller is better. front: shape (rows,), whether no other design beats it. notes: what was left out.
    """

    table: Table
    frame: DataFrame
    source: NDArray[np.intp]
    objectives: tuple[Objective, ...]
    costs: NDArray[np.float64]
    front: NDArray[np.bool_]
    notes: tuple[str, ...]
    _levels: dict[str, Levels] = field(default_factory=dict, repr=False, compare=False)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as floats, NaN where it holds none; raises `AnalysisError` for a column that is not there."""
        return numbers_of(self.frame, name)

    def levels(self, name: str) -> Levels:
        """The values of a column."""
        if name not in self._levels:
            self._levels[name] = levels_of(name, self.frame[name])
        return self._levels[name]

    @property
    def varied(self) -> tuple[str, ...]:
        """Parameters that take more than one value."""
        return tuple(name for name in self.table.parameters if len(self.levels(name)) > 1)


def numbers_of(frame: DataFrame, name: str) -> NDArray[np.float64]:
    """A column as floats, NaN where it holds no finite number; raises `AnalysisError` for one that is not there."""
    import pandas

    if name not in frame:
        raise AnalysisError(f"the table has no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    values = pandas.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def drawable(table: Table) -> Designs:
    """The designs of a table that can be drawn.

    An objective without a single value is left out; so is a design that misses one of the others. Raises
    `AnalysisError` where nothing is left, naming the reasons that the designs carry.
    """
    if missing := [name for name in ("status", *table.parameters) if name not in table.frame]:
        raise AnalysisError(
            f"the table of {table.name!r} has no column {', '.join(missing)}: run `zerocast explore` again"
        )
    ok = table.frame[table.frame["status"] == "ok"]
    if not len(ok):
        raise AnalysisError(_nothing_ok(table))
    from zerocast.analysis.explore.search.pareto import losses

    notes: list[str] = []
    objectives = []
    for objective in table.objectives:
        if objective.name in ok and not np.isnan(numbers_of(ok, objective.name)).all():
            objectives.append(objective)
        else:
            notes.append(f"objective {objective.name} is left out: no design has a value of it")
    if not objectives:
        raise AnalysisError(f"{table.name!r}: no design has a value of any objective "
                            f"({', '.join(o.name for o in table.objectives) or 'none is named'})")  # fmt: skip
    values = np.column_stack([numbers_of(ok, objective.name) for objective in objectives])
    costs = losses(values, [objective.direction for objective in objectives])
    whole = ~np.isnan(costs).any(axis=1)
    if not whole.any():
        raise AnalysisError(f"{table.name!r}: no design has a value of all its objectives "
                            f"({', '.join(o.name for o in objectives)})")  # fmt: skip
    if not whole.all():
        notes.append(f"{np.count_nonzero(~whole)} of {len(ok)} designs are left out: they miss a value of an objective")
    costs = costs[whole]
    source = np.flatnonzero((table.frame["status"] == "ok").to_numpy())[whole]
    frame = table.frame.iloc[source].reset_index(drop=True)
    return Designs(table, frame, source, tuple(objectives), costs, front(costs), tuple(notes))


def _nothing_ok(table: Table) -> str:
    counts = table.frame["status"].value_counts()
    found = ", ".join(f"{count:,} {status}" for status, count in counts.items()) or "it is empty"
    why = "; ".join(f"{text} ({count:,})" for text, count in reasons_of(table)[:SHOWN_REASONS])
    most = f". Most often: {why}" if why else ""
    return f"{table.name!r} has no design to draw: {found}{most}. Widen the space or its constraints"


def reasons_of(table: Table) -> list[tuple[str, int]]:
    """Why designs are infeasible or failed, and how many of each, most frequent first.

    A design that breaks two constraints counts for both; what stands in brackets is the design's own and left out.
    """
    if "reason" not in table.frame:
        return []
    reasons = table.frame["reason"].astype(str).str.replace(r" \(.*?\)", "", regex=True).str.split("; ").explode()
    return [(str(text), int(count)) for text, count in reasons[reasons != ""].value_counts().items()]


def front(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows of `costs`, shape (designs, objectives), that no other row beats; of equal rows the first."""
    from zerocast.analysis.explore.search.pareto import front as places

    mask = np.zeros(len(costs), dtype=bool)
    mask[places(costs)] = True
    return mask


def knee(costs: NDArray[np.float64]) -> int:
    """The row of a front, shape (designs, objectives), that bulges most towards the ideal point.

    Each objective runs from 0 at its best to 1 at its worst on the front, as a logarithm where it is positive, since
    a halved latency and a halved energy count alike; the least sum is farthest from the plane through the extremes
    (Das, "On characterizing the 'knee' of the Pareto curve", Structural Optimization 18, 1999).
    """
    sizes = np.abs(costs)
    positive = (costs > 0).all(axis=0) | (costs < 0).all(axis=0)
    scaled = np.where(positive, np.sign(costs) * np.log(np.where(sizes > 0, sizes, 1.0)), costs)
    low, span = scaled.min(axis=0), np.ptp(scaled, axis=0)
    return int(np.argmin(((scaled - low) / np.where(span > 0, span, 1.0)).sum(axis=1)))


def extremes_and_knee(designs: Designs) -> list[Chosen]:
    """The best design of each objective and the knee, each design once; letters in this order."""
    members = np.flatnonzero(designs.front)
    roles: dict[int, list[str]] = {}
    for number, objective in enumerate(designs.objectives):
        # among equals in one objective the front's own member is the best in the others
        best = members[np.argmin(designs.costs[members, number])]
        sense = "most" if objective.direction == "max" else "least"
        roles.setdefault(int(best), []).append(f"{sense} {words_of(objective.name)}")
    if len(designs.objectives) > 1:
        roles.setdefault(int(members[knee(designs.costs[members])]), []).append("knee")
    return [Chosen(row, _letter(at), ", ".join(why)) for at, (row, why) in enumerate(roles.items())]


def chosen_by_key(designs: Designs, keys: Sequence[str]) -> list[Chosen]:
    """Designs named by (the beginning of) their key; raises `AnalysisError` for one that is unknown or ambiguous."""
    found: dict[int, None] = {}
    known = designs.frame["design"].astype(str)
    for key in keys:
        rows = np.flatnonzero(known.str.startswith(key)) if key else np.array([], dtype=int)
        if not len(set(known.iloc[rows])):
            raise AnalysisError(f"--designs {key!r}: no such design among the {len(known)} that can be drawn; "
                                f"a key looks like {known.iloc[0]}")  # fmt: skip
        if len(set(known.iloc[rows])) > 1:
            raise AnalysisError(f"--designs {key!r}: {len(rows)} designs begin so; give more digits")
        found[int(rows[0])] = None
    return [Chosen(row, _letter(at), str(known.iloc[row])) for at, row in enumerate(found)]


def _letter(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)

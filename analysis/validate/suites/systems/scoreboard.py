"""The founding systems: rows of data, their commands priced, their claims held; a status follows, nobody writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.systems.capabilities import is_there
from zerocast.analysis.validate.suites.systems.trial import Trial, tried

SUITE = "systems"
FAMILIES = {
    "nm": "N:M groups", "unstructured": "unstructured weights", "structured": "channels, heads, layers",
    "activations": "zero activations", "attention": "sparse attention", "factorised": "factors and low rank",
    "training": "schedules and sparse training", "kernels": "kernels of CPUs and phones", "others": "others",
}  # fmt: skip
"""Files of `analysis/references/systems`, and what they hold."""

Status = Literal["works", "partly", "no"]
EXACT = 1e-9
"""Tolerance of a claim that is a closed form."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A published figure. key: of the prediction, "" where there cannot be one: `because` then says why. tolerance:
    relative error allowed. source: where it is not the system's. note: what differs in how it counts."""

    what: str
    value: float | str
    unit: str = ""
    key: str = ""
    tolerance: float = EXACT
    because: str = ""
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class System:
    """A system. gist: what it is; command: what a user types for it, "" where nothing prices it; needs: capabilities of
    the program that it takes beyond its command; source: of its claims."""

    number: int
    name: str
    family: str
    gist: str
    arxiv: str
    source: str
    command: str = ""
    claims: tuple[Claim, ...] = ()
    needs: tuple[str, ...] = ()
    recalled: bool = False

    @property
    def label(self) -> str:
        """Number and name."""
        return f"{self.number} {self.name}"


@dataclass(frozen=True)
class Judged:
    """A system that was tried. comparisons: of its claims; why: what keeps it from working, in words."""

    system: System
    status: Status
    comparisons: tuple[Comparison, ...] = ()
    why: tuple[str, ...] = ()


@cache
def systems() -> tuple[System, ...]:
    """All rows, by number."""
    folder = files("zerocast.analysis") / "references" / SUITE
    found = [
        _system(family, row)
        for family in FAMILIES
        for row in yaml.safe_load((folder / f"{family}.yaml").read_text(encoding="utf-8"))
    ]
    return tuple(sorted(found, key=lambda system: system.number))


def _system(family: str, row: Mapping[str, Any]) -> System:
    claims = tuple(Claim(**claim) for claim in row.get("claims", ()))
    given = {key: value for key, value in row.items() if key not in ("claims", "needs", "is")}
    return System(**given, gist=row["is"], family=family, claims=claims, needs=tuple(row.get("needs", ())))


Predict = Callable[[Trial], Mapping[str, float]]


def judge(system: System, predict: Predict | None) -> Judged:
    """Try a system: ask for what it needs, price its command, predict its claims, hold them.

    It works where the program has all that it needs and every claim that has a key holds. Raises `AnalysisError` for
    a system without a command of which nothing is missing any more, and for a prediction without a claim.
    """
    lacks = [f"lacks {what}" for what in system.needs if not is_there(what)]
    if not system.command:
        if not lacks:
            raise AnalysisError(f"system {system.label}: nothing that it needs is missing; give it a command")
        return Judged(system, "no", (), tuple(lacks))
    trial = tried(system.command)
    trial.price()
    predicted = dict(predict(trial)) if predict else {}
    expected = {claim.key: claim for claim in system.claims if claim.key}
    if strange := set(predicted) - set(expected):
        raise AnalysisError(f"system {system.label}: no claim {', '.join(sorted(strange))}")
    rows = tuple(_held(system, claim, predicted[key]) for key, claim in expected.items() if key in predicted)
    why = [*lacks, *(f"{row.what.partition(': ')[2]} is off by {row.error:+.1%}" for row in rows if not row.ok)]
    why += [f"{claim.what} is not predicted" for key, claim in expected.items() if key not in predicted]
    return Judged(system, "partly" if why else "works", rows, tuple(why))


def _held(system: System, claim: Claim, predicted: float) -> Comparison:
    source = f"arXiv {system.arxiv}; {claim.source or system.source}"
    value, what = float(claim.value), f"{system.label}: {claim.what}"
    return against(SUITE, what, predicted, value, claim.unit, claim.tolerance, source, claim.note)

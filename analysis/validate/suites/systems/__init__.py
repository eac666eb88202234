"""The scoreboard: 59 published systems of sparsity, each with its command, its claims and what it lacks.

A row is data (`analysis/references/systems`): what it needs of the program, which `capabilities.py` finds out by asking
for it; its claims, which `predictions.py` predicts; its command. Its status follows from trying all that: nobody writes
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from zerocast.analysis.validate.comparison import Comparison, information
from zerocast.analysis.validate.suites.systems.scoreboard import SUITE, Judged, judge, systems

CHOICES = "a number from 1 to 59, or a name that `zerocast list systems` shows"
"""Of `parts`, in words."""


def parts() -> tuple[str, ...]:
    """Systems that can be tried alone, by number and by name."""
    return tuple(name for system in systems() for name in (str(system.number), system.name))


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All claims that can be predicted, and the status of each system: 1 works, 0.5 partly, 0 not at all."""
    rows: list[Comparison] = []
    for system in systems():
        if part in (None, str(system.number), system.name):
            say(system.label)
            tried = judged(system.number)
            rows += [*tried.comparisons, status_row(tried)]
    return rows


def status_row(tried: Judged) -> Comparison:
    """A system's status as a row of the record, whose source is what keeps it from working."""
    share = {"works": 1.0, "partly": 0.5, "no": 0.0}[tried.status]
    why = "; ".join(tried.why)
    return replace(information(SUITE, tried.system.label, share, tried.status, why), source=why)


@cache
def judged(number: int) -> Judged:
    """A system, tried once."""
    from zerocast.analysis.validate.suites.systems.predictions import PREDICTIONS

    system = systems()[number - 1]
    return judge(system, PREDICTIONS.get(number))

"""From a design's values to what is priced, and from what was priced to the trial's status."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zerocast.accelerators import AcceleratorError
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.chunks import Chunk, one_line
from zerocast.analysis.explore.pricing.keys import as_text, result_key
from zerocast.analysis.explore.pricing.metrics import STORED
from zerocast.analysis.explore.pricing.networks import Networks
from zerocast.analysis.explore.pricing.store import Priced, Row
from zerocast.analysis.explore.pricing.sweep import DIED
from zerocast.analysis.explore.space.definition import Choice, Constraint, Space, digest, is_metric
from zerocast.analysis.explore.space.expressions import Lookup
from zerocast.simulator.rates import is_rate


@dataclass(frozen=True, slots=True)
class Trial:
    """A design at its place of a run. key: of what is priced. workload: its content, "" where it cannot be made.

    broken: why it is not priced at all. violations: of each constraint that the parameters alone decide.
    """

    number: int
    choice: Choice
    key: str
    workload: str
    overrides: Mapping[str, Any]
    accuracy: float
    status: str = ""
    broken: str = ""
    violations: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a trial. metrics: of the columns, empty where nothing was priced. violations: one number per
    constraint (0: kept), then one for what cannot be built, mapped or put on the part."""

    row: Row
    metrics: Mapping[str, float]
    violations: tuple[float, ...]
    was_priced: bool


class Prepare:
    """Makes trials of designs."""

    def __init__(self, space: Space, networks: Networks) -> None:
        self._space, self._networks = space, networks

    def trial(self, number: int, choice: Choice) -> Trial:
        """The trial of a design: what is to be priced, or why it need not be."""
        space = self._space
        entry = space.entry_of(choice)
        accuracy = space.accuracy_of(entry)
        share = math.nan if accuracy is None else accuracy
        overrides = space.overrides_of(choice)
        try:
            description = space.variants.describe(overrides)
        except AcceleratorError as error:
            key = digest(self._networks.source(entry.network), as_text(overrides))
            return Trial(number, choice, key, "", overrides, share, "error", one_line(error))
        names = space.lookup(choice, description)
        before = [c for c in space.constraints if c.before]
        violations = tuple(_violation(c, names) for c in before)
        if any(violations):
            reason = "; ".join(_why(c, names) for c, v in zip(before, violations, strict=True) if v)
            key = self._key(self._networks.source(entry.network), description)
            return Trial(number, choice, key, "", overrides, share, "infeasible", reason, violations)
        lowered = self._networks.lowered(entry.network)
        if lowered.reason:
            key = self._key(self._networks.source(entry.network), description)
            return Trial(number, choice, key, "", overrides, share, "error", lowered.reason, violations)
        key = self._key(lowered.content, description)
        return Trial(number, choice, key, lowered.content, overrides, share, violations=violations)

    def allows(self, choice: Choice) -> bool:
        """Whether the constraints that parameters alone decide are kept."""
        space = self._space
        try:
            names = space.lookup(choice, space.variants.describe(space.overrides_of(choice)))
        except AcceleratorError:
            return False
        return not any(_violation(c, names) for c in space.constraints if c.before)

    def _key(self, workload: str, description: Mapping[str, Any]) -> str:
        space = self._space
        return result_key(workload, description, space.mapping, space.fidelity, space.page)


def neighbours(trials: Iterable[Trial]) -> list[Chunk]:
    """What is to be priced of some trials: a chunk per workload, each key once, designs that differ in rates alone
    side by side."""
    groups: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.workload, {}).setdefault(trial.key, trial)
    return [_chunk(workload, unique.values()) for workload, unique in groups.items()]


def _chunk(workload: str, trials: Iterable[Trial]) -> Chunk:
    ordered = sorted((_structure(trial), trial.number, trial) for trial in trials)
    keys = tuple(trial.key for _, _, trial in ordered)
    overrides = tuple(trial.overrides for _, _, trial in ordered)
    return Chunk(workload, keys, overrides, tuple(structure for structure, _, _ in ordered))


def _structure(trial: Trial) -> str:
    return as_text({path: value for path, value in trial.overrides.items() if not is_rate(path)})


def judge(space: Space, trial: Trial, priced: Priced | None) -> Verdict:
    """Status of a trial by what was priced and by the constraints; None for one that was not priced."""
    if priced is None:
        violations = _spread(space, trial.violations, {}, broken=trial.status == "error")
        return _verdict(trial, trial.status, trial.broken, {}, violations, was_priced=False)
    if not priced.metrics:
        return _verdict(trial, "error", priced.reason, {}, _spread(space, trial.violations, {}, broken=True))
    metrics = dict(zip(STORED, priced.metrics, strict=True)) | {"accuracy": trial.accuracy}

    def names(name: str) -> Any:
        if is_metric(name):
            return metrics[name]
        return space.lookup(trial.choice, space.variants.describe(trial.overrides))(name)

    after = {c.expression.text: _violation(c, names) for c in space.constraints if not c.before}
    reasons = [priced.reason] * bool(priced.reason)
    reasons += [_why(c, names) for c in space.constraints if after.get(c.expression.text)]
    violations = _spread(space, trial.violations, after, broken=bool(priced.reason))
    if lacking := [o.name for o in space.objectives if math.isnan(metrics[o.name])]:
        reason = f"has no {', '.join(lacking)}, which the space asks for"
        return _verdict(trial, "error", reason, metrics, (*violations[:-1], 1.0))
    return _verdict(trial, "infeasible" if reasons else "ok", "; ".join(reasons), metrics, violations)


def _verdict(
    trial: Trial,
    status: str,
    reason: str,
    metrics: Mapping[str, float],
    violations: tuple[float, ...],
    was_priced: bool = True,
) -> Verdict:
    row = Row(trial.number, trial.key, json.dumps(trial.choice), status, reason, trial.accuracy)
    return Verdict(row, metrics, violations, was_priced)


def _spread(space: Space, before: tuple[float, ...], after: Mapping[str, float], *, broken: bool) -> tuple[float, ...]:
    """Violations in the order of the constraints. Those that are not known because nothing was priced count as 1."""
    known = iter(before)
    unknown = 0.0 if after or not any(before) else 1.0
    found = [next(known, 1.0) if c.before else after.get(c.expression.text, unknown) for c in space.constraints]
    return (*found, 1.0 if broken else 0.0)


def _violation(constraint: Constraint, names: Lookup) -> float:
    try:
        if constraint.expression.holds(names):
            return 0.0
        return constraint.expression.violation(names) or 1e-9
    except AnalysisError:
        return 1.0


def _why(constraint: Constraint, names: Lookup) -> str:
    values = ", ".join(f"{name} = {_short(names(name))}" for name in constraint.expression.names)
    return f"breaks {constraint.expression.text} ({values})"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def is_lost(priced: Priced) -> bool:
    """Whether workers died over a design: a fate of the run, not a result."""
    return priced.status == DIED

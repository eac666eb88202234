"""A run: designs from a sampler, answers from the store or from the crew, all of it kept as it comes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.chunks import Terms
from zerocast.analysis.explore.pricing.crews import Crew
from zerocast.analysis.explore.pricing.networks import Networks
from zerocast.analysis.explore.pricing.store import Priced, Row, Store
from zerocast.analysis.explore.pricing.sweep import Sweep
from zerocast.analysis.explore.pricing.version import code_version
from zerocast.analysis.explore.search.designs import count
from zerocast.analysis.explore.search.trials import Prepare, Trial, Verdict, is_lost, judge, neighbours
from zerocast.analysis.explore.space.definition import Choice, Space, digest
from zerocast.analysis.explore.space.sources import files_of, refuse_changed

WINDOW = 20_000
"""Designs of a grid that are looked at together."""


class Watcher(Protocol):
    """Is told what comes in."""

    def expect(self, trials: int | None) -> None:
        """How many trials there will be, None where that is open."""

    def saw(self, verdicts: Sequence[Verdict], *, new: int) -> None:
        """Trials that are done; how many designs were priced for them just now."""


@dataclass(frozen=True, slots=True)
class Method:
    """How designs are chosen. trials: how many distinct designs are priced, None for a grid, which has its own."""

    name: str
    trials: int | None
    seed: int | None


def run_id(space: Space, method: Method) -> str:
    """Name of a run: the same question has the same."""
    return digest(space.content, method.name, str(method.trials), str(method.seed))[:12]


def facts_of(space: Space, method: Method) -> str:
    """What a table of the run must know, as JSON."""
    return json.dumps({
        "name": space.name, "accelerator": space.accelerator, "set": dict(space.settings),
        "entries": [{"label": e.label, "network": asdict(e.network), "set": dict(e.settings)} for e in space.entries],
        "parameters": [{"name": p.name, "paths": p.paths} for p in space.parameters],
        "objectives": [asdict(o) for o in space.objectives], "mapping": space.mapping, "fidelity": space.fidelity,
        "given": space.given, "files": files_of(space), "method": method.name, "trials": method.trials,
        "seed": method.seed, "total": total_of(space, method),
        "space": space.content,
    }, default=str)  # fmt: skip


def total_of(space: Space, method: Method) -> int | None:
    """How many designs a run is to price: those of the grid, or the trials that are asked for."""
    return count(space) if method.trials is None else method.trials


def terms_of(space: Space) -> Terms:
    """What workers need to know."""
    text = json.dumps(space.variants.description, default=str)
    return Terms(text, space.variants.origin, space.mapping, space.fidelity, code_version(), space.page)


class Session:
    """A run in a store."""

    def __init__(self, space: Space, store: Store, networks: Networks, watcher: Watcher, run: str) -> None:
        self.space, self.run = space, run
        self._store, self._watcher = store, watcher
        self._prepare = Prepare(space, networks)
        self._networks = networks
        self._before = store.trials(run)
        self._sweep: Sweep | None = None

    def employ(self, crew: Crew) -> None:
        """Price with this crew from now on."""
        self._sweep = Sweep(crew)

    @property
    def done_before(self) -> int:
        """Trials that an earlier start of the run left."""
        return len(self._before)

    def grid(self, choices: Iterable[Choice]) -> None:
        """All designs, in the order given. Those that an earlier start of the run has are passed over."""
        window: list[Trial] = []
        for number, choice in enumerate(choices):
            if number in self._before:
                continue
            window.append(self._prepare.trial(number, choice))
            if len(window) == WINDOW:
                self._settle(window)
                window.clear()
        self._settle(window)

    def batch(self, first: int, choices: Sequence[Choice]) -> list[Verdict]:
        """Verdicts on some designs, in the order given, numbered from `first`."""
        trials = [self._prepare.trial(first + n, choice) for n, choice in enumerate(choices)]
        for trial in trials:
            before = self._before.get(trial.number)
            if before is not None and before.key != trial.key:
                raise AnalysisError(
                    f"run {self.run} cannot be resumed: its trial {trial.number} was another design (another version "
                    "of optuna?); give another --seed or --out folder"
                )
        return self._settle(trials)

    def may_be_priced(self, choice: Choice) -> bool:
        """Whether the constraints that parameters alone decide allow a design."""
        return self._prepare.allows(choice)

    def _settle(self, trials: Sequence[Trial]) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        for some, priced, new in self._answers(trials):
            known = {p.key: p for p in priced}
            found = [judge(self.space, trial, known.get(trial.key)) for trial in some]
            lasting = [p for p in priced if not is_lost(p)]
            self._store.write(self.run, [v.row for v in found], lasting)
            self._watcher.saw(found, new=new)
            verdicts |= {v.row.number: v for v in found}
        return [verdicts[trial.number] for trial in trials]

    def _answers(self, trials: Sequence[Trial]) -> Iterator[tuple[list[Trial], list[Priced], int]]:
        """Trials with their answers, as these come in: first what needs no pricing."""
        asked = [trial for trial in trials if trial.workload]
        known = self._store.results(list(dict.fromkeys(trial.key for trial in asked)))
        lost = {t.key: _as_before(self._before[t.number]) for t in asked if self._is_lost_before(t, known)}
        known |= lost
        ready = [trial for trial in trials if not trial.workload or trial.key in known]
        if ready:
            yield ready, list(known.values()), 0
        open_trials: dict[str, list[Trial]] = {}
        for trial in asked:
            if trial.key not in known:
                open_trials.setdefault(trial.key, []).append(trial)
        if not open_trials:
            return
        assert self._sweep is not None
        chunks = neighbours(trial for group in open_trials.values() for trial in group)
        for priced in self._sweep.price(chunks):
            yield [trial for p in priced for trial in open_trials[p.key]], priced, len(priced)

    def _is_lost_before(self, trial: Trial, known: dict[str, Priced]) -> bool:
        return trial.number in self._before and trial.key not in known


def _as_before(row: Row) -> Priced:
    """A design whose workers died when the run was at it before: it is not tried again."""
    return Priced(row.key, "died", row.reason)


_OPEN = ("was stopped or still goes on", "continue it with --resume")


def open_run(store: Store, run: str, facts: str, *, resume: bool, folder: Path) -> None:
    """Start or continue a run. Raises `AnalysisError` for one that is there already and is not to be continued."""
    known = store.runs()
    if run in known and not resume:
        state, remedy = ("is complete", "--resume shows it again") if known[run][1] else _OPEN
        other = "" if json.loads(facts)["seed"] is None else "take another --seed, "
        raise AnalysisError(
            f"{folder} has this very run ({run}, which {state}); {remedy}, {other}or give another --out folder"
        )
    if run in known:
        refuse_changed(json.loads(known[run][0]).get("files", {}), json.loads(facts)["files"], run)
    store.start(run, facts)

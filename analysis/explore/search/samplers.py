"""Search by optuna's samplers: batches are asked as a whole, priced side by side, and told in the order asked.

So the same seed gives the same trials whatever the number of workers. Parameters that are numbers in order are handed
over as their place in the list, others as categories. What is done for NSGA-II, since a space of some thousand designs
leaves it some hundred evaluations:

- A design that the run has priced is never priced or counted again: another stands in for it.
- Most of a batch is local search (a memetic NSGA-II): designs that differ from one on the present front in one
  parameter, short steps and lonely places of the front first. They are told to the sampler like its own, so that
  its population has them as parents.
- The first population is spread evenly over each parameter (a Latin hypercube) instead of drawn independently.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from zerocast.analysis.explore.search.designs import between, settle
from zerocast.analysis.explore.search.pareto import crowding, front
from zerocast.analysis.explore.search.session import Session
from zerocast.analysis.explore.search.trials import Verdict
from zerocast.analysis.explore.space.definition import Choice, Parameter, Space
from zerocast.analysis.explore.space.domains import Choices, Range

if TYPE_CHECKING:
    import optuna

POPULATION = 20
"""Of NSGA-II; also the designs in a batch. Small, since a few hundred designs must do for many generations."""
TPE_BATCH = 8
LOCAL = 0.75
"""Share of a batch that is local search. Chosen, with the population and `POWER`, among some thirty settings on one
recorded grid of 3,840 designs with five sets of objectives; there, with 5 % of the evaluations, the worst of 8 seeds
has 0.98 of the grid's hypervolume below the worst design, but 0.94 below 1.1 times the front's own extent."""
POWER = 1.0
"""How much later longer steps come: `d` places away, `d` ** POWER times."""
ASKS = 10
"""Proposals for each place of a batch before a neighbour or a random design takes it."""
STARTS = 200
"""Draws for a design of the first population that the constraints on parameters allow."""

MISSES = 20 * POPULATION
"""Designs in a row that cannot be priced, after which a search ends."""

Values = dict[str, Any]
"""A value for every parameter, those that a design lacks included."""


def search(session: Session, name: str, trials: int, seed: int) -> str:
    """Price `trials` distinct designs (fewer where no more are found), chosen by NSGA-II or TPE. Why it ended before,
    or ""."""
    return _Search(session, name, trials, seed).run()


class _Search:
    def __init__(self, session: Session, name: str, trials: int, seed: int) -> None:
        self._session, self._space = session, session.space
        self._trials = trials
        self._genetic = name == "nsga2"
        self._random = Random(seed)
        self._study = _study(self._space, name, seed)
        self._distributions = _distributions(self._space)
        self._known: dict[str, Verdict | None] = {}
        self._archive: list[tuple[Values, Verdict]] = []
        self._numbered = self._priced = 0

    def run(self) -> str:
        self._enqueue_first()
        missed = 0
        while self._priced < self._trials:
            size = min(POPULATION if self._genetic else TPE_BATCH, self._trials - self._priced)
            batch = self._ask(size)
            if not batch:
                return "nothing new was found"
            verdicts = self._session.batch(self._numbered, [choice for _, _, choice in batch])
            self._numbered += len(batch)
            for (trial, values, choice), verdict in zip(batch, verdicts, strict=True):
                self._known[_text(choice)] = verdict
                self._priced += verdict.was_priced
                if verdict.row.status == "ok":
                    self._archive.append((values, verdict))
                self._tell(trial, verdict)
            missed = 0 if any(verdict.was_priced for verdict in verdicts) else missed + len(batch)
            if missed >= MISSES:
                return f"{missed:,} designs in a row could not be priced"
        return ""

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, size: int) -> list[tuple[optuna.trial.Trial, Values, Choice]]:
        """New designs, so many that `size` of them may be priced; fewer where nothing new is found."""
        batch: list[tuple[optuna.trial.Trial, Values, Choice]] = []
        for place in range(size):
            local = self._genetic and self._archive and place < LOCAL * size
            found = (self._ask_stand_in() or self._ask_new()) if local else (self._ask_new() or self._ask_stand_in())
            if found is None:
                break
            batch.append(found)
        return batch

    def _ask_new(self) -> tuple[optuna.trial.Trial, Values, Choice] | None:
        """A design that the sampler proposes and the run has not seen."""
        for _ in range(1 if self._genetic and self._archive else ASKS):
            trial = self._study.ask(self._distributions)
            values = _values(self._space, trial.params)
            choice = settle(self._space, values)
            if self._take(choice):
                return trial, values, choice
            self._again(trial, choice)
        return None

    def _ask_stand_in(self) -> tuple[optuna.trial.Trial, Values, Choice] | None:
        """A neighbour of the front, or a random design; None where all were seen."""
        for values in self._stand_ins():
            choice = settle(self._space, values)
            if self._take(choice):
                self._study.enqueue_trial(_params(self._space, values))
                return self._study.ask(self._distributions), values, choice
        return None

    def _take(self, choice: Choice) -> bool:
        text = _text(choice)
        if text in self._known:
            return False
        self._known[text] = None
        return True

    def _stand_ins(self) -> Iterator[Values]:
        near = [
            (moment / weight, values)
            for weight, member in self._front()
            for moment, values in _neighbours(self._space, member, self._random)
        ]
        yield from (values for _, values in sorted(near, key=lambda pair: pair[0]))
        for _ in range(STARTS):
            yield {p.name: _anywhere(p, self._random.random()) for p in self._space.parameters}

    def _front(self) -> list[tuple[float, Values]]:
        """The present front, each design with a weight: how lonely it is there."""
        if not self._archive:
            return []
        losses = np.array([_losses(self._space, verdict) for _, verdict in self._archive])
        places = front(losses)
        return [(w, self._archive[n][0]) for w, n in zip(crowding(losses[places]), places, strict=True)]

    def _enqueue_first(self) -> None:
        """A Latin hypercube of designs; each that the constraints on parameters forbid is drawn again."""
        size = min(POPULATION, self._trials)
        columns = {p.name: self._random.sample(range(size), size) for p in self._space.parameters}
        for row in range(size):
            values = {
                p.name: _anywhere(p, (columns[p.name][row] + self._random.random()) / size)
                for p in self._space.parameters
            }
            for _ in range(STARTS):
                if self._session.may_be_priced(settle(self._space, values)):
                    break
                values = {p.name: _anywhere(p, self._random.random()) for p in self._space.parameters}
            self._study.enqueue_trial(_params(self._space, values))

    # --- telling ------------------------------------------------------------------------------------------------

    def _tell(self, trial: optuna.trial.Trial, verdict: Verdict) -> None:
        for place, violation in enumerate(verdict.violations):
            trial.set_constraint(str(place), violation)
        self._study.tell(trial, self._values_of(verdict))

    def _again(self, trial: optuna.trial.Trial, choice: Choice) -> None:
        """A design that was seen before teaches a genetic sampler nothing: it has it in its population. TPE must
        hear it, or it would ask for it for ever."""
        import optuna

        verdict = self._known[_text(choice)]
        if self._genetic or verdict is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._tell(trial, verdict)

    def _values_of(self, verdict: Verdict) -> list[float]:
        """What the objectives came to; where nothing was priced the worst so far, which no sampler compares, since
        the design breaks a constraint."""
        found = [verdict.metrics.get(o.name, math.nan) for o in self._space.objectives]
        if not any(map(math.isnan, found)):
            return found
        seen = [[v.metrics[o.name] for o in self._space.objectives] for _, v in self._archive] or [[0.0] * len(found)]
        worst = [max if o.direction == "min" else min for o in self._space.objectives]
        return [pick(column) for pick, column in zip(worst, zip(*seen, strict=True), strict=True)]


def _study(space: Space, name: str, seed: int) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "nsga2":
            sampler: Any = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=POPULATION, multivariate=True)
    directions: list[Any] = ["minimize" if o.direction == "min" else "maximize" for o in space.objectives]
    return optuna.create_study(sampler=sampler, directions=directions)


# --- parameters as the sampler sees them --------------------------------------------------------------------------


def _distributions(space: Space) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for parameter in space.parameters:
        domain = parameter.domain
        if isinstance(domain, Range):
            kind: Any = IntDistribution if domain.whole else FloatDistribution
            found[parameter.name] = kind(domain.low, domain.high, log=domain.log)
        elif domain.is_ordered:
            found[parameter.name] = IntDistribution(0, len(domain.values) - 1)
        else:
            found[parameter.name] = CategoricalDistribution(list(range(len(domain.values))))
    return found


def _values(space: Space, params: Mapping[str, Any]) -> Values:
    """Values of what the sampler says."""
    return {
        p.name: p.domain.values[params[p.name]] if isinstance(p.domain, Choices) else params[p.name]
        for p in space.parameters
    }


def _params(space: Space, values: Values) -> dict[str, Any]:
    """What the sampler calls these values."""
    return {
        p.name: p.domain.place(values[p.name]) if isinstance(p.domain, Choices) else values[p.name]
        for p in space.parameters
    }


def _neighbours(space: Space, values: Values, random: Random) -> Iterator[tuple[float, Values]]:
    """Designs that differ in one parameter, each with the moment at which its turn comes: a random one, a step of
    `d` places coming `d` ** POWER times as late on average (an exponential race), so that most steps are short."""
    for parameter in space.parameters:
        for distance, value in _steps(parameter, values[parameter.name], random):
            yield random.expovariate(distance**-POWER), {**values, parameter.name: value}


def _steps(parameter: Parameter, value: Any, random: Random) -> list[tuple[int, Any]]:
    """Other values of a parameter, and how many places away they are; of a range some within a tenth of it."""
    domain = parameter.domain
    if isinstance(domain, Range):
        low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
        share = ((math.log(value) if domain.log else value) - low) / (high - low)
        moves = [(1, random.uniform(-0.1, 0.1)), (1, random.uniform(-0.1, 0.1)), (3, random.uniform(-1.0, 1.0))]
        return [(d, between(domain, min(max(share + move, 0.0), 1.0))) for d, move in moves]
    place = domain.place(value)
    return [(abs(n - place) if domain.is_ordered else 1, other) for n, other in enumerate(domain.values) if n != place]


def _anywhere(parameter: Parameter, share: float) -> Any:
    domain = parameter.domain
    if isinstance(domain, Range):
        return between(domain, share)
    return domain.values[min(int(share * len(domain.values)), len(domain.values) - 1)]


def _losses(space: Space, verdict: Verdict) -> list[float]:
    return [verdict.metrics[o.name] * (1.0 if o.direction == "min" else -1.0) for o in space.objectives]


def _text(choice: Choice) -> str:
    return json.dumps(choice)

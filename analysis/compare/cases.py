"""The cases of a comparison, each network lowered once and priced on every accelerator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from zerocast.accelerators import Accelerator
from zerocast.analysis.run.network import Network, Steps, lower, own_type, silent
from zerocast.simulator import Result, SimulationError, simulate
from zerocast.workloads import WorkloadError

DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared: a recipe ("dense" for none), a data type, a batch (None for the model's own), a machine."""

    accelerator: str
    recipe: str
    dtype: str
    batch: int | None

    @property
    def label(self) -> str:
        """Its name in tables and pictures."""
        batch = "" if self.batch is None else f", batch {self.batch}"
        return f"{self.accelerator}, {self.recipe}, {self.dtype}{batch}"


@dataclass(frozen=True, slots=True)
class Tried:
    """A case with its result, or with the reason why it has none."""

    case: Case
    result: Result | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A network, and what is free: recipes, data types (None for the network's own), batches and accelerators."""

    network: Network
    accelerators: Sequence[Accelerator]
    recipes: Sequence[str] = (DENSE,)
    dtypes: Sequence[str | None] = (None,)
    batches: Sequence[int | None] = (None,)

    def cases(self) -> Iterator[Case]:
        """All of them, accelerators innermost."""
        for recipe, dtype, batch in product(self.recipes, self.dtypes, self.batches):
            for accelerator in self.accelerators:
                yield Case(accelerator.name, recipe, dtype or own_type(self.network), batch)


def ask(question: Question, steps: Steps) -> Iterator[Tried]:
    """Price the cases one after another, in their order. What cannot be lowered or priced comes with its reason."""
    for recipe, dtype, batch in product(question.recipes, question.dtypes, question.batches):
        network = replace(question.network, prune=None if recipe == DENSE else recipe, dtype=dtype, batch=batch)
        named = dtype or own_type(network)
        cases = [(Case(machine.name, recipe, named, batch), machine) for machine in question.accelerators]
        try:
            with steps(f"capture {recipe}, {named}" + ("" if batch is None else f", batch {batch}")):
                workload = lower(network, silent)
        except WorkloadError as error:
            yield from (Tried(case, None, str(error)) for case, _ in cases)
            continue
        for case, machine in cases:
            try:
                with steps(case.label) as step:
                    yield Tried(case, simulate(workload, machine, progress=step))
            except SimulationError as error:
                yield Tried(case, None, str(error))

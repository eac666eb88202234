"""A space of designs: what is run, what is fixed, what is free, what is asked of a design."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from zerocast.accelerators import Accelerator, Variants
from zerocast.analysis.explore.pricing.metrics import METRICS, Direction
from zerocast.analysis.explore.space.domains import Domain
from zerocast.analysis.explore.space.expressions import Expression, Lookup
from zerocast.analysis.run.network import Network, title_of

Choice = dict[str, Any]
"""Value of each parameter that a design has, by the parameter's name, in the order of the space."""

WORKLOAD = "workload"
NETWORK_FIELDS = (
    "model", "prune", "training", "batch", "optimizer", "update", "dtype", "tokens", "image", "trace", "cache",
    "weights", "schedule", "steps",
)  # fmt: skip
"""What `workload.X` may name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A workload of the space. accuracy: measured by the user, None where the recipe's holds. settings: values of the
    accelerator that come with it, by dotted path."""

    label: str
    network: Network
    accuracy: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Objective:
    """A column, and whether less or more of it is better."""

    name: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class Parameter:
    """A free parameter. paths: what takes its value. when: the condition under which a design has it."""

    name: str
    paths: tuple[str, ...]
    domain: Domain
    when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a design must keep to. before: whether parameters alone decide it."""

    expression: Expression
    before: bool


@dataclass(frozen=True)
class Space:
    """A space, checked. settings: `set` of the file. variants: the accelerator with them. given: file of given
    mappings; page: what it holds, as JSON; both "" without one."""

    name: str
    entries: tuple[Entry, ...]
    accelerator: str
    settings: Mapping[str, Any]
    variants: Variants
    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...]
    objectives: tuple[Objective, ...]
    accuracy: Mapping[str, float]
    mapping: str
    fidelity: str
    given: str = ""
    page: str = ""

    @property
    def content(self) -> str:
        """All that decides the designs and what is asked of them, as JSON; the same text for the same space. The order
        of keys that the user wrote stays, since that of `compute.rates` decides a design."""
        facts = {
            "entries": [[e.label, asdict(e.network), e.accuracy, dict(e.settings)] for e in self.entries],
            "accelerator": self.accelerator,
            "set": dict(self.settings),
            "description": {k: v for k, v in self.variants.description.items() if k != "sources"},
            "parameters": [
                [p.name, p.paths, type(p.domain).__name__, asdict(p.domain), p.when.text if p.when else None]
                for p in self.parameters
            ],
            "constraints": [c.expression.text for c in self.constraints],
            "objectives": [asdict(o) for o in self.objectives],
            "accuracy": dict(self.accuracy),
            "mapping": self.mapping,
            "fidelity": self.fidelity,
            "name": self.name,
        } | ({"page": self.page} if self.page else {})
        return json.dumps(facts, default=str)

    def entry_of(self, choice: Choice) -> Entry:
        """The workload that a design runs, with the values of its `workload.X`."""
        label = choice.get(WORKLOAD, self.entries[0].label)
        entry = next(e for e in self.entries if e.label == label)
        changes = {
            path.partition(".")[2]: choice[p.name]
            for p in self.parameters
            if p.name in choice
            for path in p.paths
            if path.startswith(f"{WORKLOAD}.")
        }
        return replace(entry, network=replace(entry.network, **changes)) if changes else entry

    def overrides_of(self, choice: Choice) -> dict[str, Any]:
        """The accelerator's values that a design sets, by dotted path."""
        return dict(self.entry_of(choice).settings) | {
            path: choice[p.name]
            for p in self.parameters
            if p.name in choice
            for path in p.paths
            if not of_workload(path)
        }

    def accuracy_of(self, entry: Entry) -> float | None:
        """The user's measured accuracy of a workload, by itself or by its recipe."""
        return self.accuracy.get(entry.network.prune or "dense") if entry.accuracy is None else entry.accuracy

    def lookup(self, choice: Choice, description: Mapping[str, Any]) -> Lookup:
        """Values of names in a design: parameters, `workload`, `workload.X`, and the accelerator's dotted paths.
        None for a parameter that the design lacks. Raises `LookupError` for a name that means nothing here."""

        def value(name: str) -> Any:
            if name in choice:
                return choice[name]
            if of_workload(name):
                return self._of_workload(name, choice)
            try:
                return at(description, name)
            except LookupError:
                pass
            if self.variants.base is not None:
                try:
                    return at(self.variants.base, name)
                except LookupError:
                    pass
            if any(name == p.name or name in p.paths for p in self.parameters):
                return None
            raise LookupError(name)

        return value

    def _of_workload(self, name: str, choice: Choice) -> Any:
        entry = self.entry_of(choice)
        if name == WORKLOAD:
            return entry.label
        what = name.partition(".")[2]
        if what not in NETWORK_FIELDS:
            raise LookupError(name)
        return getattr(entry.network, what)


def of_workload(path: str) -> bool:
    """Whether a path belongs to the workload and not to the accelerator."""
    return path == WORKLOAD or path.startswith(f"{WORKLOAD}.")


def at(part: Mapping[str, Any] | Accelerator, path: str) -> Any:
    """The value at a dotted path of a description or an accelerator; an item of a list goes by its name.
    Raises `LookupError`."""
    here: Any = part
    for key in path.split("."):
        if isinstance(here, Mapping):
            here = here[key]
        elif isinstance(here, (list, tuple)):
            here = next((item for place, item in enumerate(here) if _name(item, place) == key), None)
            if here is None:
                raise LookupError(path)
        elif key in getattr(type(here), "model_fields", {}):
            here = getattr(here, key)
        else:
            raise LookupError(path)
    return here


def _name(item: Any, place: int) -> str:
    """How a path calls an item of a list: by its name, by its place where it has none."""
    return str(item.get("name", place) if isinstance(item, Mapping) else getattr(item, "name", place))


def labels(networks: list[tuple[str | None, Network]]) -> list[str]:
    """A label for each workload: the user's, or the model with what tells it from the others."""
    free = (*(field for field in NETWORK_FIELDS if field != "model"), "arguments", "dense")
    differing = [name for name in free if len({getattr(network, name) for _, network in networks}) > 1]
    found = []
    for label, network in networks:
        words = [title_of(network.model)]
        for name in differing:
            value = getattr(network, name)
            if name == "prune":
                words.append(value or "dense")
            elif name == "training":
                words += ["training"] * bool(value)
            elif name == "arguments":
                words += [f"{argument}={given}" for argument, given in value]
            elif name == "dense":
                words += [f"dense {pattern}" for pattern in value]
            elif value is not None:
                words.append(f"{name} {value}")
        found.append(label or " ".join(words))
    return found


def is_metric(name: str) -> bool:
    """Whether a name is a column of results."""
    return name in METRICS


def digest(*parts: str) -> str:
    """SHA-256 of some texts, in hex."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()

"""The founding systems: rows of data, their commands priced, their claims held; a status follows, nobody writes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import yaml

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network, silent
from zerocast.analysis.run.values import arguments_of
from zerocast.analysis.train import Trained, train
from zerocast.analysis.train.captured import Lowering
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.simulator import Result, simulate
from zerocast.workloads.ir import Workload
from zerocast.workloads.schedules import parse_schedule

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
    """A system. gist: what it is; command: what a user types for it, "" where nothing prices it; missing: what of it
    the program lacks; source: of its claims."""

    number: int
    name: str
    family: str
    gist: str
    arxiv: str
    source: str
    command: str = ""
    claims: tuple[Claim, ...] = ()
    missing: tuple[str, ...] = ()
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
    given = {key: value for key, value in row.items() if key not in ("claims", "missing", "is")}
    return System(**given, gist=row["is"], family=family, claims=claims, missing=tuple(row.get("missing", ())))


@dataclass
class Trial:
    """What a system's command asks, priced when it is looked at."""

    command: str

    @cached_property
    def asked(self) -> Mapping[str, Any]:
        """The command's verb and parameters, as its own parser reads them."""
        import typer

        from zerocast.analysis.cli import application

        _, verb, *arguments = shlex.split(self.command)
        command = typer.main.get_command(application(verb)).commands[verb]  # type: ignore[attr-defined]
        return {"verb": verb, **command.make_context(verb, arguments).params}

    @cached_property
    def network(self) -> Network:
        """The network that it names."""
        known = {name: value for name, value in self.asked.items() if name in Network.__dataclass_fields__}
        known |= {"model": placed(self.asked["model"]), "dense": tuple(self.asked.get("dense") or ()),
                  "arguments": arguments_of(self.asked.get("model_arguments") or ())}  # fmt: skip
        return Network(**known)

    @cached_property
    def values(self) -> dict[str, Any]:
        """What it sets of the accelerator, by dotted path."""
        from zerocast.analysis.commands.command_line import values_of

        asked = self.asked
        return values_of(asked["settings"], asked["accelerator"], asked["tensor_parallel"], asked["regime"])

    @cached_property
    def machine(self) -> Accelerator:
        """The accelerator that it names, with its values."""
        return load(self.asked["accelerator"], self.values)

    @cached_property
    def workload(self) -> Workload:
        """The network, lowered."""
        return lowered(self.network)

    @cached_property
    def result(self) -> Result:
        """Of `zerocast run`."""
        return simulate(self.workload, self.machine)

    @cached_property
    def trained(self) -> Trained:
        """Of `zerocast train`."""
        network = replace(self.network, training=True)
        schedule = parse_schedule(self.asked["schedule"], self.asked["recipe"])
        with TemporaryDirectory() as folder:
            return train(network, schedule, self.asked["steps"], self.asked["accelerator"], Path(folder),
                         settings=self.values)  # fmt: skip

    def price(self) -> None:
        """Price it, whichever verb it is."""
        _ = self.trained if self.asked["verb"] == "train" else self.result


@cache
def tried(command: str) -> Trial:
    """A command, which several systems may share."""
    return Trial(command)


def lowered(network: Network) -> Workload:
    """A network's workload; those that differ in their recipes alone share a capture."""
    return _lowering()(network, silent)


@cache
def _lowering() -> Lowering:
    return Lowering()


def placed(model: str) -> str:
    """A file of a checkout, wherever the program is called from."""
    file, colon, factory = model.rpartition(":")
    root = Path(str(files("zerocast.analysis"))).resolve().parent
    return f"{root / file}{colon}{factory}" if file.endswith(".py") else model


Predict = Callable[[Trial], Mapping[str, float]]


def judge(system: System, predict: Predict | None) -> Judged:
    """Try a system: price its command, predict its claims, hold them.

    It works where nothing is missing and every claim that has a key holds. Raises `AnalysisError` for a prediction
    without a claim.
    """
    if not system.command:
        return Judged(system, "no", (), tuple(f"lacks {what}" for what in system.missing))
    trial = tried(system.command)
    trial.price()
    predicted = dict(predict(trial)) if predict else {}
    expected = {claim.key: claim for claim in system.claims if claim.key}
    if strange := set(predicted) - set(expected):
        raise AnalysisError(f"system {system.label}: no claim {', '.join(sorted(strange))}")
    rows = tuple(_held(system, claim, predicted[key]) for key, claim in expected.items() if key in predicted)
    why = [
        *(f"lacks {what}" for what in system.missing),
        *(f"{row.what.partition(': ')[2]} is off by {row.error:+.1%}" for row in rows if not row.ok),
    ]
    why += [f"{claim.what} is not predicted" for key, claim in expected.items() if key not in predicted]
    return Judged(system, "partly" if why else "works", rows, tuple(why))


def _held(system: System, claim: Claim, predicted: float) -> Comparison:
    source = f"arXiv {system.arxiv}; {claim.source or system.source}"
    value, what = float(claim.value), f"{system.label}: {claim.what}"
    return against(SUITE, what, predicted, value, claim.unit, claim.tolerance, source, claim.note)

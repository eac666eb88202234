"""The command of a system: what it asks, as its own parser reads it, and what that costs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.run.network import Network, silent
from zerocast.analysis.train import Trained, train
from zerocast.analysis.train.captured import Lowering
from zerocast.simulator import Result, simulate
from zerocast.workloads.ir import Workload
from zerocast.workloads.schedules import parse_schedule

NETWORKS = "analysis/validate/suites/systems/networks.py"
"""Networks that no library has."""


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
        return {"verb": verb, **command.make_context(verb, list(map(placed, arguments))).params}

    @cached_property
    def network(self) -> Network:
        """The network that it names."""
        from zerocast.analysis.commands.command_line import network_of

        lists = {name: self.asked.get(name) for name in ("dense", "checkpoint", "model_arguments")}
        known = {name: self.asked[name] for name in Network.__dataclass_fields__ if name in self.asked}
        return network_of(**(known | lists))

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
        return simulate(self.workload, self.machine, allow_overflow=self.asked["allow_overflow"])

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


def placed(argument: str) -> str:
    """An argument in which a file of the checkout is named, wherever the program is called from."""
    root = Path(str(files("zerocast.analysis"))).resolve()
    return re.sub("(^|@)analysis/", rf"\1{root}/", argument)

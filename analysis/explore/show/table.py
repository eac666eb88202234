"""A run's result as a table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import METRICS, STORED
from zerocast.analysis.explore.pricing.store import Priced, Row, Store
from zerocast.analysis.explore.pricing.sweep import DIED_REASON
from zerocast.analysis.explore.show.words import design_count
from zerocast.analysis.explore.space.definition import WORKLOAD, Objective
from zerocast.analysis.run.values import overrides

if TYPE_CHECKING:
    import pandas

DESIGN_DIGITS = 12


@dataclass(frozen=True)
class Table:
    """A run. frame: a row per trial, in trial order: `number`, `design`, the parameters, the metrics, `status` (ok,
    infeasible or error), `reason` ("" for ok) and `command`, a `zerocast run` that prices the design again.
    note: what lacks of the run; "" for one that is complete."""

    frame: pandas.DataFrame
    parameters: tuple[str, ...]
    objectives: tuple[Objective, ...]
    name: str
    accelerator: str
    method: str
    note: str = ""


def read_table(folder: Path, run: str | None = None) -> Table:
    """The table of a run, of the one started last without `run` (an id or its beginning).

    It may be read while the run goes on. Raises `AnalysisError` for a folder without a store, a store that is none
    or of another version, and a run that is not there.
    """
    store = Store(folder, writing=False)
    try:
        chosen, facts, is_complete = _choose(store, folder, run)
        joined = store.joined(chosen)
    finally:
        store.close()
    objectives = tuple(Objective(o["name"], o["direction"]) for o in facts["objectives"])
    names = tuple(p["name"] for p in facts["parameters"])
    accelerator = Path(facts["accelerator"]).name
    frame, note = _frame(names, facts, joined), "" if is_complete else _what_lacks(facts, joined)
    return Table(frame, names, objectives, facts["name"], accelerator, facts["method"], note)


def _what_lacks(facts: Mapping[str, Any], joined: Sequence[tuple[Row, Priced | None]]) -> str:
    if facts["method"] == "grid" and len(joined) == facts.get("total"):  # killed at its very end
        return ""
    return f"{so_far(facts, joined)}: the run was stopped, or still goes on; continue it with --resume"


def so_far(facts: Mapping[str, Any], joined: Sequence[tuple[Row, Priced | None]]) -> str:
    """How many designs a run has, and of how many: a grid counts all of them, a search those that it priced."""
    done, total = len(joined), facts.get("total")  # which stores of earlier versions lack
    if facts["method"] != "grid":
        done, total = sum(was_priced(row, priced) for row, priced in joined), facts["trials"]
    return design_count(done) if total is None else f"{done:,} of {design_count(total)}"


def was_priced(row: Row, priced: Priced | None) -> bool:
    """Whether a trial counts as one that a search asked for: it was priced, or its workers died over it."""
    return priced is not None or row.reason == DIED_REASON


def _choose(store: Store, folder: Path, run: str | None) -> tuple[str, dict[str, Any], bool]:
    known = store.runs()
    fitting = [name for name in known if name.startswith(run or "")]
    if not known:
        raise AnalysisError(
            f"{folder}: its store has no run yet; `zerocast explore SPACE.yaml --out {folder}` makes one"
        )
    if run is not None and len(fitting) != 1:
        what = "several runs begin" if fitting else "no run begins"
        raise AnalysisError(f"{folder}: {what} with {run!r}; there are {', '.join(known)}")
    facts, is_complete = known[fitting[-1]]
    return fitting[-1], json.loads(facts), is_complete


def _frame(names: tuple[str, ...], facts: dict[str, Any], joined: list[tuple[Row, Priced | None]]) -> pandas.DataFrame:
    import pandas

    choices = [_choice(row) for row, _ in joined]
    columns: dict[str, Any] = {
        "number": [row.number for row, _ in joined],
        "design": [row.key[:DESIGN_DIGITS] for row, _ in joined],
    }
    for name in names:
        columns[name] = _column([choice.get(name) for choice in choices])
    values = [_metrics(row, priced) for row, priced in joined]
    for place, name in enumerate(METRICS):
        columns[name] = [value[place] for value in values]
    columns["status"] = [row.status for row, _ in joined]
    columns["reason"] = [row.reason for row, _ in joined]
    columns["command"] = [
        command(facts, choice, row.key[:DESIGN_DIGITS]) for choice, (row, _) in zip(choices, joined, strict=True)
    ]
    frame = pandas.DataFrame(columns)
    floats = dict.fromkeys(METRICS, "float64")
    return frame.astype({"number": "int64", **floats})


def _choice(row: Row) -> dict[str, Any]:
    try:
        return dict(json.loads(row.parameters))
    except (ValueError, TypeError):
        raise AnalysisError(
            f"design {row.number} of the store cannot be read: the file is damaged; move it away and run again"
        ) from None


def _metrics(row: Row, priced: Priced | None) -> tuple[float, ...]:
    nothing = (float("nan"),) * len(STORED)
    return (*(priced.metrics if priced is not None and priced.metrics else nothing), row.accuracy)


def _column(values: list[Any]) -> list[Any]:
    """Values as pandas takes them to one kind: what is neither number nor truth nor text stands as JSON."""
    return [json.dumps(value) if isinstance(value, (list, dict)) else value for value in values]


def command(facts: Mapping[str, Any], choice: Mapping[str, Any], design: str) -> str:
    """The `zerocast run` that prices a design again; of a whole training run the `zerocast train`, which prices
    continuous ramps where they bend."""
    network, settings = _network_and_settings(facts, choice)
    is_run = network.get("schedule") is not None
    if not is_run:
        words = ["zerocast", "run", network["model"], "--accelerator", facts["accelerator"]]
        words += ["--training"] * bool(network["training"]) + ["--allow-unknown"] * bool(network["allow_unknown"])
    else:
        words = ["zerocast", "train", network["model"], "--accelerator", facts["accelerator"]]
        words += ["--schedule", network["schedule"], "--steps", str(network["steps"])]
        words += ["--recipe", network["prune"]] if network["prune"] else []
        network["prune"] = None
    for option in ("prune", "batch", "optimizer", "update", "dtype", "tokens", "image", "trace", "cache", "weights"):
        if network.get(option) is not None:
            words += [f"--{option}", str(network[option])]
    for name, value in network.get("arguments", ()):
        words += ["--model-arg", f"{name}={yaml_value(value)}"]
    for pattern in network.get("dense", ()):
        words += ["--dense", pattern]
    for pattern in network.get("checkpoint", ()):
        words += ["--checkpoint", pattern]
    for path, value in settings.items():
        words += ["--set", f"{path}={yaml_value(value)}"]
    if is_run:
        return shlex.join([*words, "--out", f"design-{design}"])
    words += ["--objective", facts["mapping"]] * (facts["mapping"] != "latency")
    words += ["--mapping", facts["given"]] if facts.get("given") else []
    words += ["--fidelity", facts["fidelity"]] * (facts["fidelity"] != "analytic")
    return shlex.join([*words, "--out", f"design-{design}"])


def _network_and_settings(facts: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    entries = {entry["label"]: entry for entry in facts["entries"]}
    entry = entries[choice.get(WORKLOAD, next(iter(entries)))]
    network = dict(entry["network"])
    settings = dict(facts["set"]) | entry.get("set", {})
    for parameter in facts["parameters"]:
        if parameter["name"] in choice:
            for path in parameter["paths"]:
                room, _, field = path.partition(".")
                if room != WORKLOAD:
                    settings[path] = choice[parameter["name"]]
                elif field:
                    network[field] = choice[parameter["name"]]
    return network, settings


def yaml_value(value: Any) -> str:
    """A value as `--set` reads it back, the same to the last bit."""
    return _plain_value(value) if isinstance(value, (bool, int, float, str)) else _written(value)


@lru_cache(maxsize=10_000, typed=True)
def _plain_value(value: bool | int | float | str) -> str:
    """Kept, since few values make many designs; by type, since 1 is neither 1.0 nor true."""
    return _written(value)


def _written(value: Any) -> str:
    plain = str(value) if isinstance(value, str) else json.dumps(value)
    try:
        same = overrides([f"key={plain}"])["key"]
    except (AnalysisError, yaml.YAMLError):
        same = None
    return plain if type(same) is type(value) and same == value else json.dumps(value)

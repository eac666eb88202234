"""Read a space file and check all of it before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zerocast.accelerators import Accelerator, variants
from zerocast.accelerators.library import read_file, read_yaml
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import METRICS, direction
from zerocast.analysis.explore.space.checks import check
from zerocast.analysis.explore.space.definition import (
    NETWORK_FIELDS,
    WORKLOAD,
    Constraint,
    Entry,
    Objective,
    Parameter,
    Space,
    is_metric,
    labels,
    of_workload,
)
from zerocast.analysis.explore.space.domains import Choices, choices, stretch
from zerocast.analysis.explore.space.expressions import parse_expression
from zerocast.analysis.explore.space.schema import ParameterEntry, SpaceFile, parse_space
from zerocast.analysis.run.network import Network
from zerocast.analysis.run.values import arguments_from

COLUMNS = ("number", "design", "status", "reason", "command")
"""Of the table, beside parameters and metrics."""


def read_space(path: Path, mapping: Path | None = None) -> Space:
    """The space of a YAML file; mapping: a file of given mappings in place of the one that it names.

    Raises `AnalysisError`, `AcceleratorError` or `WorkloadError` for all that can be known to be wrong before a design
    is priced; the message names the key, the bad value and the remedy.
    """
    if not path.is_file():
        raise AnalysisError(f"no space file {str(path)!r}; the README shows one")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AnalysisError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    file, entries = parse_space(read_yaml(text, str(path)), str(path))
    try:
        space = _space(file, entries, path.resolve().parent, mapping)
        check(space)
    except AnalysisError as error:
        raise AnalysisError(f"space {path}: {error}") from None
    return space


def _space(file: SpaceFile, entries: dict[str, ParameterEntry], folder: Path, mapping: Path | None) -> Space:
    workloads = _entries(file, folder)
    accelerator = _beside(file.accelerator, folder)
    free = _parameters(entries, folder)
    if len(workloads) > 1:
        free = (Parameter(WORKLOAD, (WORKLOAD,), Choices(tuple(e.label for e in workloads))), *free)
    _refuse_twice(free, file.set, workloads)
    given = mapping or (folder / file.mappings if file.mappings is not None else None)
    space = Space(
        name=file.name, entries=workloads, accelerator=accelerator, settings=file.set,
        variants=variants(accelerator, file.set), parameters=free, constraints=(), objectives=_objectives(file),
        accuracy={recipe.strip(): float(value) for recipe, value in file.accuracy.items()},
        mapping=file.mapping, fidelity=file.fidelity,
        given=str(given.resolve()) if given else "", page=json.dumps(_page(given)) if given else "",
    )  # fmt: skip
    _check_conditions(space)
    constraints = tuple(_constraint(space, text) for text in file.constraints)
    return Space(**{**{name: getattr(space, name) for name in space.__dataclass_fields__}, "constraints": constraints})


def _page(file: Path) -> dict[str, Any]:
    """What a file of given mappings holds; whether it fits is seen when the workloads are there."""
    if not file.is_file():
        raise AnalysisError(f"mappings {str(file)!r}: there is no such file")
    return read_file(file)


def _beside(name: str, folder: Path) -> str:
    """A name, or the whole path of what is a file: those are named from the space file's folder."""
    if name.startswith("hf:"):
        own = folder / name.removeprefix("hf:")
        return f"hf:{own}" if own.is_dir() else name
    file, colon, factory = name.rpartition(":")
    if colon and file.endswith(".py"):
        return f"{folder / file}:{factory}"
    return str(folder / name) if name.endswith((".yaml", ".yml", ".npz")) else name


def _entries(file: SpaceFile, folder: Path) -> tuple[Entry, ...]:
    networks = [
        (
            w.label,
            Network(
                _beside(w.model, folder), w.prune, w.training, w.batch, w.optimizer, w.dtype, w.allow_unknown,
                str(folder / w.trace) if w.trace else None, file.fidelity == "tile", w.tokens, w.image,
                arguments_from(w.arguments), tuple(w.dense), w.cache, str(folder / w.weights) if w.weights else None,
                w.update, tuple(w.checkpoint), schedule=w.schedule, steps=w.steps,
            ),
        )
        for w in file.workloads
    ]  # fmt: skip
    names = labels(networks)
    for place, name in enumerate(names):
        if name in names[:place]:
            first = names.index(name)
            raise AnalysisError(f"workloads.{place} and workloads.{first} are both {name!r}; give each another label")
    return tuple(
        Entry(name, network, None if w.accuracy is None else float(w.accuracy), w.set)
        for name, (_, network), w in zip(names, networks, file.workloads, strict=True)
    )


def _parameters(entries: dict[str, ParameterEntry], folder: Path) -> tuple[Parameter, ...]:
    found = []
    for name, entry in entries.items():
        try:
            if entry.values is not None:
                domain: Any = choices(_placed(entry.paths or [name], entry.values, folder))
            else:
                domain = stretch(entry.start, entry.end, entry.step, entry.steps, entry.log)
            when = parse_expression(entry.when) if entry.when is not None else None
        except AnalysisError as error:
            raise AnalysisError(f"parameters.{name} {error}") from None
        paths = tuple(entry.paths or [name])
        if len(set(paths)) < len(paths):
            raise AnalysisError(f"parameters.{name}: paths has one path twice; list each once")
        if name in METRICS:
            raise AnalysisError(f"parameters.{name}: that is the name of a result; give the parameter another")
        if name in COLUMNS or (name == WORKLOAD and entry.paths):
            raise AnalysisError(f"parameters.{name}: that is the name of a column of the table; give it another")
        for path in paths:
            _check_workload_path(name, path)
        found.append(Parameter(name, paths, domain, when))
    return tuple(found)


def _placed(paths: list[str], values: list[Any], folder: Path) -> list[Any]:
    """Values of a parameter; those that are files of a workload with their whole paths, as `_entries` has them."""
    if f"{WORKLOAD}.model" in paths:
        return [_beside(value, folder) if isinstance(value, str) else value for value in values]
    if {f"{WORKLOAD}.trace", f"{WORKLOAD}.weights"} & set(paths):
        return [str(folder / value) if isinstance(value, str) else value for value in values]
    return values


def _check_workload_path(name: str, path: str) -> None:
    if path == WORKLOAD:
        raise AnalysisError(f"parameters.{name}: list several entries under `workloads` to let the workload be free")
    if path in NETWORK_FIELDS and path not in Accelerator.model_fields:
        raise AnalysisError(f"parameters.{name} names no parameter of the accelerator; did you mean 'workload.{path}'?")
    field = path.partition(".")[2]
    if of_workload(path) and field not in NETWORK_FIELDS:
        hint = suggestion(field, NETWORK_FIELDS)
        raise AnalysisError(f"parameters.{name}: a workload has no {field!r}; {hint}")


def _refuse_twice(parameters: Iterable[Parameter], settings: dict[str, Any], workloads: Iterable[Entry]) -> None:
    owners = {path: f"`set` of workload {entry.label!r}" for entry in workloads for path in entry.settings}
    for path in settings:
        if path in owners:
            raise AnalysisError(f"{path!r} is set by {owners[path]} and by `set` for all; keep one")
    owners |= dict.fromkeys(settings, "`set`")
    for parameter in parameters:
        for path in parameter.paths:
            for other, owner in owners.items():
                if path == other or path.startswith(f"{other}.") or other.startswith(f"{path}."):
                    if WORKLOAD in (path, other) and path != other:
                        continue  # which workload, and what is changed in it
                    raise AnalysisError(
                        f"{path!r} is set by parameters.{parameter.name} and, as {other!r}, by {owner}; keep one"
                    )
            owners[path] = f"parameters.{parameter.name}"


def _objectives(file: SpaceFile) -> tuple[Objective, ...]:
    found: list[Objective] = []
    for entry in file.objectives:
        name = entry if isinstance(entry, str) else entry.name
        wanted = None if isinstance(entry, str) else entry.direction
        if name not in METRICS:
            raise AnalysisError(f"objectives: no metric {name!r}; {suggestion(name, METRICS)}")
        if any(other.name == name for other in found):
            raise AnalysisError(f"objectives: {name} is there twice; list it once")
        found.append(Objective(name, wanted or direction(name)))
    return tuple(found)


def _constraint(space: Space, text: str) -> Constraint:
    try:
        expression = parse_expression(text)
    except AnalysisError as error:
        raise AnalysisError(f"constraints: {error}") from None
    for name in expression.names:
        if not is_metric(name) and not _knows(space, name):
            raise AnalysisError(f"constraints: {name!r} in {text!r} is unknown; {_suggest_name(space, name, METRICS)}")
    return Constraint(expression, before=not any(map(is_metric, expression.names)))


def _check_conditions(space: Space) -> None:
    for place, parameter in enumerate(space.parameters):
        if parameter.when is None:
            continue
        later = {p.name for p in space.parameters[place:]} | {q for p in space.parameters[place:] for q in p.paths}
        for name in parameter.when.names:
            where = f"parameters.{parameter.name}: {name!r} in when: {parameter.when.text!r}"
            if is_metric(name):
                raise AnalysisError(f"{where} is a result, which is not known yet; use a constraint")
            if name in later:
                raise AnalysisError(f"{where} comes later; write it before {parameter.name}")
            if not _knows(space, name):
                raise AnalysisError(f"{where} is unknown; {_suggest_name(space, name, ())}")


def _knows(space: Space, name: str) -> bool:
    """Whether a name is a parameter, a field of the workload, or one value of the accelerator."""
    if any(name == p.name or name in p.paths for p in space.parameters):
        return True
    try:
        value = space.lookup({}, space.variants.description)(name)
    except LookupError:
        return False
    return value is None or isinstance(value, (bool, int, float, str))


def _suggest_name(space: Space, name: str, more: Iterable[str]) -> str:
    known = [*(p.name for p in space.parameters), *(q for p in space.parameters for q in p.paths), *more]
    known += [WORKLOAD, *(f"{WORKLOAD}.{field}" for field in NETWORK_FIELDS)]
    if space.variants.base is not None:
        known += [path for path, _ in space.variants.base.leaves()]
    return suggestion(name, dict.fromkeys(known), "parameters, dotted paths of the accelerator and metrics are known")


def suggestion(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Near matches of a name, or all known ones."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.55)
    near = near or [other for other in names if name and name in other][:2]
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return otherwise or f"known: {', '.join(names)}"

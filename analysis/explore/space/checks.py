"""Checks of a whole space against its accelerator, its workloads and itself, before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from pydantic import ValidationError

from zerocast.accelerators import Accelerator, AcceleratorError, parse
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import FPGA, METRICS
from zerocast.analysis.explore.search.designs import count, grid, sample, settle
from zerocast.analysis.explore.show.words import design_count, warn
from zerocast.analysis.explore.space.arithmetic import refuse_types
from zerocast.analysis.explore.space.contradictions import refuse_contradictions
from zerocast.analysis.explore.space.definition import WORKLOAD, Choice, Entry, Parameter, Space, is_metric, of_workload
from zerocast.analysis.explore.space.domains import Choices
from zerocast.analysis.explore.space.expressions import Lookup
from zerocast.analysis.run.network import check as check_network
from zerocast.simulator.size.size import size_of
from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.zoo.registry import ENTRIES

FULL_GRID = 5000
"""Grids up to this size are looked through whole where a value is in doubt; of larger spaces, `SAMPLES`."""
SAMPLES = 2000
CONSTRAINT_SAMPLES = 10_000


def check(space: Space) -> None:
    """Refuse a space that cannot be explored; errors as `read_space` lists them."""
    doubtful = list(_check_values(space))
    _check_networks(space)
    _check_buildable(space, doubtful)
    refuse_types(space, entries(space), _some(space, {}))
    _check_accuracy(space)
    _check_metrics(space)
    _check_constraints(space)


# --- values ---------------------------------------------------------------------------------------------------


def _check_values(space: Space) -> Iterator[tuple[Parameter, Any, str]]:
    """Refuse paths that lead nowhere and values that the schema refuses by themselves; yield the values that the
    rest of the base design refuses, with what is said."""
    for entry in space.entries:
        try:
            space.variants.describe(entry.settings)
            if space.variants.base is not None:
                space.variants.build(entry.settings)
        except AcceleratorError as error:
            raise AnalysisError(f"`set` of workload {entry.label!r}: {error}") from None
    for parameter in space.parameters:
        paths = [path for path in parameter.paths if not of_workload(path)]
        for value in parameter.domain.ends if paths else ():
            said = _refusal(space, parameter, paths, value)
            if said:
                yield parameter, value, said


def _refusal(space: Space, parameter: Parameter, paths: list[str], value: Any) -> str:
    where = f"parameters.{parameter.name}: the value {value!r} is refused for every design"
    try:
        description = space.variants.describe(dict.fromkeys(paths, value))
    except AcceleratorError as error:
        raise AnalysisError(f"parameters.{parameter.name}: {error}") from None
    try:
        Accelerator.model_validate(description)
        return ""
    except ValidationError as error:
        own = [item for item in error.errors() if any(_is_at(item["loc"], path, description) for path in paths)]
    try:
        parse(description, space.variants.origin)
    except AcceleratorError as error:
        said = str(error)
    if any(item["type"] == "extra_forbidden" for item in own):
        raise AnalysisError(f"parameters.{parameter.name} names no parameter of the accelerator: {said}")
    if own:
        raise AnalysisError(f"{where}: {said}")
    return said


def _is_at(location: tuple[int | str, ...], path: str, description: Any) -> bool:
    """Whether a mistake lies at a dotted path, or inside the value there."""
    here, names = description, []
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        name = here.get("name", part) if isinstance(part, int) and isinstance(here, dict) else None
        names.append(str(name if name is not None else part))
    keys = path.split(".")
    return names[: len(keys)] == keys


def _check_buildable(space: Space, doubtful: list[tuple[Parameter, Any, str]]) -> None:
    """Refuse a value of which no design can be built. The others become rows with their reason."""
    if space.variants.base is None and not any(_builds(space, choice) for choice in _some(space, {})):
        parse(space.variants.description, space.variants.origin)
    for parameter, value, said in doubtful:
        if not any(_builds(space, choice) for choice in _some(space, {parameter.name: value})):
            raise AnalysisError(f"parameters.{parameter.name}: the value {value!r} is refused for every design: {said}")


def _builds(space: Space, choice: Choice) -> bool:
    try:
        space.variants.build(space.overrides_of(choice))
    except AcceleratorError:
        return False
    return True


def _some(space: Space, fixed: dict[str, Any], most: int = SAMPLES, whole: int = FULL_GRID) -> Iterator[Choice]:
    """All designs with the fixed values where they are few, otherwise some drawn at random."""
    narrowed = replace(space, parameters=tuple(_fixed(p, fixed) for p in space.parameters))
    designs = count(narrowed)
    if designs is not None and designs <= whole:
        yield from grid(narrowed)
        return
    random = Random(0)
    for _ in range(most):
        yield settle(narrowed, sample(narrowed, random))


def _fixed(parameter: Parameter, fixed: dict[str, Any]) -> Parameter:
    return replace(parameter, domain=Choices((fixed[parameter.name],))) if parameter.name in fixed else parameter


# --- workloads ------------------------------------------------------------------------------------------------


def entries(space: Space) -> list[Entry]:
    """All workloads of the designs: those listed, with each combination of listed `workload.X` values."""
    parameters = [p for p in space.parameters if any(of_workload(path) for path in p.paths)]
    values = [p.domain.ends for p in parameters]
    # a value whose condition is false leaves the workload as it was listed
    options = [[*found, *([_NOT_SET] if p.when else [])] for p, found in zip(parameters, values, strict=True)]
    found = {}
    for combination in itertools.product(*options):
        choice = {p.name: v for p, v in zip(parameters, combination, strict=True) if v is not _NOT_SET}
        entry = space.entry_of(choice)
        found[entry.label, entry.network] = entry
    return list(found.values())


_NOT_SET = object()


def _check_networks(space: Space) -> None:
    for parameter in space.parameters:
        for path in parameter.paths:
            if of_workload(path) and path != WORKLOAD:
                for value in parameter.domain.ends:
                    _check_field(parameter.name, path.partition(".")[2], value)
    for entry in entries(space):
        try:
            check_network(entry.network)
            _check_model(entry)
        except (AnalysisError, WorkloadError) as error:
            raise AnalysisError(f"workload {entry.label!r}: {error}") from None


_KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,), "prune": (str, type(None)), "training": (bool,), "batch": (int, type(None)),
    "optimizer": (str, type(None)), "update": (str, type(None)), "dtype": (str, type(None)), "trace": (str, type(None)),
    "tokens": (int, type(None)), "image": (int, type(None)), "cache": (int, type(None)), "weights": (str, type(None)),
    "schedule": (str, type(None)), "steps": (int, type(None)),
}  # fmt: skip


def _check_field(name: str, field: str, value: Any) -> None:
    right = isinstance(value, _KINDS[field]) and (field == "training" or not isinstance(value, bool))
    if not right:
        kinds = {"training": "true or false"} | dict.fromkeys(
            ("batch", "tokens", "image", "cache", "steps"), "a whole number"
        )
        words = kinds.get(field, "text")
        raise AnalysisError(f"parameters.{name}: {value!r} is no {field} of a workload; write {words}")


def _check_model(entry: Entry) -> None:
    network = entry.network
    if not (network.files or network.is_of_hub or network.model in ENTRIES):
        raise AnalysisError(f"no model {network.model!r}; {closest(network.model, ENTRIES)}")
    for file in network.files:
        if not file.exists():
            raise AnalysisError(f"no file {str(file)!r}; paths are taken from the space file's folder")


# --- accuracy, metrics ------------------------------------------------------------------------------------------


def _used(space: Space) -> dict[str, str]:
    """Metrics that objectives and constraints name -> who names them."""
    used = {name: f"constraint {c.expression.text!r}" for c in space.constraints for name in c.expression.names}
    used |= {o.name: f"objective {o.name}" for o in space.objectives}
    return {name: who for name, who in used.items() if name in METRICS}


def _check_accuracy(space: Space) -> None:
    found = entries(space)
    recipes = {entry.network.prune or "dense" for entry in found}
    if spare := [recipe for recipe in space.accuracy if recipe not in recipes]:
        raise AnalysisError(
            f"accuracy: {spare[0]!r} is the recipe of no workload here, which have {', '.join(sorted(recipes))}"
        )
    who = _used(space).get("accuracy")
    missing = [entry for entry in found if space.accuracy_of(entry) is None]
    if who and missing:
        recipe = missing[0].network.prune or "dense"
        raise AnalysisError(
            f"{who}: workload {missing[0].label!r} with recipe {recipe!r} has no accuracy; add "
            f'`accuracy: {{"{recipe}": 0.7}}` with what you measured'
        )


def _check_metrics(space: Space) -> None:
    used = _used(space)
    wanted = [name for name in used if name == "area_mm2" or name in FPGA]
    if not wanted:
        return
    machines = list(_machines(space))
    for name in wanted:
        if name == "area_mm2":
            if all(size_of(machine).total_mm2 is None for machine in machines):
                raise AnalysisError(
                    f"{used[name]}: {space.accelerator} has no area table, so no area; use a template that has one, "
                    "or dsp, lut and bram36 of an FPGA design"
                )
        elif not any(size_of(machine).resources for machine in machines):
            raise AnalysisError(
                f"{used[name]}: {space.accelerator} is no FPGA design, so it has no {name}; drop it, or use a template "
                "with technology.fpga"
            )


def _machines(space: Space) -> Iterator[Accelerator]:
    """Some designs that can be built."""
    found = 0
    for choice in itertools.chain([{}], _some(space, {}, most=100, whole=100)):
        try:
            yield space.variants.build(space.overrides_of(choice))
        except AcceleratorError:
            continue
        found += 1
        if found >= 20:
            return


# --- constraints ------------------------------------------------------------------------------------------------


def _check_constraints(space: Space) -> None:
    expressions = [c.expression for c in space.constraints]
    spans = dict.fromkeys(METRICS, (0.0, math.inf, "its own nature (never below 0)"))
    for parameter in space.parameters:
        span = parameter.domain.span
        if span is not None and parameter.when is None:
            for name in {parameter.name, *parameter.paths}:
                spans[name] = (*span, f"parameters.{parameter.name} ({span[0]!r} to {span[1]!r})")
    try:
        refuse_contradictions(expressions, spans)
        _check_kinds(space)
        _check_satisfiable(space)
    except AnalysisError as error:
        raise AnalysisError(f"constraints: {error}") from None


def _check_kinds(space: Space) -> None:
    """Refuse a constraint on results that compares them with text."""
    for constraint in space.constraints:
        if constraint.before:
            continue
        choice = next(iter(_some(space, {}, most=1)))
        names = space.lookup(choice, space.variants.describe(space.overrides_of(choice)))
        constraint.expression.holds(partial(_stand_in, names))


def _stand_in(names: Lookup, name: str) -> Any:
    """A number for a result, the value of all else."""
    return 1.5 if is_metric(name) else names(name)


def _check_satisfiable(space: Space) -> None:
    """Refuse constraints on parameters alone that no design of the grid keeps. Of a large space 10,000 are drawn, which
    proves nothing: then it is a warning."""
    before = [c.expression for c in space.constraints if c.before]
    if not before:
        return
    never = dict.fromkeys(e.text for e in before)
    tried = 0
    for choice in _some(space, {}, most=CONSTRAINT_SAMPLES, whole=10 * CONSTRAINT_SAMPLES):
        tried += 1
        lookup = space.lookup(choice, space.variants.describe(space.overrides_of(choice)))
        kept = [e.text for e in before if e.holds(lookup)]
        if len(kept) == len(before):
            return
        for text in kept:
            never.pop(text, None)
    alone = f"{' and '.join(map(repr, never))}" if never else " and ".join(repr(e.text) for e in before) + " together"
    designs = count(space)
    if designs is None or designs > 10 * CONSTRAINT_SAMPLES:
        warn(f"constraints: none of {design_count(tried)} drawn at random keeps {alone}; such designs are rare, if any")
        return
    raise AnalysisError(f"none of {design_count(tried)} of the space keeps {alone}; loosen one")

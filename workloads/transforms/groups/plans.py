"""Plans: what a page, or a function of the user's, says of coupled groups by the layers that make them."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.transforms.groups.axes import ranks_of
from zerocast.workloads.transforms.groups.choice import Wanted
from zerocast.workloads.transforms.groups.finder import Coupled, Group, fixed_because
from zerocast.workloads.transforms.surgery import named

Plan = Mapping[str, Any]
"""Glob of layers -> width, share, list of places, "heads:n" or "erase"; the first that matches a group counts."""


def read_plan(file: str) -> Plan | Callable[[Group], Wanted | None]:
    """A plan from a page of YAML, or a function of groups from a file of Python, "FILE.py:NAME".

    Raises `WorkloadError` for a file that cannot be read, or holds something else.
    """
    path, _, name = file.partition(":")
    if path.endswith(".py"):
        try:
            found: Any = runpy.run_path(path).get(name or "choose")
        except Exception as error:
            raise WorkloadError(f"plan {path!r} cannot be run: {type(error).__name__}: {error}") from error
        if not callable(found):
            raise WorkloadError(f"plan {path!r} has no function {name or 'choose'!r} that takes a group")
        return found  # type: ignore[no-any-return]
    try:
        page = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        said = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise WorkloadError(f"plan {path!r} cannot be read: {said}") from error
    if not isinstance(page, dict) or not page or not all(isinstance(glob, str) for glob in page):
        raise WorkloadError(f"plan {path!r} must map globs of layers to widths, shares, places, heads:n or erase")
    return page


def asked_by(plan: Plan, found: Coupled) -> dict[Group, Wanted]:
    """What a plan asks of each group. Raises `WorkloadError` for a glob that matches no layer, for layers that are tied
    together and shall have several widths, for layers that must keep theirs, and for values that mean nothing."""
    free = [group for group in found.groups if not group.inside]
    asked: dict[Group, Wanted] = {}
    by: dict[Group, tuple[str, str]] = {}
    for glob, value in plan.items():
        matched = [(group, layer) for group in free for layer in group.makers if named(layer, glob)]
        if not matched:
            raise WorkloadError(_unmatched(glob, found))
        if returned := [layer for group, layer in matched if group.output]:
            raise WorkloadError(f"plan: the channels of {returned[0]!r} stay: the network returns them")
        for group, layer in matched:
            wanted = _wanted(glob, value, group)
            if group not in asked:
                asked[group], by[group] = wanted, (glob, layer)
            elif asked[group] != wanted and by[group][1] != layer:
                first = f"{by[group][1]!r} ({by[group][0]}: {asked[group]})"
                raise WorkloadError(f"plan: {layer!r} ({glob}: {value}) is tied to {first}; give them one width")
    return asked


def _unmatched(glob: str, found: Coupled) -> str:
    stay = [each for each in found.products if named(each.layer, glob) and each.outer is not None]
    if stay:
        axis = stay[0].outer
        assert axis is not None
        why = fixed_because(axis) or ("nothing else reads them" if ranks_of(axis) else "")
        return f"plan: the channels of {stay[0].layer!r} stay: {why}"
    makers = dict.fromkeys(layer for group in found.groups for layer in group.makers)
    return f"plan: no layer is called {glob!r}; {closest(glob, makers)}"


def _wanted(glob: str, value: Any, group: Group) -> Wanted:
    what = f"plan: {glob}: {value!r}"
    if isinstance(value, str) and value.startswith("heads:") and value[6:].isdigit():
        if group.kind != "heads":
            raise WorkloadError(f"{what}: {group.name!r} makes no heads")
        return heads_of(group, int(value[6:]))
    if isinstance(value, bool) or not isinstance(value, (int, float, list)):
        raise WorkloadError(f"{what} is no width, share, list of places, heads:n or erase")
    if isinstance(value, float) and not 0 < value <= 1:
        raise WorkloadError(f"{what}: a share lies above 0 and is 1 at most; a width is a whole number")
    if isinstance(value, int):
        return _width(what, value, group)
    if isinstance(value, list):
        fit = all(type(at) is int and 0 <= at < group.size for at in value)
        if not value or not fit or len(set(value)) < len(value):
            raise WorkloadError(f"{what}: places are different whole numbers from 0 to {group.size - 1}")
        return tuple(value)
    return value


def _width(what: str, value: int, group: Group) -> int:
    """Places of a group that a layer of this width has."""
    width = group.size * group.each
    if not 1 <= value <= width:
        raise WorkloadError(f"{what}: {group.name!r} has {width} channels; give a width from 1 to that")
    if value % group.each:
        raise WorkloadError(f"{what}: {group.name!r} has heads of {group.each} channels; give a multiple")
    return value // group.each


def heads_of(group: Group, keep: float) -> Wanted:
    """A number of query heads as one of the places of their group; a share as it is."""
    if isinstance(keep, float):
        return keep
    if not 1 <= keep <= group.size * group.shared:
        raise WorkloadError(f"{group.name!r} has {group.size * group.shared} heads, of which {keep} cannot stay")
    if keep % group.shared:
        raise WorkloadError(
            f"{group.name!r}: {keep} heads do not divide into groups of {group.shared} that share keys and values"
        )
    return keep // group.shared

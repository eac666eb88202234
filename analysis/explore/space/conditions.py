"""Conditional parameters: whether a design has one, and how many designs that leaves."""

from __future__ import annotations

import math
from dataclasses import replace

from zerocast.analysis.explore.space.definition import WORKLOAD, Choice, Parameter, Space, of_workload
from zerocast.analysis.explore.space.domains import Choices

MOST_COUNTED = 100_000
"""Combinations of values that are looked through to count designs."""


def is_there(space: Space, parameter: Parameter, choice: Choice) -> bool:
    """Whether a design has a parameter, by the values of those before it."""
    if parameter.when is None:
        return True
    return parameter.when.holds(space.lookup(choice, space.variants.describe(space.overrides_of(choice))))


def conditional_count(space: Space) -> int:
    """How many designs a grid has; of a group with more than `MOST_COUNTED` combinations all of them, an upper bound.

    Only what conditions name is looked through: groups of parameters that no condition connects multiply.
    """
    total = 1
    for group in _groups(space):
        members = tuple(p for p in space.parameters if p.name in group)
        named = {q.name for p in members for q in _named_by(space, p)}
        if math.prod(_size(p) for p in members if p.name in named) > MOST_COUNTED:
            total *= math.prod(map(_size, members))
        else:
            total *= _Counter(space, members, named).count(0, {})
    return total


class _Counter:
    """Counts the designs of one group, asking each condition once for each combination of what it names."""

    def __init__(self, space: Space, members: tuple[Parameter, ...], named: set[str]) -> None:
        self._space = replace(space, parameters=members)
        self._members, self._named = members, named
        self._names = {p.name: [q.name for q in _named_by(self._space, p)] for p in members}
        self._known: dict[tuple[str, tuple[int, ...]], bool] = {}

    def count(self, place: int, choice: Choice) -> int:
        """Designs that the parameters from a place on make, after the values of those before it."""
        if place == len(self._members):
            return 1
        parameter = self._members[place]
        if not self._is_there(parameter, choice):
            return self.count(place + 1, choice)
        if parameter.name not in self._named:
            return _size(parameter) * self.count(place + 1, choice)
        assert isinstance(parameter.domain, Choices)
        return sum(self.count(place + 1, {**choice, parameter.name: value}) for value in parameter.domain.values)

    def _is_there(self, parameter: Parameter, choice: Choice) -> bool:
        # by identity: 1 and true are equal, and a missing value is not None
        key = parameter.name, tuple(id(choice[n]) if n in choice else 0 for n in self._names[parameter.name])
        if key not in self._known:
            self._known[key] = is_there(self._space, parameter, choice)
        return self._known[key]


def _size(parameter: Parameter) -> int:
    assert isinstance(parameter.domain, Choices)
    return len(parameter.domain.values)


def _groups(space: Space) -> list[set[str]]:
    """Names of parameters that conditions connect, directly or through others."""
    groups = [{p.name} for p in space.parameters]
    for parameter in space.parameters:
        joined = {parameter.name, *(p.name for p in _named_by(space, parameter))}
        apart = [group for group in groups if not group & joined]
        groups = [*apart, joined.union(*(group for group in groups if group & joined))]
    return groups


def _named_by(space: Space, parameter: Parameter) -> list[Parameter]:
    """Parameters that may decide a parameter's condition."""
    if parameter.when is None:
        return []
    names = parameter.when.names
    return [p for p in space.parameters if p is not parameter and any(_decides(space, p, name) for name in names)]


def _decides(space: Space, parameter: Parameter, name: str) -> bool:
    """Whether a parameter may change what a name stands for."""
    if parameter.name == WORKLOAD and any(_touch(name, path) for entry in space.entries for path in entry.settings):
        return True
    if of_workload(name) and any(map(of_workload, parameter.paths)):
        return True
    return name == parameter.name or any(_touch(name, path) for path in parameter.paths)


def _touch(one: str, other: str) -> bool:
    """Whether two dotted paths are the same, or one is inside the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")

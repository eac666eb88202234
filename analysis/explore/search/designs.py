"""Which designs a space holds: the grid in the order written, and designs at random."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from zerocast.analysis.explore.space.conditions import conditional_count, is_there
from zerocast.analysis.explore.space.definition import Choice, Parameter, Space
from zerocast.analysis.explore.space.domains import Choices, Range


def grid(space: Space) -> Iterator[Choice]:
    """All designs: the product of the values in the order written, the last parameter varying quickest. A parameter
    whose condition is false collapses, so that no design comes twice. All domains must be `Choices`."""
    yield from _grid(space, 0, {})


def _grid(space: Space, place: int, choice: Choice) -> Iterator[Choice]:
    if place == len(space.parameters):
        yield choice
        return
    parameter = space.parameters[place]
    if not is_there(space, parameter, choice):
        yield from _grid(space, place + 1, choice)
        return
    assert isinstance(parameter.domain, Choices)
    for value in parameter.domain.values:
        yield from _grid(space, place + 1, {**choice, parameter.name: value})


def count(space: Space) -> int | None:
    """How many designs the grid has; None where a parameter is continuous. Where conditions connect parameters of more
    than `conditions.MOST_COUNTED` combinations, an upper bound: as if every condition were true."""
    sizes = [len(p.domain.values) for p in space.parameters if isinstance(p.domain, Choices)]
    if len(sizes) < len(space.parameters):
        return None
    return conditional_count(space)


def settle(space: Space, values: Mapping[str, Any]) -> Choice:
    """The design of a value for every parameter: without those whose condition is false."""
    choice: Choice = {}
    for parameter in space.parameters:
        if is_there(space, parameter, choice):
            choice[parameter.name] = values[parameter.name]
    return choice


def sample(space: Space, random: Random) -> dict[str, Any]:
    """A value for every parameter, each as likely as the next; those of a log range by ratio."""
    return {parameter.name: _draw(parameter, random) for parameter in space.parameters}


def _draw(parameter: Parameter, random: Random) -> Any:
    domain = parameter.domain
    if isinstance(domain, Choices):
        return domain.values[random.randrange(len(domain.values))]
    return between(domain, random.random())


def between(domain: Range, share: float) -> int | float:
    """The value that lies a share (0 to 1) of the way along a range."""
    if domain.whole and not domain.log:
        return min(int(domain.low) + int(share * (int(domain.high) - int(domain.low) + 1)), int(domain.high))
    if domain.log:
        value = domain.low * (domain.high / domain.low) ** share
    else:
        value = domain.low + (domain.high - domain.low) * share
    value = min(max(value, domain.low), domain.high)
    return round(value) if domain.whole else float(value)

"""One call of an operator as rules see it, and what is said where there is no rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zerocast.workloads.transforms.groups.axes import Axis, fixed, freeze

Axes = tuple[Axis, ...]
"""Of a tensor, one for each dimension."""


@dataclass(frozen=True, slots=True)
class Product:
    """Multiply-accumulates of one operator: one for each place of all of `axes`. layer: the module that does it.
    inner: the axis that is summed; outer: that of the results' features; weighted: whether one operand is a weight."""

    layer: str
    axes: Axes
    inner: Axis | None = None
    outer: Axis | None = None
    weighted: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One call of an operator. arguments: by name, tensors as their axes. constant: names of those that no input of the
    network goes into. out: its results' meta tensors. products: where multiply-accumulates are noted."""

    name: str
    layer: str
    arguments: dict[str, Any]
    constant: frozenset[str]
    out: Any
    target: Any
    products: list[Product]

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its only result."""
        return tuple(self.out.shape)

    @property
    def first(self) -> Axes:
        """Axes of its first tensor."""
        return next(value for value in self.arguments.values() if is_axes(value))

    def places(self, start: int) -> Axes:
        """Dimensions of the result from `start` on, which no channel goes into."""
        return tuple(fixed(size, "it counts places of an image") for size in self.shape[start:])


def is_axes(value: Any) -> bool:
    """Whether an argument is a tensor, and not a list of them or of numbers."""
    return isinstance(value, tuple) and all(isinstance(axis, tuple) and axis and isinstance(axis[0], tuple)
                                            for axis in value)  # fmt: skip


def tensors(value: Any) -> list[Axes]:
    """The tensors of an argument."""
    if is_axes(value):
        return [value]
    return [each for item in value for each in tensors(item)] if isinstance(value, (list, tuple)) else []


def unknown(step: Step) -> Any:
    """Nothing is known of how its axes go together: all of them stay."""
    for axes in tensors(list(step.arguments.values())):
        for axis in axes:
            freeze(axis, f"{step.name} is not followed")
    return made(step.out, lambda size: fixed(size, f"{step.name} is not followed"))


def made(out: Any, axis: Callable[[int], Axis]) -> Any:
    """Axes of results that come from no operand."""
    if isinstance(out, Tensor):
        return tuple(axis(int(size)) for size in out.shape)
    return [made(each, axis) for each in out] if isinstance(out, (list, tuple)) else None

"""Places that lists of numbers pick: tables, gathers, scatters."""

from __future__ import annotations

from typing import Any

from zerocast.workloads.transforms.groups.axes import (
    fixed,
    freeze,
    same,
    size_of,
)
from zerocast.workloads.transforms.groups.rules.step import Axes, Product, Step, is_axes, unknown


def embedding(step: Step) -> Axes:
    """Rows of a table, picked by number."""
    table, picked = step["weight"], step["indices"]
    freeze(table[0], "it counts words or places that are looked up")
    step.products.append(Product(step.layer, (fixed(0),), None, table[1]))
    return (*picked, table[1])


def bags(step: Step) -> Any:
    """Sums of rows of a table."""
    whole = embedding(step)
    rest = [tuple(fixed(int(size)) for size in out.shape) for out in step.out[1:]]
    return [(fixed(step.out[0].shape[0]), whole[-1]), *rest]


def looked_up(step: Step) -> Axes:
    """Places of dimensions picked by tensors of numbers."""
    axes, places = step.first, step["indices"]
    at = [dim for dim, each in enumerate(places) if each is not None]
    for dim in at:
        freeze(axes[dim], "its places are looked up")
    if at != list(range(at[0], at[0] + len(at))):
        return unknown(step)
    new = step.shape[at[0] : len(step.shape) - (len(axes) - at[-1] - 1)]
    return (*axes[: at[0]], *(fixed(size, "it counts what was looked up") for size in new), *axes[at[-1] + 1 :])


def selected(step: Step) -> Axes:
    """Places of one dimension picked by a list of numbers."""
    axes, dim = step.first, step["dim"] % len(step.first)
    freeze(axes[dim], "its places are looked up")
    return (*axes[:dim], fixed(step.shape[dim], "it counts what was looked up"), *axes[dim + 1 :])


def gathered(step: Step) -> Axes:
    """Places of one dimension picked for each place of the others."""
    axes, picks, dim = step.first, step["index"], step["dim"] % len(step.first)
    freeze(axes[dim], "its places are looked up")
    for at, (own, pick) in enumerate(zip(axes, picks, strict=True)):
        if at != dim and size_of(own) == size_of(pick):
            same(own, pick)
        elif at != dim:
            freeze(own, "its places are looked up")
    return picks


def scattered(step: Step) -> Axes:
    """Values put, or added, to places of one dimension that a list of numbers gives."""
    axes = step["self"]
    values = step["source"] or step["src"]
    if not is_axes(values) or len(values) != len(axes):
        return unknown(step)
    dim = step["dim"] % len(axes)
    for at, (own, value) in enumerate(zip(axes, values, strict=True)):
        if at == dim or size_of(own) != size_of(value):
            freeze(own, "its places are looked up")
            freeze(value, "its places are looked up")
        else:
            same(own, value)
    return axes

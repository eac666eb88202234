"""Operators that leave every channel where it is: element by element, norms, reductions, windows over images."""

from __future__ import annotations

from typing import Any

from zerocast.workloads.transforms.groups.axes import (
    fixed,
    freeze,
    fresh,
    mark,
    product,
    resolve,
    same,
    size_of,
)
from zerocast.workloads.transforms.groups.rules.step import Axes, Step, made, tensors, unknown


def created(step: Step) -> Any:
    """Zeros, ranges, noise: as wide as whatever they meet."""
    return made(step.out, fresh)


def unchanged(step: Step) -> Axes:
    """Element by element, or along one axis that goes on."""
    return step.first


def pointwise(step: Step) -> Axes:
    """Operands are broadcast against one another."""
    operands = [axes for value in step.arguments.values() for axes in tensors(value)]
    if step.name in ("add", "sub", "rsub") and not step.constant and len(operands) == 2:
        for one, other in zip(reversed(operands[0]), reversed(operands[1]), strict=False):
            if size_of(one) == size_of(other) and resolve(one) != resolve(other):
                mark(one, "summed")
    found = []
    for back, size in enumerate(reversed(step.shape), 1):
        here = [axes[-back] for axes in operands if len(axes) >= back and size_of(axes[-back]) == size]
        for axis in here[1:]:
            same(here[0], axis)
        found.append(here[0] if here else fixed(size))
    return tuple(reversed(found))


def per_channel(step: Step) -> Axes:
    """Norms over a batch: a number for each channel."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        if step[name]:
            same(step[name][0], step["input"][1])
    return step["input"]


def slopes(step: Step) -> Axes:
    """A slope for each channel, or one for all (`prelu`)."""
    axes = step["self"]
    if size_of(step["weight"][0]) > 1:
        same(step["weight"][0], axes[1] if len(axes) > 1 else axes[0])
    return axes


def per_group(step: Step) -> Axes:
    """Norms over groups of channels, of which each keeps as many."""
    channels = step["input"][1]
    count = step["num_groups"]
    if 1 < count < size_of(channels):
        same(channels, product([fixed(count, "it counts groups of a norm"), fresh(size_of(channels) // count)]))
    return per_channel(step)


def over_last(step: Step) -> Axes:
    """Norms over the last dimensions."""
    for name in ("weight", "bias"):
        for own, axis in zip(reversed(step[name] or ()), reversed(step["input"]), strict=False):
            same(own, axis)
    return step["input"]


def pooled(step: Step) -> Any:
    """Windows over places of an image; channels go on."""
    outs = step.out if isinstance(step.out, (list, tuple)) else [step.out]
    count = len(outs[0].shape) - int(step.name.split("pool")[-1][:1] or 2) if "pool" in step.name else 2
    axes = [(*step.first[:count], *(fixed(size, "it counts places of an image") for size in out.shape[count:]))
            for out in outs]  # fmt: skip
    return axes if isinstance(step.out, (list, tuple)) else axes[0]


def reduced(step: Step) -> Any:
    """A sum, mean or maximum over some dimensions."""
    axes, dims = step.first, step["dim"]
    count = len(axes)
    gone = {d % count for d in (dims if isinstance(dims, (list, tuple)) else [dims])} if dims not in (None, []) \
        else set(range(count))  # fmt: skip
    kept = tuple(fixed(1) if at in gone else axis for at, axis in enumerate(axes) if step["keepdim"] or at not in gone)
    return [kept for _ in step.out] if isinstance(step.out, (list, tuple)) else kept


def along(step: Step) -> Any:
    """Sorted, reversed, rotated or added up along some dimensions, whose places then are not the same any more."""
    dims = step["dim"] if step["dim"] is not None else step["dims"]
    axes = step.first
    for dim in [dims] if isinstance(dims, int) else dims or range(len(axes)):
        freeze(axes[dim], "its places change their order")
    if not isinstance(step.out, (list, tuple)) and step.shape == tuple(map(size_of, axes)):
        return axes
    return unknown(step)

"""Operators that move, split and join dimensions."""

from __future__ import annotations

from math import prod
from typing import Any

from zerocast.workloads.transforms.groups.axes import (
    Axis,
    fixed,
    freeze,
    fresh,
    part,
    product,
    same,
    size_of,
)
from zerocast.workloads.transforms.groups.rules.step import Axes, Step, tensors, unknown


def reshaped(step: Step) -> Axes:
    """The same elements in the same order under other dimensions."""
    axes = list(step.first)
    wanted = list(step.shape)
    found: list[Axis] = []
    while wanted:
        outs, ins = [wanted.pop(0)], list[Axis]()
        while prod(outs) != prod(map(size_of, ins)):
            if prod(outs) < prod(map(size_of, ins)):
                outs.append(wanted.pop(0))
            else:
                ins.append(axes.pop(0))
        if len(outs) == 1 and ins:
            found.append(product(ins))
            continue
        parts = [fresh(size) for size in outs]
        if ins:
            same(product(ins), product(parts))
        found += parts
    return tuple(found)


def permuted(step: Step) -> Axes:
    """Dimensions in another order."""
    axes = step.first
    count = len(axes)
    if step.name in ("t", "numpy_T", "mT", "adjoint"):
        return axes[:-2] + axes[-2:][::-1]
    if step.name in ("permute", "movedim", "moveaxis") and step["dims"] is not None:
        return tuple(axes[dim % count] for dim in step["dims"])
    one, other = (step["dim0"], step["dim1"]) if step["dim0"] is not None else (step["axis0"], step["axis1"])
    order = list(axes)
    if order:
        order[one % count], order[other % count] = order[other % count], order[one % count]
    return tuple(order)


def concatenated(step: Step) -> Axes:
    """Several tensors behind one another along one dimension."""
    parts = [axes for axes in tensors(step["tensors"]) if len(axes) == len(step.shape)]
    dim = (step["dim"] or 0) % len(step.shape)
    for axes in parts[1:]:
        for at, axis in enumerate(axes):
            if at != dim:
                same(parts[0][at], axis)
    whole = tuple(term for axes in parts for term in axes[dim])
    return (*parts[0][:dim], whole, *parts[0][dim + 1 :])


def stacked(step: Step) -> Axes:
    """Several tensors under a new dimension."""
    parts = tensors(step["tensors"])
    dim = (step["dim"] or 0) % len(step.shape)
    for axes in parts[1:]:
        for one, other in zip(parts[0], axes, strict=True):
            same(one, other)
    return (*parts[0][:dim], fixed(len(parts), "it counts tensors that are stacked"), *parts[0][dim:])


def split(step: Step) -> list[Axes]:
    """Pieces along one dimension; those of one size keep one width, for code that tells their number or that size."""
    axes = step.first
    dim = (step["dim"] or 0) % len(axes)
    found, start = [], 0
    for out in step.out:
        stop = start + int(out.shape[dim])
        found.append(part(axes[dim], start, stop))
        start = stop
    if step.name not in ("split_with_sizes", "tensor_split"):
        for piece in found[1:]:
            if size_of(piece) == size_of(found[0]):
                same(found[0], piece)
    return [(*axes[:dim], piece, *axes[dim + 1 :]) for piece in found]


def picked(step: Step) -> Any:
    """One place, or each place by itself, of a dimension, which then is none."""
    axes = step.first
    dim = (step["dim"] or 0) % len(axes)
    freeze(axes[dim], "its places are told apart by number")
    rest = (*axes[:dim], *axes[dim + 1 :])
    return [rest for _ in step.out] if isinstance(step.out, (list, tuple)) else rest


def sliced(step: Step) -> Axes:
    """A stretch of a dimension."""
    axes = step.first
    dim = (step["dim"] or 0) % len(axes)
    size, width = size_of(axes[dim]), step.shape[dim]
    if width == size:
        return axes
    start = step["start"] or 0
    start = max(start + size, 0) if start < 0 else start
    if (step["step"] or 1) != 1:
        freeze(axes[dim], "every so many of its places are taken")
        return (*axes[:dim], fixed(width, "every so many of its places are taken"), *axes[dim + 1 :])
    return (*axes[:dim], part(axes[dim], start, start + width), *axes[dim + 1 :])


def expanded(step: Step) -> Axes:
    """Dimensions of one place repeated."""
    axes = step.first
    more = len(step.shape) - len(axes)
    return tuple(
        axes[at - more] if at >= more and size_of(axes[at - more]) == size else fresh(size)
        for at, size in enumerate(step.shape)
    )


def tiled(step: Step) -> Axes:
    """Whole dimensions repeated one after the other."""
    axes = step.first
    more = len(step.shape) - len(axes)
    times = [size if at < more else size // size_of(axes[at - more]) for at, size in enumerate(step.shape)]
    whole = [fixed(1)] * more + list(axes)
    return tuple(axis if n == 1 else product([fresh(n), axis]) for n, axis in zip(times, whole, strict=True))


def interleaved(step: Step) -> Axes:
    """Each place of a dimension several times in a row."""
    axes = step.first
    if step["dim"] is None or not isinstance(step["repeats"], int):
        return unknown(step)
    dim = step["dim"] % len(axes)
    return (*axes[:dim], product([axes[dim], fresh(step["repeats"])]), *axes[dim + 1 :])


def unsqueezed(step: Step) -> Axes:
    """A dimension of one place more."""
    axes = step.first
    dim = step["dim"] % (len(axes) + 1)
    return (*axes[:dim], fixed(1), *axes[dim:])


def squeezed(step: Step) -> Axes:
    """Dimensions of one place fewer."""
    axes, dims = step.first, step["dim"]
    gone = (
        set(range(len(axes))) if dims is None else {d % len(axes) for d in ([dims] if isinstance(dims, int) else dims)}
    )
    return tuple(axis for at, axis in enumerate(axes) if at not in gone or size_of(axis) > 1)


def padded(step: Step) -> Axes:
    """Places before and behind the last dimensions."""
    axes, pad = list(step.first), list(step["pad"])
    for back, (before, behind) in enumerate(zip(pad[::2], pad[1::2], strict=True), 1):
        if before < 0 or behind < 0:
            start, stop = max(-before, 0), size_of(axes[-back]) - max(-behind, 0)
            axes[-back] = part(axes[-back], start, stop)
        ends = [fixed(max(size, 0), "it is padding") for size in (before, behind)]
        axes[-back] = (*(ends[0] if before > 0 else ()), *axes[-back], *(ends[1] if behind > 0 else ()))
    return tuple(axes)


def shuffled(step: Step) -> Axes:
    """Channels that become places of an image (`pixel_shuffle`)."""
    axes = step.first
    outs = fresh(step.shape[-3])
    same(axes[-3], product([outs, fixed(size_of(axes[-3]) // step.shape[-3], "it counts places of an image")]))
    return (*axes[:-3], outs, *step.places(len(axes) - 2))

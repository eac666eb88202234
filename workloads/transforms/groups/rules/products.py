"""Products of matrices, attention and convolutions: which axis is summed, which are the results'."""

from __future__ import annotations

from zerocast.workloads.transforms.groups.axes import (
    Axis,
    fixed,
    freeze,
    fresh,
    mark,
    product,
    same,
    size_of,
)
from zerocast.workloads.transforms.groups.rules.step import Axes, Product, Step, is_axes, tensors, unknown


def linear(step: Step) -> Axes:
    """out[..., k] = input[..., c] weight[k, c]."""
    return _matmul(step, step["input"], step["weight"][::-1], step["bias"], "weight")


def matmul(step: Step) -> Axes:
    """Products of matrices, in batches or not, with something added or not."""
    left, right = [step[name] for name in ("self", "other", "mat1", "mat2", "batch1", "batch2", "tensor1", "tensor2",
                                           "vec") if is_axes(step[name])][-2:]  # fmt: skip
    added = step["self"] if step.name in ("addmm", "baddbmm") else None
    return _matmul(step, left, right, added, None)


def _matmul(step: Step, left: Axes, right: Axes, added: Axes | None, weight: str | None) -> Axes:
    same(left[-1], right[-2] if len(right) > 1 else right[-1])
    batches = []
    for back, size in enumerate(reversed(step.shape[: max(len(left), len(right)) - 2]), 3):
        here = [axes[-back] for axes in (left, right) if len(axes) >= back and size_of(axes[-back]) == size]
        for axis in here[1:]:
            same(here[0], axis)
        batches.append(here[0])
    rows, columns = left[-2:-1], right[-1:] if len(right) > 1 else ()
    weighted = bool(step.constant - {"bias"}) if weight is None else True
    if not weighted:
        for axis in batches:
            mark(axis, "heads")
        _attended(left[-1:] + right)
    out = (*reversed(batches), *rows, *columns)
    for own, axis in zip(reversed(added or ()), reversed(out), strict=False):
        if size_of(own) == size_of(axis):
            same(own, axis)
    outer = columns[0] if columns else None
    step.products.append(Product(step.layer, (*out, left[-1]), left[-1], outer, weighted))
    return out


def grouped(step: Step) -> Axes:
    """out[rows, k] = input[rows, c] weight[expert of the row, c, k]."""
    rows, weight = step["input"] or step["self"], step["weight"] or step["mat2"]
    if len(rows) != 2 or len(weight) != 3:
        return unknown(step)
    freeze(weight[0], "it counts experts that are picked by number")
    same(rows[1], weight[1])
    step.products.append(Product(step.layer, (*rows, weight[2]), weight[1], weight[2]))
    return (rows[0], weight[2])


def _attended(axes: Axes) -> None:
    for axis in axes:
        mark(axis, "attended")


def attention(step: Step) -> Axes:
    """Fused attention over heads, of which several may share keys and values."""
    query, key, value = step["query"], step["key"], step["value"]
    same(query[-1], key[-1])
    same(key[-2], value[-2])
    for queries, keys, values in zip(query[:-2], key[:-2], value[:-2], strict=True):
        same(keys, values)
        times = size_of(queries) // size_of(keys)
        same(queries, keys if times == 1 else product([keys, fresh(times)]))
    for own, axis in zip(reversed(step["attn_mask"] or ()), (key[-2], *reversed(query[:-1])), strict=False):
        if size_of(own) == size_of(axis):
            same(own, axis)
    if len(query) > 3:
        mark(query[-3], "heads")
    _attended((query[-1], value[-1]))
    step.products.append(Product(step.layer, (*query, key[-2]), weighted=False))
    step.products.append(Product(step.layer, (*query[:-1], key[-2], value[-1]), weighted=False))
    return (*query[:-1], value[-1])


def convolution(step: Step) -> Axes:
    """out[n, k, ...] = input[n, c, ...] weight[k, c per group, kernel]; transposed, weight[c, k per group, kernel]."""
    inputs, weight, groups = step["input"], step["weight"], step["groups"] or 1
    for kernel in weight[2:]:
        freeze(kernel, "it counts places of a kernel")
    batch = inputs[: len(inputs) - len(weight) + 1]
    channels = inputs[len(batch)]
    transposed = "transpose" in step.name or step["transposed"] is True
    depthwise = groups == size_of(channels) > 1
    out = (_depthwise if depthwise else _in_groups)(channels, weight, groups, transposed)
    if step["bias"]:
        same(step["bias"][0], out)
    places = step.places(len(batch) + 1)
    image = inputs[len(batch) + 1 :] if transposed else places
    step.products.append(Product(step.layer, (*batch, *image, *weight), None if depthwise else channels, out))
    return (*batch, out, *places)


def _in_groups(channels: Axis, weight: Axes, groups: int, transposed: bool) -> Axis:
    """Outputs of a convolution every group of which has as many channels."""

    def each(axis: Axis) -> Axis:
        return product([fixed(groups, "it counts groups"), axis])

    same(weight[0], each(fresh(size_of(weight[0]) // groups)))
    same(channels, weight[0] if transposed else each(weight[1]))
    return each(weight[1]) if transposed else weight[0]


def _depthwise(channels: Axis, weight: Axes, groups: int, transposed: bool) -> Axis:
    """Outputs of a convolution of one channel for each group, of which there are as many as channels."""
    times = size_of(weight[1]) if transposed else size_of(weight[0]) // groups
    out = product([channels, fixed(times, "it counts filters of one channel")])
    same(weight[0], channels if transposed else out)
    return out


def einsum(step: Step) -> Axes:
    """By its equation."""
    equation, operands = step["equation"].replace(" ", ""), tensors(step["tensors"])
    before, _, after = equation.partition("->")
    terms = before.split(",")
    if "." in equation or "->" not in equation:
        return unknown(step)
    known: dict[str, Axis] = {}
    for letters, axes in zip(terms, operands, strict=True):
        for letter, axis in zip(letters, axes, strict=True):
            if letter in known:
                same(known[letter], axis)
            known.setdefault(letter, axis)
    step.products.append(Product(step.layer, tuple(known.values()), weighted=bool(step.constant)))
    return tuple(known[letter] for letter in after)

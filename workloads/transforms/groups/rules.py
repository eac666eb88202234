"""What each operator says of the axes of its operands and results: which are one, which stay, which make which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from zerocast.workloads.transforms.groups.axes import (
    Axis,
    fixed,
    freeze,
    fresh,
    mark,
    part,
    product,
    resolve,
    same,
    size_of,
)

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

    def spatial(self, start: int) -> Axes:
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
    batch, channels = (inputs[:1], inputs[1]) if len(inputs) == len(weight) else ((), inputs[0])
    transposed = "transpose" in step.name or step["transposed"] is True
    own, others = (weight[1], weight[0]) if transposed else (weight[0], weight[1])
    if groups == 1:
        same(channels, others)
        out = own
    elif groups == size_of(channels):  # depthwise
        width = weight[0] if transposed else channels
        same(channels, width)
        times = size_of(weight[1] if transposed else own) // (1 if transposed else groups)
        out = channels if times == 1 else product([channels, fixed(times, "it counts filters of one channel")])
        if not transposed:
            same(own, out)
    else:
        why = "it counts groups"
        same(channels, product([fixed(groups, why), fresh(size_of(channels) // groups)]) if transposed
             else product([fixed(groups, why), others]))  # fmt: skip
        if transposed:
            same(channels, weight[0])
            out = product([fixed(groups, why), own])
        else:
            same(own, product([fixed(groups, why), fresh(size_of(own) // groups)]))
            out = own
    if step["bias"]:
        same(step["bias"][0], out)
    places = step.spatial(len(batch) + 1)
    image = inputs[len(batch) + 1 :] if transposed else places
    depthwise = groups > 1 and groups == size_of(channels)
    counted = (*batch, *image, *weight)
    step.products.append(Product(step.layer, counted, None if depthwise else channels, out))
    return (*batch, out, *places)


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


def embedding(step: Step) -> Axes:
    """Rows of a table, picked by number."""
    table, picked = step["weight"], step["indices"]
    freeze(table[0], "it counts words or places that are looked up")
    step.products.append(Product(step.layer, (fixed(0),), None, table[1]))
    return (*picked, table[1])


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


def bags(step: Step) -> Any:
    """Sums of rows of a table."""
    whole = embedding(step)
    rest = [tuple(fixed(int(size)) for size in out.shape) for out in step.out[1:]]
    return [(fixed(step.out[0].shape[0]), whole[-1]), *rest]


def along(step: Step) -> Any:
    """Sorted, reversed, rotated or added up along some dimensions, whose places then are not the same any more."""
    dims = step["dim"] if step["dim"] is not None else step["dims"]
    axes = step.first
    for dim in [dims] if isinstance(dims, int) else dims or range(len(axes)):
        freeze(axes[dim], "its places change their order")
    if not isinstance(step.out, (list, tuple)) and step.shape == tuple(map(size_of, axes)):
        return axes
    return unknown(step)


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


def recurrent(step: Step) -> Any:
    """A stack of recurrent layers: gates of one width, read again at every step and by the layer above."""
    ways = 2 if step["bidirectional"] else 1
    names = tensors(step["params"])
    per = len(names) // (ways * step["num_layers"])
    below = step["input"][-1]
    if per not in (2, 4):
        return unknown(step)
    for layer in range(step["num_layers"]):
        above = []
        for way in range(ways):
            own = names[(layer * ways + way) * per :][:per]
            hidden = own[1][1]
            same(own[0][1], below)
            gates = size_of(own[0][0]) // size_of(hidden)
            for weight in own:
                same(weight[0], product([fixed(gates, "it counts gates"), hidden]))
            mark(hidden, "recurrent")
            same(hidden, names[1][1])  # a stack keeps one number for the width of all its layers
            rows = step["input"][:-1]
            step.products.append(Product(step.layer, (*rows, below, *own[0][:1]), below, hidden))
            step.products.append(Product(step.layer, (*rows, *own[1]), None, None))
            above.append(hidden)
        below = tuple(term for axis in above for term in axis)
    states = [(fixed(int(out.shape[0])), fixed(int(out.shape[1])), fresh(int(out.shape[-1]))) for out in step.out[1:]]
    return [(*step["input"][:-1], below), *states]


def cell(step: Step) -> Any:
    """One step of a recurrent layer: its gates are as wide as its state."""
    states = step["hx"] if isinstance(step["hx"], list) else [step["hx"]]
    hidden, below = step["w_hh"][1], step["input"][-1]
    same(step["w_ih"][1], below)
    gates = size_of(step["w_hh"][0]) // size_of(hidden)
    for own in (step["w_ih"], step["w_hh"], step["b_ih"], step["b_hh"]):
        if own:
            same(own[0], product([fixed(gates, "it counts gates"), hidden]))
    mark(hidden, "recurrent")
    for state in states:
        same(state[-1], hidden)
    rows = step["input"][:-1]
    step.products.append(Product(step.layer, (*rows, *step["w_ih"]), below, hidden))
    step.products.append(Product(step.layer, (*rows, *step["w_hh"]), hidden))
    result = (*rows, hidden)
    return [result for _ in step.out] if isinstance(step.out, (list, tuple)) else result


def shuffled(step: Step) -> Axes:
    """Channels that become places of an image (`pixel_shuffle`)."""
    axes = step.first
    outs = fresh(step.shape[-3])
    same(axes[-3], product([outs, fixed(size_of(axes[-3]) // step.shape[-3], "it counts places of an image")]))
    return (*axes[:-3], outs, *step.spatial(len(axes) - 2))


def _all(rule: Callable[[Step], Any], names: str) -> dict[str, Callable[[Step], Any]]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Callable[[Step], Any]] = {
    **_all(
        unchanged,
        "clone contiguous to _to_copy alias detach dropout feature_dropout alpha_dropout softmax _softmax log_softmax "
        "_log_softmax safe_softmax _safe_softmax lift_fresh lift_fresh_copy type_as tril triu zeros_like ones_like "
        "full_like empty_like rand_like randn_like instance_norm zero bernoulli",
    ),
    **_all(
        created,
        "zeros ones full empty arange rand randn scalar_tensor new_zeros new_ones new_full new_empty linspace eye "
        "one_hot",
    ),
    **_all(pointwise, "where"),
    **_all(linear, "linear"),
    **_all(matmul, "mm bmm matmul addmm baddbmm mv dot"),
    **_all(grouped, "_grouped_mm grouped_mm_fallback"),
    **_all(attention, "scaled_dot_product_attention"),
    **_all(convolution, "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_all(per_channel, "batch_norm"),
    **_all(slopes, "prelu"),
    **_all(per_group, "group_norm"),
    **_all(over_last, "layer_norm rms_norm native_layer_norm"),
    **_all(embedding, "embedding"),
    **_all(
        pooled,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices upsample_nearest1d "
        "upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d "
        "upsample_trilinear3d _upsample_bilinear2d_aa",
    ),
    **_all(
        reduced,
        "mean sum amax amin max min var std prod argmax argmin any all logsumexp norm linalg_vector_norm var_mean "
        "std_mean",
    ),
    **_all(reshaped, "view reshape _unsafe_view flatten unflatten view_as reshape_as"),
    **_all(permuted, "permute transpose t numpy_T swapaxes swapdims mT adjoint"),
    **_all(concatenated, "cat concat concatenate"),
    **_all(stacked, "stack"),
    **_all(split, "split split_with_sizes chunk tensor_split unsafe_chunk unsafe_split"),
    **_all(picked, "unbind select"),
    **_all(sliced, "slice narrow"),
    **_all(expanded, "expand expand_as broadcast_to"),
    **_all(tiled, "repeat tile"),
    **_all(interleaved, "repeat_interleave"),
    **_all(unsqueezed, "unsqueeze"),
    **_all(squeezed, "squeeze"),
    **_all(padded, "pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"),
    **_all(looked_up, "index"),
    **_all(selected, "index_select"),
    **_all(gathered, "gather"),
    **_all(scattered, "index_add index_copy scatter_add scatter_reduce scatter"),
    **_all(bags, "embedding_bag"),
    **_all(along, "flip roll cumsum cumprod sort topk"),
    **_all(einsum, "einsum"),
    **_all(recurrent, "lstm gru rnn_tanh rnn_relu"),
    **_all(cell, "lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"),
    **_all(shuffled, "pixel_shuffle"),
}
"""By the name of the aten operator, without the underscore of one that works in place."""

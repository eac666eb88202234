"""Views, which are free, and movement, which is not.

- view, permute, expand and the like give another view of the same tensor;
- slice, split, unbind and select give tensors of their own by a transfer of 0 elements: a reader of a part
  must not be charged for the whole, and the copy takes no time;
- contiguous, clone and reshape cost a transfer where PyTorch would really copy;
- cat, stack, repeat, roll, flip and padding are transfers; embedding, gather, top-k and scatter are index
  ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zerocast.workloads.ir import Index, Transfer, Vector
from zerocast.workloads.lowering.builder import Call, elements
from zerocast.workloads.lowering.values import Value, expand, permute, reshape, stop

_COPY = torch.ops.aten.copy.default
_OVERWRITES = tuple(
    getattr(torch.ops.aten, name).default for name in ("slice_scatter", "select_scatter", "diagonal_scatter")
)


def same(call: Call) -> Value:
    """alias, identity and casts between floating types (all are the workload's one type)."""
    return call.values[0]


def detach(call: Call) -> Value:
    """The same tensor, through which no gradient goes back."""
    return stop(call.values[0])


def convert(call: Call) -> Value:
    """A cast: free between floating types, else a vector op."""
    value = call.values[0]
    target = call.build.dtype_of(call.out.dtype)
    if call.build.tensors[value.tensor].dtype == target:
        return value
    name = call.name()
    out = call.result(name)
    call.build.ops.append(
        Vector(name, call.layer, "FF", (value.tensor,), (out.tensor,), "convert", value.elements, 1.0, True)
    )
    return out


def shape_of(call: Call) -> tuple[int, ...]:
    """Shape of the node's result."""
    return tuple(int(size) for size in call.out.shape)


def view(call: Call) -> Value:
    """view, reshape, flatten, squeeze, unsqueeze: a copy only where the strides forbid a view."""
    value = call.values[0]
    source = call.node.args[0].meta["val"]  # type: ignore[union-attr]
    if value.expanded and not _broadcast_only(value, shape_of(call)):
        return copy(call)
    if not value.any_layout and not _viewable(source, shape_of(call)):
        return copy(call)
    return reshape(value, shape_of(call))


def _broadcast_only(value: Value, shape: tuple[int, ...]) -> bool:
    """True where only dimensions of 1 come or go, so that an expanded view stays one."""
    return [size for size in value.shape if size != 1] == [size for size in shape if size != 1]


def _viewable(source: torch.Tensor, shape: tuple[int, ...]) -> bool:
    probe = torch.empty_strided(source.shape, source.stride(), device="meta")
    try:
        probe.view(shape)
    except RuntimeError:
        return False
    return True


def copy(call: Call) -> Value:
    """A real copy into a new layout."""
    return transfer(call, "copy", call.values[:1], elements(call.out))


def contiguous(call: Call) -> Value:
    """Free where the tensor already lies in order, or a fused kernel wrote it."""
    value = call.values[0]
    source = call.node.args[0].meta["val"]  # type: ignore[union-attr]
    return value if value.any_layout or source.is_contiguous() else copy(call)


def transfer(call: Call, function: str, inputs: Sequence[Value], count: int) -> Any:
    """Emit one transfer of `count` elements; all results of the node."""
    name = call.name()
    outs = list(call.out) if isinstance(call.out, (list, tuple)) else [call.out]
    results = [
        call.build.add(f"{name}.out" if len(outs) == 1 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(outs)
    ]
    names = tuple(value.tensor for value in inputs), tuple(value.tensor for value in results)
    call.build.ops.append(Transfer(name, call.layer, "FF", *names, function, count))
    return results if isinstance(call.out, (list, tuple)) else results[0]


def dims(call: Call) -> Value:
    """transpose, t, permute: the same tensor read in another order."""
    value = call.values[0]
    rank = len(value.shape)
    order = list(range(rank))
    if call.operator == "permute":
        order = list(call["dims"])
    elif rank > 1:
        first, second = (0, 1) if call.operator in ("t", "numpy_T") else (call["dim0"], call["dim1"])
        order[first], order[second] = order[second], order[first]
    return permute(value, order)


def reorder(call: Call) -> Value:
    """movedim, moveaxis, swapdims: the order is read off a probe whose strides name its dimensions."""
    value = call.values[0]
    rank = len(value.shape)
    probe = torch.empty_strided([2] * rank, [10**axis for axis in range(rank)], device="meta")
    moved = call.node.target(probe, *call.node.args[1:], **call.node.kwargs)  # type: ignore[operator]
    return permute(value, [[10**axis for axis in range(rank)].index(stride) for stride in moved.stride()])


def broadcast(call: Call) -> Value:
    """expand, expand_as, broadcast_to."""
    return expand(call.values[0], shape_of(call))


def part(call: Call) -> Value:
    """slice, select, narrow: the whole is the same tensor, a part is a tensor of its own."""
    value = call.values[0]
    if all(user.target is _COPY and user.args[0] is call.node for user in call.node.users):
        return Value(value.tensor, shape_of(call), None)  # nobody reads it
    if elements(call.out) == value.elements:
        return reshape(value, shape_of(call)) if shape_of(call) != value.shape else value
    return transfer(call, "slice", [value], 0)


def split(call: Call) -> list[Value]:
    """split, chunk, unbind."""
    if len(call.out) == 1:
        return [reshape(call.values[0], tuple(call.out[0].shape))]
    return transfer(call, "split", [call.values[0]], 0)


def cat(call: Call) -> Value:
    """cat, stack: every element is written once. Empty pieces are left out."""
    values = [value for value in call.values if value.elements]
    return transfer(call, "cat", values, elements(call.out))


def move(call: Call) -> Value:
    """repeat, roll, flip, pad: every element of the result is written once."""
    return transfer(call, call.operator, call.values[:1], elements(call.out))


def copy_over(call: Call) -> Value:
    """copy: a tensor overwritten whole by another. Where the result goes into a part of a tensor (`overwrite`), that
    moves the data, and this only says what they are."""
    value = expand(call["src"], shape_of(call))
    if all(user.target in _OVERWRITES for user in call.node.users) and _same_type(call, value):
        return value
    return transfer(call, "copy", [call["src"]], elements(call.out))


def _same_type(call: Call, value: Value) -> bool:
    return call.build.tensors[value.tensor].dtype == call.build.dtype_of(call.out.dtype)


def overwrite(call: Call) -> Value:
    """slice_scatter, select_scatter: a tensor with a part replaced, written anew."""
    return transfer(call, "cat", call.values[:2], elements(call.out))


def index(call: Call, function: str, inputs: Sequence[Value], count: int, group: int = 1) -> Any:
    """Emit one index op; all results of the node."""
    name = call.name()
    outs = list(call.out) if isinstance(call.out, (list, tuple)) else [call.out]
    results = [
        call.build.add(f"{name}.out" if at == 0 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(outs)
    ]
    names = tuple(value.tensor for value in inputs), tuple(value.tensor for value in results)
    call.build.ops.append(Index(name, call.layer, "FF", *names, function, count, group))
    return results if isinstance(call.out, (list, tuple)) else results[0]


def gather(call: Call) -> Any:
    """embedding, gather, index, index_select: one move for each element of the result."""
    return index(call, "gather", call.values, elements(call.out))


def scatter(call: Call) -> Any:
    """scatter, index_put, index_copy: one move for each element of the source."""
    return index(call, "scatter_add" if "add" in call.operator else "scatter", call.values, call.values[-1].elements)


def select(call: Call) -> Any:
    """topk, sort, argmax: every element takes part, in groups of the dimension's size."""
    x = call.values[0]
    dim = call["dim"]
    group = x.elements if dim is None or not x.shape else x.shape[dim]
    return index(call, "top_k" if call.operator == "topk" else call.operator, [x], x.elements, group)


RULES: dict[str, Any] = {
    **dict.fromkeys(("alias", "lift_fresh_copy", "lift_fresh", "feature_dropout"), same),
    **dict.fromkeys(("to", "type_as", "_to_copy", "float", "half"), convert),
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "_unsafe_view",
    "view_as", "reshape_as"),
                    view),
    "detach": detach, "copy": copy_over, "clone": copy, "contiguous": contiguous,
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T", "swapaxes"), dims),
    **dict.fromkeys(("movedim", "moveaxis", "swapdims"), reorder),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), broadcast),
    **dict.fromkeys(("slice", "select", "narrow", "diagonal"), part),
    **dict.fromkeys(("split", "chunk", "unbind", "split_with_sizes", "tensor_split"), split),
    **dict.fromkeys(("cat", "stack", "concat"), cat),
    **dict.fromkeys(("repeat", "roll", "flip", "pad", "constant_pad_nd", "repeat_interleave", "pixel_shuffle",
                     "im2col", "unfold", "col2im", "tile", "pixel_unshuffle", "channel_shuffle", "rot90",
                     "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
                     "replication_pad2d", "replication_pad3d"), move),
    **dict.fromkeys(("slice_scatter", "select_scatter", "diagonal_scatter"), overwrite),
    **dict.fromkeys(("embedding", "gather", "index", "index_select", "take_along_dim"), gather),
    **dict.fromkeys(("scatter", "index_put", "index_copy", "scatter_add", "index_add"), scatter),
    **dict.fromkeys(("topk", "sort", "argmax", "argmin", "argsort"), select),
}  # fmt: skip

"""Movement, which is not free (views are: `workloads.lowering.operators.views`).

- contiguous and clone cost a transfer where PyTorch would really copy;
- cat, stack, repeat, roll, flip and padding are transfers; embedding, gather, top-k and scatter are index
  ops. A cache that grows and a tensor that is written in part stay where they are (`lowering.in_place`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from zerocast.workloads.ir import Index, Transfer, Vector
from zerocast.workloads.lowering.builder import Call, elements
from zerocast.workloads.lowering.in_place import grown, is_put_into_slices, overwrites
from zerocast.workloads.lowering.values import Value, expand


def convert(call: Call) -> Value:
    """A cast: free between floating types, else a vector op; a copy where it asks for another order in memory."""
    value = call.values[0]
    target = call.build.dtype_of(call.out.dtype)
    if call.build.tensors[value.tensor].dtype == target:
        return value if call["memory_format"] is None or lies_in_order(call) else copy(call)
    name = call.name()
    out = call.result(name)
    call.build.ops.append(
        Vector(name, call.layer, "FF", (value.tensor,), (out.tensor,), "convert", value.elements, 1.0, True)
    )
    return out


def shape_of(call: Call) -> tuple[int, ...]:
    """Shape of the node's result."""
    return tuple(int(size) for size in call.out.shape)


def copy(call: Call) -> Value:
    """A real copy into a new layout."""
    return transfer(call, "copy", call.values[:1], elements(call.out))


def contiguous(call: Call) -> Value:
    """Free where the tensor already lies in order, or a fused kernel wrote it."""
    return call.values[0] if lies_in_order(call) else copy(call)


def lies_in_order(call: Call) -> bool:
    """True where the tensor lies in the order that the call asks for, such as channels_last: as it is, or because a
    fused kernel writes it in whatever order its reader wants."""
    wanted = call["memory_format"]
    if call.values[0].any_layout or wanted == torch.preserve_format:
        return True
    source = call.node.args[0].meta["val"]  # type: ignore[union-attr]
    return bool(source.is_contiguous(memory_format=wanted or torch.contiguous_format))


def transfer(call: Call, function: str, inputs: Sequence[Value], count: int, in_place: bool = False) -> Any:
    """Emit one transfer of `count` elements; all results of the node. in_place: into the first input."""
    name = call.name()
    outs = list(call.out) if isinstance(call.out, (list, tuple)) else [call.out]
    results = [
        call.build.add(f"{name}.out" if len(outs) == 1 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(outs)
    ]
    names = tuple(value.tensor for value in inputs), tuple(value.tensor for value in results)
    call.build.ops.append(Transfer(name, call.layer, "FF", *names, function, count, in_place))
    _stays(call, inputs, results, in_place)
    return results if isinstance(call.out, (list, tuple)) else results[0]


def _stays(call: Call, inputs: Sequence[Value], results: Sequence[Value], in_place: bool) -> None:
    """What is written into a tensor that stays is that tensor."""
    if in_place and inputs[0].tensor in call.build.held:
        call.build.held.update(result.tensor for result in results)


def cat(call: Call) -> Value:
    """cat, stack: every element is written once. Empty pieces are left out. A cache that grows is not written anew."""
    values = [value for value in call.values if value.elements]
    kept = grown(call) if call.operator in ("cat", "concat") else None
    if kept is None:
        return transfer(call, "cat", values, elements(call.out))
    if len(values) == 1:
        return kept
    added = [value for value in values if value is not kept]
    return transfer(call, "cat", [kept, *added], sum(value.elements for value in added), in_place=True)


def move(call: Call) -> Value:
    """repeat, roll, flip, pad: every element of the result is written once."""
    return transfer(call, call.operator, call.values[:1], elements(call.out))


def copy_over(call: Call) -> Value:
    """copy: a tensor overwritten whole by another. Where the result goes into a part of a tensor (`overwrite`), that
    moves the data, and this only says what they are."""
    value = expand(call["src"], shape_of(call))
    if is_put_into_slices(call.node) and _same_type(call, value):
        return value
    return transfer(call, "copy", [call["src"]], elements(call.out))


def _same_type(call: Call, value: Value) -> bool:
    return call.build.tensors[value.tensor].dtype == call.build.dtype_of(call.out.dtype)


def overwrite(call: Call) -> Value:
    """slice_scatter, select_scatter: a tensor with a part replaced; written anew where the old one is still read."""
    in_place = overwrites(call)
    count = call.values[1].elements if in_place else elements(call.out)
    return transfer(call, "cat", call.values[:2], count, in_place)


def index(
    call: Call, function: str, inputs: Sequence[Value], count: int, group: int = 1, in_place: bool = False
) -> Any:
    """Emit one index op; all results of the node. in_place: into the first input."""
    name = call.name()
    outs = list(call.out) if isinstance(call.out, (list, tuple)) else [call.out]
    results = [
        call.build.add(f"{name}.out" if at == 0 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(outs)
    ]
    names = tuple(value.tensor for value in inputs), tuple(value.tensor for value in results)
    call.build.ops.append(Index(name, call.layer, "FF", *names, function, count, group, in_place))
    _stays(call, inputs, results, in_place)
    return results if isinstance(call.out, (list, tuple)) else results[0]


def gather(call: Call) -> Any:
    """embedding, gather, index, index_select: one move for each element of the result."""
    return index(call, "gather", call.values, elements(call.out))


def bags(call: Call) -> list[Value]:
    """embedding_bag: a row of the table for each index, summed bag by bag as they come in; of its results the sums."""
    name = call.name()
    out = call.build.add(f"{name}.out", call.out[0], call.role(call.out[0]))
    count = call["indices"].elements * call["weight"].shape[-1]
    inputs, outputs = tuple(value.tensor for value in call.values), (out.tensor,)
    call.build.ops.append(Index(name, call.layer, "FF", inputs, outputs, "gather", count))
    return [out]


def scatter(call: Call) -> Any:
    """scatter, index_put, index_copy: one move for each element of the source."""
    function = _SCATTERS.get(call.operator, "scatter")
    return index(call, function, call.values, call.values[-1].elements, in_place=overwrites(call))


def select(call: Call) -> Any:
    """topk, sort, argmax: every element takes part, in groups of the dimension's size."""
    x = call.values[0]
    dim = call["dim"]
    group = x.elements if dim is None or not x.shape else x.shape[dim]
    return index(call, "top_k" if call.operator == "topk" else call.operator, [x], x.elements, group)


_SCATTERS = dict.fromkeys(("scatter_add", "index_add", "scatter_reduce"), "scatter_add")
"""Those that read what they write to."""

RULES: dict[str, Any] = {
    **dict.fromkeys(("to", "type_as", "_to_copy", "float", "half"), convert),
    **dict.fromkeys(("clone", "permute_copy", "view_copy"), copy), "contiguous": contiguous, "copy": copy_over,
    **dict.fromkeys(("cat", "stack", "concat"), cat),
    **dict.fromkeys(("repeat", "roll", "flip", "pad", "constant_pad_nd", "repeat_interleave", "pixel_shuffle",
                     "im2col", "col2im", "tile", "pixel_unshuffle", "channel_shuffle", "rot90",
                     "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
                     "replication_pad2d", "replication_pad3d"), move),
    **dict.fromkeys(("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter"), overwrite),
    **dict.fromkeys(("embedding", "gather", "index", "index_select", "take_along_dim"), gather),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), bags),
    **dict.fromkeys(("scatter", "index_put", "index_copy", "scatter_add", "index_add", "scatter_reduce",
                     "masked_scatter"), scatter),
    **dict.fromkeys(("topk", "sort", "argmax", "argmin", "argsort"), select),
}  # fmt: skip

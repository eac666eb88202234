"""Views, which are free.

- view, permute, expand, unfold and the like give another view of the same tensor;
- slice, split, unbind and select give tensors of their own by a transfer of 0 elements: a reader of a part
  must not be charged for the whole, and the copy takes no time;
- reshape costs a transfer where PyTorch would really copy.
"""

from __future__ import annotations

from typing import Any

import torch

from zerocast.workloads.lowering.builder import Call, NoRule, elements
from zerocast.workloads.lowering.operators.movement import copy, shape_of, transfer
from zerocast.workloads.lowering.values import Value, expand, permute, reshape, stop, windows

_COPY = torch.ops.aten.copy.default


def detach(call: Call) -> Value:
    """The same tensor, through which no gradient goes back."""
    return stop(call.values[0])


def same(call: Call) -> Value:
    """alias, identity, what is one on real numbers (conjugates, real parts), and the parts of complex ones."""
    return call.values[0] if _source(call).dtype == call.out.dtype else reinterpreted(call)


def view(call: Call) -> Value:
    """view, reshape, flatten, squeeze, unsqueeze: a copy only where the strides forbid a view."""
    value = call.values[0]
    source = _source(call)
    if source.dtype != call.out.dtype:
        return reinterpreted(call)
    if value.expanded and not _broadcast_only(value, shape_of(call)):
        return copy(call)
    if not value.any_layout and not _viewable(source, shape_of(call)):
        return copy(call)
    return reshape(value, shape_of(call))


def _source(call: Call) -> torch.Tensor:
    return call.node.args[0].meta["val"]  # type: ignore[union-attr, no-any-return]


def reinterpreted(call: Call) -> Value:
    """The same bits read as another type: a tensor of its own, since a reader sees other elements."""
    return transfer(call, "reinterpret", call.values[:1], 0)  # type: ignore[no-any-return]


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


def reorder(call: Call) -> Value:
    """transpose, permute, movedim and their kin: the same tensor read in another order, which is read off a probe
    whose strides name its dimensions."""
    value = call.values[0]
    names = [10**axis for axis in range(len(value.shape))]
    probe = torch.empty_strided([2] * len(names), names, device="meta")
    moved = call.node.target(probe, *call.node.args[1:], **call.node.kwargs)  # type: ignore[operator]
    return permute(value, [names.index(stride) for stride in moved.stride()])


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
    return transfer(call, "slice", [value], 0)  # type: ignore[no-any-return]


def copied_part(call: Call) -> Value:
    """narrow_copy: a part, written anew."""
    return transfer(call, "copy", [transfer(call, "slice", call.values[:1], 0)], elements(call.out))  # type: ignore


def unfold(call: Call) -> Value:
    """Windows along a dimension: all of the tensor, or a part of it where they leave gaps."""
    value, size, step = call.values[0], int(call["size"]), int(call["step"])
    if elements(call.out) < value.elements:
        return transfer(call, "slice", [value], 0)  # type: ignore[no-any-return]
    axis = int(call["dimension"]) % max(len(value.shape), 1)
    return windows(value, axis, size, step, shape_of(call))


def strided(call: Call) -> Value:
    """as_strided of a tensor that lies in order: a part of it, or all of it in another order."""
    value, source = call.values[0], _source(call)
    if not (value.is_whole and source.is_contiguous()):
        raise NoRule(call.node, call.layer, "reads what lies behind a view", "call contiguous() on its input first")
    if _overlaps(call.out):
        raise NoRule(call.node, call.layer, "reads elements more than once", "write it with unfold or expand")
    return transfer(call, "slice", [value], 0)  # type: ignore[no-any-return]


def _overlaps(tensor: torch.Tensor) -> bool:
    """True where two places of a strided tensor may be one in memory."""
    steps = sorted((by, size) for size, by in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    reach = [by * size for by, size in steps]
    return any(by == 0 for by, _ in steps) or any(end > by for end, (by, _) in zip(reach, steps[1:], strict=False))


def split(call: Call) -> list[Value]:
    """split, chunk, unbind."""
    if len(call.out) == 1:
        return [reshape(call.values[0], tuple(call.out[0].shape))]
    return transfer(call, "split", [call.values[0]], 0)  # type: ignore[no-any-return]


RULES: dict[str, Any] = {
    "detach": detach,
    **dict.fromkeys(("alias", "lift_fresh_copy", "lift_fresh", "feature_dropout", "positive", "real", "imag",
                     "conj", "_conj", "resolve_conj", "resolve_neg"), same),
    **dict.fromkeys(("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "_unsafe_view", "view_as",
                     "reshape_as", "ravel"), view),
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T", "swapaxes", "swapdims", "movedim", "moveaxis", "mT", "mH",
                     "matrix_H", "adjoint"), reorder),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to"), broadcast),
    **dict.fromkeys(("slice", "select", "narrow", "diagonal", "linalg_diagonal"), part),
    **dict.fromkeys(("view_as_complex", "view_as_real"), reinterpreted),
    "narrow_copy": copied_part, "unfold": unfold, "as_strided": strided,
    **dict.fromkeys(("split", "chunk", "unbind", "split_with_sizes", "tensor_split", "hsplit", "vsplit", "dsplit",
                     "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes"), split),
}  # fmt: skip

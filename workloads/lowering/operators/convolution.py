"""Convolutions of one, two and three dimensions, grouped, dilated and transposed, as einsums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zerocast.workloads.ir import Affine
from zerocast.workloads.lowering.builder import Call
from zerocast.workloads.lowering.operators.contractions import contract, plain
from zerocast.workloads.lowering.values import Value

_POSITIONS = ("p", "q", "o")
_KERNEL = ("r", "s", "t")


def convolution(call: Call) -> Value:
    """conv1d, conv2d, conv3d: W[g*K+k, c, r, s]."""
    weight = call["weight"]
    return _convolve(call, weight, transposed=False)


def transposed(call: Call) -> Value:
    """conv_transpose1d, 2d, 3d: W[g*C+c, k, r, s], and each input position writes a kernel's worth of
    outputs."""
    return _convolve(call, call["weight"], transposed=True)


def general(call: Call) -> Value:
    """aten.convolution, which carries a flag for the transposed kind."""
    return _convolve(call, call["weight"], bool(call["transposed"]))


def _convolve(call: Call, weight: Value, transposed: bool) -> Value:
    x = call["input"]
    groups = int(call["groups"] or 1)
    spatial = len(weight.shape) - 2
    batched = len(x.shape) == spatial + 2
    positions, kernel = _POSITIONS[:spatial], _KERNEL[:spatial]
    inner = x if transposed else call.out
    per_group = (weight.shape[0] // groups, weight.shape[1])
    c, k = per_group if transposed else (per_group[1], per_group[0])
    sizes = {"n": x.shape[0]} if batched else {}
    if groups > 1:
        sizes["g"] = groups
    sizes |= {"k": k, "c": c}
    sizes |= dict(zip(positions, (int(size) for size in inner.shape[-spatial:]), strict=True))
    sizes |= dict(zip(kernel, weight.shape[2:], strict=True))
    window = _window(call, positions, kernel)
    lead = plain("n") if batched else []
    narrow = [*lead, _channel("c" if transposed else "k", c if transposed else k, groups), *plain(*positions)]
    wide = [*lead, _channel("k" if transposed else "c", k if transposed else c, groups), *window]
    first, second = ("c", "k") if transposed else ("k", "c")
    filters = [_channel(first, sizes[first], groups), *plain(second, *kernel)]
    a, out = (narrow, wide) if transposed else (wide, narrow)
    return contract(call, sizes, (x, a), (weight, filters), out, call["bias"])


def _window(call: Call, positions: Sequence[str], kernel: Sequence[str]) -> list[Affine]:
    strides = _each(call["stride"], len(positions))
    dilations = _each(call["dilation"], len(positions))
    return [
        ((position, stride), (tap, dilation))
        for position, tap, stride, dilation in zip(positions, kernel, strides, dilations, strict=True)
    ]


def _each(setting: Any, count: int) -> list[int]:
    """One number per spatial dimension; a single one holds for all."""
    numbers = [1] if setting is None else [setting] if isinstance(setting, int) else list(setting)
    return numbers * count if len(numbers) == 1 else numbers


def _channel(rank: str, per_group: int, groups: int) -> Affine:
    return (("g", per_group), (rank, 1)) if groups > 1 else ((rank, 1),)


RULES: dict[str, Any] = {
    **{f"conv{d}d": convolution for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": transposed for d in (1, 2, 3)},
    "convolution": general,
}

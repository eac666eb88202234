"""Weights kept narrower than they are multiplied: products read them at their stored width.

A network keeps int8 numbers, or two int4 in each uint8, with a scale, and makes floating weights of them before a
product. A kernel that serves it reads the stored numbers and scales them on their way into the product.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from zerocast.workloads.ir import Tensor
from zerocast.workloads.lowering.builder import Builder, Kept
from zerocast.workloads.lowering.folding import sweep
from zerocast.workloads.lowering.values import Value

_INTEGERS = {2: "int2", 4: "int4", 8: "int8", 16: "int16"}
_FLOATS = {4: "fp4", 8: "fp8"}
_HELD = frozenset(("int64", "int32", "int16", "int8", "uint8", "fp8", "fp4"))
"""Types that storage comes in; several weights may be packed into one of its elements."""


def as_stored(build: Builder, value: Value) -> Value:
    """The operand of a product as it lies in memory; the operand itself where it is not made of narrower numbers.

    The stored tensor counts as a weight, with one element for each weight, under its owner's name.
    """
    made, origin = build.tensors[value.tensor], build.origin(value.tensor)
    if origin is None or made.role == "input" or set(origin.sources) & build.trained:
        return value
    for name, kept in build.stored.items():
        if kept.digest == origin.digest:
            kept.replaced.append(made.name)
            return replace(value, tensor=name)
    flows = [_holder(build, part) for part in origin.flows if part in build.tensors]
    holder = max((each for each in flows if each.dtype in _HELD), key=lambda each: each.bytes, default=None)
    # beside full floating numbers (a mask of int8 times a weight, a correction), the narrow ones are not the weights
    if holder is None or any(each.dtype not in _HELD and each.elements >= made.elements for each in flows):
        return value
    packed = holder.elements <= made.elements  # else it is one part of what is stored together
    width, kind = _width(holder, made.elements if packed else holder.elements)
    if width >= made.bits and made.name != holder.name and made.dtype not in _HELD:
        return value
    name = holder.name if packed and holder.name not in build.stored else build.unique(f"{holder.name}.part")
    scales = sum(build.tensors[part].bytes for part in origin.sources if part in build.tensors and part != holder.name)
    build.stored[name] = Kept(holder, origin.digest, [made.name])
    build.computed[name] = build.computed[made.name]
    build.tensors[name] = Tensor(name, made.shape, kind, "weight", scale_bits=8 * scales / made.elements)
    return replace(value, tensor=name)


def _holder(build: Builder, part: str) -> Tensor:
    """A parameter or buffer as its owner keeps it."""
    return build.stored[part].holder if part in build.stored else build.tensors[part]


def _width(holder: Tensor, weights: int) -> tuple[int, str]:
    """Bits of one of so many weights in their storage, and the type that is as wide."""
    types = _FLOATS if holder.dtype.startswith("fp") else _INTEGERS
    share = holder.elements * holder.bits / weights
    return next(((width, kind) for width, kind in types.items() if share <= width), (holder.bits, holder.dtype))


def settle(build: Builder, returned: Iterable[str]) -> None:
    """Drop the ops that made weights of stored ones, where nothing else reads those, and storage that is read only in
    parts, which count on their own."""
    sweep(build, [name for kept in build.stored.values() for name in kept.replaced], set(returned))
    touched = {name for op in build.ops for name in (*op.inputs, *op.outputs)}
    for holder in {kept.holder.name for kept in build.stored.values()} - set(build.stored):
        if holder not in touched:
            build.tensors.pop(holder, None)

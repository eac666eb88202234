"""Weights that a file keeps in several tensors: values under a mask, nonzeros beside the bits that place them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
Reader = Callable[[str], "torch.Tensor"]

_MASKED = (("_orig", "_mask"), ("", "_mask"), ("weight", "mask"))
"""What ends the names of values and of the mask over them: live pruning of torch, a mask kept beside."""

_PACKED = {
    ".qweight": "packed by GPTQ or AWQ",
    ".weight_packed": "packed by compressed-tensors",
    "._packed_params._packed_params": "packed by torch for a CPU kernel",
    ".SCB": "quantised by bitsandbytes",
}
"""Ends of names that tell of weights whose zeros do not show, and what they are."""


def assembled(shapes: Shapes, read: Reader) -> dict[str, tuple[tuple[int, ...], Callable[[], torch.Tensor]]]:
    """Shape and reader of each weight that several tensors of a file make up, by the name that a model has for it."""
    found: dict[str, tuple[tuple[int, ...], Callable[[], torch.Tensor]]] = {}
    for values, mask in _MASKED:
        for name, shape in shapes.items():
            twin = f"{name.removesuffix(values)}{mask}"
            if name.endswith(values) and shapes.get(twin) == shape:
                whole = name.removesuffix("_orig")
                found.setdefault(whole, (shape, partial(_masked, read, name, twin)))
    for name, shape in shapes.items():
        front = name.removesuffix(".compressed")
        if front != name and (bits := shapes.get(f"{front}.bitmask")) and len(shape) == len(bits) == 2:
            whole = front if front.endswith(".weight") else f"{front}.weight"
            found[whole] = ((bits[0], 8 * bits[1]), partial(_placed, read, name, f"{front}.bitmask"))
    return found


def _masked(read: Reader, values: str, mask: str) -> torch.Tensor:
    held = read(values)
    return held * read(mask).to(held.dtype)


def _placed(read: Reader, values: str, bitmask: str) -> torch.Tensor:
    """Nonzeros in order of rows, each where a bit is set (the lowest bit of a byte first)."""
    import torch

    held, packed = read(values), read(bitmask)
    bits = (packed.unsqueeze(-1) >> torch.arange(8, dtype=packed.dtype)) & 1
    places = bits.flatten(1).bool()
    wide = held.float() if held.itemsize == 1 else held  # fp8 can be cast and little else
    return torch.zeros(places.shape, dtype=wide.dtype).masked_scatter_(places, wide)


def packed(shapes: Shapes) -> str:
    """What a file says of weights that it keeps packed; "" where it has none."""
    ends = ((name, what) for name in shapes for end, what in _PACKED.items() if name.endswith(end))
    return next((f"{name!r} is {what}, and its zeros do not show" for name, what in ends), "")

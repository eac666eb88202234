"""Weights that a file keeps in several tensors: values under a mask, nonzeros beside the bits that place them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
Reader = Callable[[str], "torch.Tensor"]

_MASKED = (
    ("_orig", "_mask", ""), ("", "_mask", ""), ("weight", "mask", "weight"),
    ("parametrizations.weight.original", "parametrizations.weight.0.mask", "weight"),
)  # fmt: skip
"""What ends the names of values, of the mask over them, and of the weight that both make: live pruning of torch, a mask
kept beside, a parametrization."""
_NORMED = (("weight_v", "weight_g"), ("parametrizations.weight.original1", "parametrizations.weight.original0"))
"""What ends the names of directions and lengths (weight norms of torch)."""

_ADAPTER = ".lora_A."

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
    for values, mask, end in _MASKED:
        for name, shape in shapes.items():
            front = name.removesuffix(values)
            if name.endswith(values) and shapes.get(f"{front}{mask}") == shape:
                found.setdefault(f"{front}{end}", (shape, partial(_masked, read, name, f"{front}{mask}")))
    for direction, length in _NORMED:
        for name, shape in shapes.items():
            front = name.removesuffix(direction)
            if name.endswith(direction) and len(shapes.get(f"{front}{length}", ())) == len(shape):
                found[f"{front}weight"] = (shape, partial(_normed, read, name, f"{front}{length}"))
    for name, shape in shapes.items():
        front = name.removesuffix(".compressed")
        if front != name and (bits := shapes.get(f"{front}.bitmask")) and len(shape) == len(bits) == 2:
            whole = front if front.endswith(".weight") else f"{front}.weight"
            found[whole] = ((bits[0], 8 * bits[1]), partial(_placed, read, name, f"{front}.bitmask"))
    return found


def _masked(read: Reader, values: str, mask: str) -> torch.Tensor:
    held = read(values)
    return held * read(mask).to(held.dtype)


def _normed(read: Reader, direction: str, length: str) -> torch.Tensor:
    """Directions brought to their lengths, which are 1 long where they are shared."""
    held, lengths = read(direction), read(length)
    shared = [axis for axis, size in enumerate(lengths.shape) if size == 1]
    return held * (lengths / held.norm(dim=shared, keepdim=True).clamp_min(1e-12))


def _placed(read: Reader, values: str, bitmask: str) -> torch.Tensor:
    """Nonzeros in order of rows, each where a bit is set (the lowest bit of a byte first)."""
    import torch

    held, packed = read(values), read(bitmask)
    bits = (packed.unsqueeze(-1) >> torch.arange(8, dtype=packed.dtype)) & 1
    places = bits.flatten(1).bool()
    wide = held.float() if held.itemsize == 1 else held  # fp8 can be cast and little else
    return torch.zeros(places.shape, dtype=wide.dtype).masked_scatter_(places, wide)


def adapter(shapes: Shapes) -> str:
    """A tensor of an adapter that lies beside weights; "" where there is none."""
    return next((name for name in shapes if _ADAPTER in name), "")


def packed(shapes: Shapes) -> str:
    """What a file says of weights that it keeps packed; "" where it has none."""
    ends = ((name, what) for name in shapes for end, what in _PACKED.items() if name.endswith(end))
    return next((f"{name!r} is {what}, and its zeros do not show" for name, what in ends), "")

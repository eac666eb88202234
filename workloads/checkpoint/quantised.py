"""Weights that a file keeps as packed integers with scales: the layouts of GPTQ, AWQ, compressed-tensors, bitsandbytes.

Layouts as AutoGPTQ, AutoAWQ and compressed-tensors write them: words of 32 bits hold 32 / bits values, the lowest bits
first; a value stands for scale * (value - zero), with a scale (and a zero) for each group of inputs of an output.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zerocast.workloads.ir import BITS

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
Reader = Callable[[str], "torch.Tensor"]
Whole = tuple[tuple[int, ...], Callable[[], "torch.Tensor"], int]
"""Shape and reader of a weight, and the bits that it is stored in."""
WORD = 32
_SCALES = (
    "scales", "qzeros", "weight_scale", "weight_scale_inv", "weight_zero_point", "SCB", "weight.absmax",
    "weight.nested_absmax",
)  # fmt: skip
"""Ends of the names of what is read beside the stored numbers of a layer."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """How a weight is stored: its type, and the bits of scales and zero points for each of its elements."""

    dtype: str
    scale_bits: float


def narrow(shapes: Shapes, types: Mapping[str, str], packed: Mapping[str, int]) -> dict[str, Narrow]:
    """Weights that a file keeps in fewer than 16 bits. types: of the tensors in the file; packed: bits of the weights
    that words of it hold."""
    found: dict[str, Narrow] = {}
    for name in (name for name in shapes if name.endswith("weight")):
        front = name.removesuffix("weight")
        beside = [f"{front}{end}" for end in _SCALES if f"{front}{end}" in types]
        size = sum(BITS.get(types[each], 32) * math.prod(shapes[each]) for each in beside)
        dtype = NF4 if f"{name}{_NF4_STATE}" in shapes else f"int{packed[name]}" if name in packed else types.get(name)
        if dtype in ("fp8", "int4", "int8", NF4):
            found[name] = Narrow(dtype, size / math.prod(shapes[name]))
    return found


NF4, _NF4_STATE = "nf4", ".quant_state.bitsandbytes__nf4"
"""A type of bitsandbytes, and what ends the name of what it says of a weight."""
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Place in an AWQ word of each of eight outputs in a row."""


def unpacked(shapes: Shapes, read: Reader) -> Iterator[tuple[str, Whole]]:
    """The weights that packed tensors of a file make up, by the name that a model has for them."""
    for name, shape in shapes.items():
        front, _, end = name.rpartition(".")
        if end == "qweight" and len(scales := shapes.get(f"{front}.scales", ())) == 2:
            zeros = shapes.get(f"{front}.qzeros", ())
            outputs = scales[1]
            bits = WORD * (zeros or shape)[1] // outputs
            if shape[1] == outputs and zeros and shape[0] * WORD % bits == 0:
                yield f"{front}.weight", ((outputs, shape[0] * WORD // bits), partial(_gptq, read, front, bits), bits)
            elif bits == 4 and shape[1] * WORD == bits * outputs:
                yield f"{front}.weight", ((outputs, shape[0]), partial(_awq, read, front), bits)
        elif name.endswith(f".weight{_NF4_STATE}"):
            state = json.loads(bytes(read(name).tolist()))
            front = name.removesuffix(_NF4_STATE)
            yield front, (tuple(state["shape"]), partial(_quantiles, read, front, tuple(state["shape"])), 4)
        elif end == "weight_packed" and f"{front}.weight_shape" in shapes and len(shape) == 2:
            outputs, inputs = map(int, read(f"{front}.weight_shape").tolist())
            bits = WORD * shape[1] // inputs
            if bits in (4, 8):
                yield f"{front}.weight", ((outputs, inputs), partial(_compressed, read, front, bits, inputs), bits)


def _gptq(read: Reader, front: str, bits: int) -> torch.Tensor:
    """Inputs in words, one over the other; zeros are stored less one; `g_idx` names the group of each input."""
    values = _values(read(f"{front}.qweight").T, bits)  # [outputs, inputs]
    scales, zeros = read(f"{front}.scales").float(), _values(read(f"{front}.qzeros"), bits) + 1
    try:
        groups = read(f"{front}.g_idx").long()
    except KeyError:
        groups = _even_groups(values.shape[1], len(scales))
    return (values - zeros[groups].T) * scales[groups].T


def _awq(read: Reader, front: str) -> torch.Tensor:
    """Outputs in words, in an order of their own."""
    values, zeros = (_in_order(_values(read(f"{front}.{name}"), 4)) for name in ("qweight", "qzeros"))
    scales = read(f"{front}.scales").float()
    groups = _even_groups(len(values), len(scales))
    return ((values - zeros[groups]) * scales[groups]).T


def _compressed(read: Reader, front: str, bits: int, inputs: int) -> torch.Tensor:
    """Inputs in words, values moved up by half of their range."""
    values = _values(read(f"{front}.weight_packed"), bits)[:, :inputs]
    scales = read(f"{front}.weight_scale").float()
    groups = _even_groups(inputs, scales.shape[1])
    try:  # outputs in words, one over the other
        zeros = _values(read(f"{front}.weight_zero_point").T, bits).T[: len(values), groups]
    except KeyError:
        return (values - (1 << (bits - 1))) * scales[:, groups]
    return (values - zeros) * scales[:, groups]


def _quantiles(read: Reader, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Two places of a table in a byte, the higher half first; without the scales, which are no zeros."""
    import torch

    packed, table = read(name).flatten(), read(f"{name}.quant_map").float()
    return table[torch.stack([packed >> 4, packed & 15], -1).flatten().long()][: math.prod(shape)].reshape(shape)


def _values(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Values in the words of each row, one after another."""
    import torch

    places = torch.arange(0, WORD, bits, dtype=torch.int32)
    return ((words.to(torch.int32).unsqueeze(-1) >> places) & ((1 << bits) - 1)).flatten(1)


def _in_order(values: torch.Tensor) -> torch.Tensor:
    return values.unflatten(1, (-1, len(AWQ_ORDER)))[:, :, list(AWQ_ORDER)].flatten(1)


def _even_groups(inputs: int, groups: int) -> torch.Tensor:
    import torch

    return torch.arange(inputs) * groups // inputs

"""Plain layers in the likeness of others: linear ones, transformers' `Conv1D`, convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def matrix_of(module: nn.Module) -> Tensor:
    """The weight as a matrix [outputs, inputs]; those of a convolution are all that one of its windows holds."""
    weight: Any = module.weight
    return weight.detach().t() if _is_turned(module) else weight.detach().flatten(1)


def set_matrix(module: nn.Module, matrix: Tensor) -> None:
    """Give a layer this weight, as `matrix_of` shows it."""
    weight: Any = module.weight
    weight.copy_(matrix.t() if _is_turned(module) else matrix.reshape(weight.shape))


def like(
    module: nn.Module,
    *,
    inputs: int | None = None,
    outputs: int | None = None,
    bias: bool | None = None,
    single: bool = False,
) -> Any:
    """A layer like another with other numbers of inputs and outputs (None: as many), on its device and of its type.

    bias: None for the bias of `module` itself, where it has one and as many outputs. single: without a window.
    """
    weight: Any = module.weight
    own: Any = module.bias
    made = {"device": weight.device, "dtype": weight.dtype, "bias": own is not None if bias is None else bias}
    layer: Any
    if isinstance(module, _ConvNd):
        kind: Any = type(module)
        window = {} if single else {name: getattr(module, name) for name in ("stride", "padding", "dilation")}
        size = 1 if single else module.kernel_size
        layer = kind(inputs or module.in_channels, outputs or module.out_channels, size, **window, **made)
    else:
        have = weight.shape if _is_turned(module) else weight.shape[::-1]
        layer = nn.Linear(inputs or have[0], outputs or have[1], **made)
    if bias is None and own is not None and layer.bias.shape == own.shape:
        layer.bias = own
    layer.weight.requires_grad_(weight.requires_grad)
    return layer


def empty(*shape: int, of: Any) -> nn.Parameter:
    """A parameter of a shape, on the device and of the type of another, trained as that is."""
    return nn.Parameter(torch.empty(shape, device=of.device, dtype=of.dtype), of.requires_grad)


def _is_turned(module: nn.Module) -> bool:
    """Whether its weight lies as [inputs, outputs]."""
    return type(module).__name__ == "Conv1D" and not isinstance(module, nn.Conv1d)

"""Layers of which a part alone is trained."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.surgery import Changed, Scope, replaced
from zerocast.workloads.transforms.weights.layers import matrix_of
from zerocast.workloads.transforms.weights.replacement import OfLinear, must_be_linear


def partial(
    model: nn.Module,
    share: float,
    **scope: Unpack[Scope],
) -> Changed:
    """Of each linear layer the weights of a share of its inputs are trained, the first ones, and nothing else is.

    What an earlier call trains in part stays so (Yang et al., S2FT, 2024, who sort picked heads and channels to the
    front).
    """

    def made(target: Target) -> Partial:
        must_be_linear(target, "a part of a linear layer's inputs is trained")
        return Partial(target, max(round(share * target.extent("c")), 1))

    changed = replaced(model, made, **scope)
    changed.module.requires_grad_(False)
    for module in changed.module.modules():
        if isinstance(module, Partial):
            module.trained.requires_grad_(True)
    return changed


class Partial(OfLinear):
    """The products of the inputs whose weights are trained, and of the others."""

    def __init__(self, target: Target, count: int) -> None:
        super().__init__(target, f"{count} of {target.extent('c')} inputs trained")
        first, rest = matrix_of(target.module).split([count, target.extent("c") - count], 1)
        self.trained, self.frozen = (nn.Parameter(part.clone()) for part in (first, rest))

    def forward(self, x: Tensor) -> Tensor:
        first, rest = x.split([self.trained.shape[1], self.frozen.shape[1]], -1)
        return functional.linear(first, self.trained) + functional.linear(rest, self.frozen, self.bias)

    def matrix(self) -> Tensor:
        return torch.cat([self.trained, self.frozen], 1)

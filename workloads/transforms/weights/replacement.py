"""Modules that stand in place of one layer, and can become one layer again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.surgery import Misfit
from zerocast.workloads.transforms.weights.layers import set_matrix


class Replacement(nn.Module, ABC):
    """A module in place of one layer. words: what it is, for the account."""

    words = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates for each row of its input: each weight is used once."""
        return sum(weight.numel() for weight in self.parameters() if weight.dim() > 1)

    @abstractmethod
    def matrix(self) -> Tensor:
        """The weight [outputs, inputs] of the one layer that computes the same."""

    @abstractmethod
    def blank(self) -> Any:
        """A layer of the kind that it stands for, with its bias and any weight."""

    def merged(self) -> nn.Module:
        """One layer that computes the same."""
        layer = self.blank()
        if not layer.weight.is_meta:
            with torch.no_grad():
                set_matrix(layer, self.matrix())
        return layer


class OfLinear(Replacement):
    """In place of a linear layer, whose bias it keeps."""

    bias: nn.Parameter | None

    def __init__(self, target: Target, words: str) -> None:
        super().__init__()
        self.words = words
        self.inputs, self.outputs = target.extent("c"), target.extent("k")
        self.register_parameter("bias", target.module.bias)  # type: ignore[arg-type]

    def blank(self) -> nn.Linear:
        weight = next(self.parameters())
        layer = nn.Linear(self.inputs, self.outputs, self.bias is not None, weight.device, weight.dtype)
        if self.bias is not None:
            layer.bias = self.bias
        return layer


def must_be_linear(target: Target, why: str) -> None:
    """Raises `Misfit` with a reason for a weight that is not a linear layer's, whichever way it lies."""
    if set(target.ranks) != {"k", "c"}:
        raise Misfit(why)

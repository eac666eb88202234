"""Layers beside layers: more of the same, small ones, and biases."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes.targets import STAYS
from zerocast.workloads.transforms.surgery import Changed, Scope, candidates, change_of, replaced, twin
from zerocast.workloads.transforms.weights.factors import rank_of, width_of
from zerocast.workloads.transforms.weights.layers import like, matrix_of
from zerocast.workloads.transforms.weights.replacement import Replacement


def bypass(
    model: nn.Module,
    rank: float,
    **scope: Unpack[Scope],
) -> Changed:
    """Beside each layer stands one of low rank, zero at first, which is trained too and which recipes leave whole.

    rank: as of `factors.lowrank`.
    """
    return replaced(model, lambda target: Beside(target.module, rank_of(target, rank)), **scope)


def doped(
    model: nn.Module,
    sparsity: float,
    **scope: Unpack[Scope],
) -> Changed:
    """As `bypass`, at the rank whose multiplications are the share `sparsity` of the layer's own: they are as many as
    before once that is so sparse (Sparse-IFT, sparse doped)."""
    return replaced(model, lambda target: Beside(target.module, width_of(target, sparsity)), **scope)


def branches(
    model: nn.Module,
    count: int,
    **scope: Unpack[Scope],
) -> Changed:
    """Each layer becomes the sum of so many like it, each behind a ReLU (Sparse-IFT, sparse parallel)."""
    return replaced(model, lambda target: Branches(target.module, count), **scope)


def bias(
    model: nn.Module,
    **scope: Unpack[Scope],
) -> Changed:
    """Layers without a bias get one, zero at first, for what channels that are gone gave on average (FLAP)."""
    module = twin(model)
    found, left = candidates(module, **scope)
    account = []
    for target in found:
        layer: Any = target.module
        if layer.bias is not None:
            left[target.name] = "has a bias"
            continue
        before = twin(layer)
        layer.bias = nn.Parameter(torch.zeros(target.extent("k"), device=layer.weight.device, dtype=layer.weight.dtype))
        account.append(change_of(target.layer, before, layer, "a bias"))
    if not account:
        raise WorkloadError(f"{type(model).__name__} has no layer without a bias")
    return Changed(module, tuple(account), left)


class Beside(Replacement):
    """base(x) + up(down(x)) with factors of low rank."""

    def __init__(self, base: nn.Module, rank: int) -> None:
        super().__init__()
        self.words = f"rank {rank} beside it"
        self.base: Any = base
        self.down: Any = like(base, outputs=rank, bias=False)
        self.up: Any = like(base, inputs=rank, bias=False, single=True)
        for layer in (self.down, self.up):
            setattr(layer, STAYS, "stands beside another layer")
        if not self.up.weight.is_meta:
            nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.up(self.down(x))
        return out

    def matrix(self) -> Tensor:
        return matrix_of(self.base) + matrix_of(self.up) @ matrix_of(self.down)

    def blank(self) -> Any:
        return like(self.base)


class Branches(nn.Module):
    """Several layers alike, whose results add up behind a nonlinearity each; weights are new ones."""

    def __init__(self, base: nn.Module, count: int) -> None:
        super().__init__()
        self.words = f"{count} branches"
        self.branches = nn.ModuleList(like(base, bias=getattr(base, "bias", None) is not None) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        results = [torch.relu(branch(x)) for branch in self.branches]
        total = results[0]
        for result in results[1:]:
            total = total + result
        return total

"""Layers beside layers: more of the same, small ones, and biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes.targets import STAYS, Target
from zerocast.workloads.transforms.factors import rank_of
from zerocast.workloads.transforms.layers import like, matrix_of
from zerocast.workloads.transforms.replacement import Replacement
from zerocast.workloads.transforms.surgery import Changed, Misfit, candidates, change_of, replaced, twin


def bypass(
    model: nn.Module,
    rank: float,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Beside each layer stands one of low rank, zero at first, which is trained too and which recipes leave whole.

    rank, layers, dense, ends: as of `factors.lowrank`.
    """

    def made(target: Target) -> nn.Module | Misfit:
        own = rank_of(target, rank)
        return own if isinstance(own, Misfit) else Beside(target.module, own)

    return replaced(model, made, layers=layers, dense=dense, ends=ends)


def doped(
    model: nn.Module,
    sparsity: float,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """As `bypass`, at the rank whose multiplications are the share `sparsity` of the layer's own: they are as many as
    before once that is so sparse (Sparse-IFT, sparse doped)."""

    def made(target: Target) -> nn.Module | Misfit:
        rank = _rank_for(target, sparsity)
        own = rank_of(target, rank)
        return own if isinstance(own, Misfit) else Beside(target.module, own)

    return replaced(model, made, layers=layers, dense=dense, ends=ends)


def branches(
    model: nn.Module,
    count: int,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Each layer becomes the sum of so many like it, each behind a ReLU (Sparse-IFT, sparse parallel)."""
    return replaced(model, lambda target: Branches(target.module, count), layers=layers, dense=dense, ends=ends)


def bias(
    model: nn.Module,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Layers without a bias get one, zero at first, for what channels that are gone gave on average (FLAP)."""
    module = twin(model)
    found, left = candidates(module, layers, dense, ends)
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


def _rank_for(target: Target, share: float) -> int:
    """The rank at which two factors multiply that share of what the weight itself does."""
    outputs, inputs = target.extent("k"), target.size // target.extent("k")
    return max(round(share * inputs * outputs / (inputs + outputs)), 1)


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

"""Adapters beside weights, which are merged into them in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.surgery import Changed, Scope, change_of, named, put, replaced, twin
from zerocast.workloads.transforms.weights.attention import FUSED, QUERIES_AND_VALUES, parts_of
from zerocast.workloads.transforms.weights.factors import rank_of
from zerocast.workloads.transforms.weights.layers import empty, like, matrix_of
from zerocast.workloads.transforms.weights.replacement import Replacement, must_be_linear

SEED = 0
"""Of the random half of the adapters."""


def lora(
    model: nn.Module,
    rank: float,
    *,
    frozen: bool = True,
    **scope: Unpack[Scope],
) -> Changed:
    """Beside each linear layer W x stands up[out, rank] down[rank, in] x, zero at first (Hu et al., LoRA, 2021); W is
    trained no more.

    rank: as of `lowrank`. Where no layers are named, adapters stand beside queries and values. frozen: nothing but
    adapters is trained, else what has none is.
    """
    pair, layers = (*QUERIES_AND_VALUES, *FUSED), scope.get("layers", ())
    found = layers or sorted({path.rpartition(".")[2] for path, _ in model.named_modules()} & set(pair))
    scope["layers"] = found
    if not found:
        raise WorkloadError(f"{type(model).__name__} has no queries and values by name; name layers, as @*.dense")

    def made(target: Target) -> Lora:
        must_be_linear(target, "adapters stand beside linear layers")
        return Lora(target, rank_of(target, rank), parts_of(target) if not layers else ("",))

    changed = replaced(model, made, **scope)
    adapters = [module for module in changed.module.modules() if isinstance(module, Lora)]
    for module in (changed.module,) if frozen else (each.base for each in adapters):
        module.requires_grad_(False)
    for module in adapters:
        module.train_adapters()
    return changed


def merge(model: nn.Module, **scope: Unpack[Scope]) -> Changed:
    """Adapters and factors become one weight again, all of them where no layers are named."""
    module, layers, dense = twin(model), scope.get("layers", ()), scope.get("dense", ())
    account = []
    for path, each in list(module.named_modules()):
        asked = not layers or any(named(path, glob) for glob in layers)
        if isinstance(each, Replacement) and asked and not any(named(path, glob) for glob in dense):
            put(module, path, each.merged())
            account.append(change_of(path, each, module.get_submodule(path), "merged"))
    if not account:
        raise WorkloadError(f"{type(model).__name__} has no adapters or factors to be merged")
    return Changed(module, tuple(account), {})


class Lora(Replacement):
    """base(x) + up (down x); of a layer that makes queries, keys and values, beside queries and values."""

    def __init__(self, target: Target, rank: int, parts: Sequence[str]) -> None:
        super().__init__()
        self.base: Any = target.module
        self.parts = tuple(parts)
        adapted = [part for part in parts if part != "key"]
        self.words = f"adapter of rank {rank}" + f" for {' and '.join(adapted)}" * (len(parts) > 1)
        inputs, outputs = target.extent("c"), target.extent("k") // len(parts)
        weight = target.parameter
        self.down = nn.ParameterList(empty(rank, inputs, of=weight) for _ in adapted)
        self.up = nn.ParameterList(empty(outputs, rank, of=weight) for _ in adapted)
        if not weight.is_meta:
            generator = torch.Generator().manual_seed(SEED)
            with torch.no_grad():
                for down, up in zip(self.down, self.up, strict=True):
                    down.copy_(torch.randn(down.shape, generator=generator) / inputs**0.5)
                    up.zero_()

    def train_adapters(self) -> None:
        """Let the adapters be trained."""
        self.down.requires_grad_(True)
        self.up.requires_grad_(True)

    @property
    def macs(self) -> int:
        return sum(weight.numel() for weight in (self.base.weight, *self.down, *self.up))

    def forward(self, x: Tensor) -> Tensor:
        found = [functional.linear(functional.linear(x, down), up) for down, up in zip(self.down, self.up, strict=True)]
        out: Tensor = self.base(x) + self._joined(found, -1)
        return out

    def _joined(self, found: list[Tensor], dim: int) -> Tensor:
        """What adapters add to all parts of the result: nothing to keys."""
        if len(found) == 1:
            return found[0]
        added = iter(found)
        return torch.cat([torch.zeros_like(found[0]) if part == "key" else next(added) for part in self.parts], dim)

    def matrix(self) -> Tensor:
        products = [up @ down for down, up in zip(self.down, self.up, strict=True)]
        return matrix_of(self.base) + self._joined(products, 0)

    def blank(self) -> Any:
        return like(self.base)

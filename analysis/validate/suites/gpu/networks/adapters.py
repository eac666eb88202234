"""What publications put in place of linear layers: adapters beside frozen weights, sparse plus low-rank weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

QUERY_AND_VALUE = ("q_proj", "v_proj", "query_key_value")


def adapted(module: nn.Module, adapter: str) -> None:
    """Change a language model in place. adapter: `lora:RANK` on queries and values, all else frozen;
    `sparse+lowrank:RANK:DENSITY` in place of each linear layer but the head; "" for none."""
    kind, _, sizes = adapter.partition(":")
    if kind == "lora":
        module.requires_grad_(False)
    for path, layer in list(module.named_modules()):
        if not isinstance(layer, nn.Linear) or not kind:
            continue
        parent, name = module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
        if kind == "lora" and name in QUERY_AND_VALUE:
            setattr(parent, name, Lora(layer, int(sizes)))
        elif kind == "sparse+lowrank" and "layers." in path:
            rank, density = sizes.split(":")
            setattr(parent, name, SparseLowRank(layer.in_features, layer.out_features, int(rank), float(density)))


class Lora(nn.Module):
    """A frozen linear layer with adapters; of a fused one, for its first and last third."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        fused = base.out_features == 3 * base.in_features
        width = base.out_features // 3 if fused else base.out_features
        self.base = base
        self.down = nn.ModuleList(nn.Linear(base.in_features, rank, bias=False) for _ in range(1 + fused))
        self.up = nn.ModuleList(nn.Linear(rank, width, bias=False) for _ in range(1 + fused))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [up(down(x)) for down, up in zip(self.down, self.up, strict=True)]
        if len(parts) > 1:
            parts.insert(1, torch.zeros_like(parts[0]))
        return self.base(x) + torch.cat(parts, -1) if len(parts) > 1 else self.base(x) + parts[0]


class SparseLowRank(nn.Module):
    """W = B A + S, S a tenth or less of W at places that stay (Han et al., SLTrain, 2024)."""

    def __init__(self, inputs: int, outputs: int, rank: int, density: float) -> None:
        super().__init__()
        count = int(density * inputs * outputs)
        self.shape = (outputs, inputs)
        self.a, self.b = nn.Parameter(torch.empty(rank, inputs)), nn.Parameter(torch.empty(outputs, rank))
        self.values = nn.Parameter(torch.empty(count))
        self.register_buffer("places", torch.empty(count, dtype=torch.int64))

    places: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dense = (self.b @ self.a).flatten().scatter_add(0, self.places, self.values)
        return functional.linear(x, dense.view(self.shape))

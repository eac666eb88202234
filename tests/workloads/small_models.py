"""Small networks that the recipe tests share."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class Residual(nn.Module):
    """A stem, a block whose shortcut ties two convolutions, a depthwise convolution, a classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, width, 1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.fc = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.conv2(torch.relu(self.conv1(x)))
        return self.fc(self.depthwise(x).mean((2, 3)))


class Language(nn.Module):
    """Embedding, two equal blocks, and a head that may share the embedding's weight."""

    def __init__(self, head: bool, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        blocks = ({"up": nn.Linear(16, 32), "down": nn.Linear(32, 16)} for _ in range(2))
        self.layers = nn.ModuleList(map(nn.ModuleDict, blocks))
        if head:
            self.lm_head = nn.Linear(16, 40, bias=False)
            if tied:
                self.lm_head.weight = self.embed.weight


def mlp(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))


def copies(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def counted(model: nn.Module, inputs: tuple[Any, ...], training: bool) -> int:
    """Multiply-accumulates as PyTorch runs them product by product (its one kernel for a CPU is not counted)."""
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        with torch.set_grad_enabled(training):
            results = [out for out in tree_leaves(model(*inputs)) if out.requires_grad]
        if training:
            sum(out.sum() for out in results).backward()  # type: ignore[union-attr]
    return counter.get_total_flops() // 2

"""Weights as products of smaller ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.layers import like, matrix_of
from zerocast.workloads.transforms.surgery import Changed, Misfit, replaced


class Factors(nn.Sequential):
    """Layers one after the other in place of one. words: what they are."""

    def __init__(self, words: str, parts: OrderedDict[str, nn.Module]) -> None:
        super().__init__(parts)
        self.words = words


def lowrank(
    model: nn.Module,
    rank: float,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Each weight W[out, in] becomes up[out, rank] down[rank, in], the nearest one (its largest singular values); a
    convolution one of `rank` outputs, and a 1x1 convolution of these.

    rank: below 1, a share of each layer's smaller side. layers, dense, ends: as of `surgery.replaced`.
    """
    return replaced(model, lambda target: _pair(target, rank), layers=layers, dense=dense, ends=ends)


def _pair(target: Target, rank: float) -> nn.Module | Misfit:
    outputs, inputs = target.extent("k"), target.size // target.extent("k")
    if "g" in target.ranks or isinstance(target.module, _ConvTransposeNd):
        return Misfit("a grouped or transposed convolution has no factors of its own")
    most = min(outputs, inputs)
    own = max(round(rank * most), 1) if rank < 1 else int(rank)
    if own > most:
        return Misfit(f"rank {own} is above the smaller side of its {outputs} x {inputs} weights")
    down, up = like(target.module, outputs=own, bias=False), like(target.module, inputs=own, single=True)
    matrix = matrix_of(target.module)
    if not matrix.is_meta:
        left, right = nearest(matrix, own)
        with torch.no_grad():
            down.weight.copy_(right.reshape(down.weight.shape))
            up.weight.copy_(left.reshape(up.weight.shape))
    return Factors(f"rank {own}", OrderedDict(down=down, up=up))


def nearest(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Left[out, rank] and right[rank, in] whose product is nearest to a matrix, with equal shares of each singular
    value (Eckart, Young, 1936)."""
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]

"""Weights as products of smaller ones, or as such a product and a sparse matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvTransposeNd

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.layers import empty, like, matrix_of, set_matrix
from zerocast.workloads.transforms.replacement import OfLinear, Replacement, is_linear
from zerocast.workloads.transforms.surgery import Changed, Misfit, replaced

SEED = 0
"""Of the places of sparse matrices."""


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

    def made(target: Target) -> nn.Module | Misfit:
        own = rank_of(target, rank)
        return own if isinstance(own, Misfit) else LowRank(target.module, own)

    return replaced(model, made, layers=layers, dense=dense, ends=ends)


def sparse_lowrank(
    model: nn.Module,
    rank: float,
    density: float,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Each weight becomes a low-rank product plus a sparse matrix at places that stay (Han et al., SLTrain, 2024).

    rank, layers, dense, ends: as of `lowrank`. density: of the sparse matrix, int(density * weights) nonzeros.
    """

    def made(target: Target) -> nn.Module | Misfit:
        own = rank_of(target, rank) if is_linear(target) else Misfit("a sparse and low-rank weight is a matrix")
        return own if isinstance(own, Misfit) else SparseLowRank(target, own, density)

    return replaced(model, made, layers=layers, dense=dense, ends=ends)


def factorised(
    model: nn.Module,
    sparsity: float,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """Each layer becomes two with a ReLU between them, of a width d whose d (in + out) multiplications are as many as
    before once both are so sparse (Sparse-IFT, sparse factorised); weights are new ones.

    layers, dense, ends: as of `lowrank`.
    """

    def made(target: Target) -> nn.Module | Misfit:
        fits = rank_of(target, 1)
        outputs, inputs = target.extent("k"), target.size // target.extent("k")
        width = round(inputs * outputs / (inputs + outputs) / (1 - sparsity))
        return fits if isinstance(fits, Misfit) else Factorised(target.module, max(width, 1))

    return replaced(model, made, layers=layers, dense=dense, ends=ends)


def rank_of(target: Target, rank: float) -> int | Misfit:
    """The rank of a layer's factors, where they can have it."""
    if "g" in target.ranks or isinstance(target.module, _ConvTransposeNd):
        return Misfit("a grouped or transposed convolution has no factors of its own")
    outputs, inputs = target.extent("k"), target.size // target.extent("k")
    most = min(outputs, inputs)
    own = max(round(rank * most), 1) if rank < 1 else int(rank)
    return Misfit(f"rank {own} is above the smaller side of its {outputs} x {inputs} weights") if own > most else own


def nearest(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Left[.., out, rank] and right[.., rank, in] whose product is nearest to a matrix, or to each of several, with
    equal shares of each singular value (Eckart, Young, 1936)."""
    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    root = values[..., :rank].sqrt()
    return left[..., :rank] * root[..., None, :], root[..., :, None] * right[..., :rank, :]


class LowRank(Replacement):
    """up(down(x)): two layers, which recipes may prune."""

    def __init__(self, base: nn.Module, rank: int) -> None:
        super().__init__()
        self.words = f"rank {rank}"
        self.down: Any = like(base, outputs=rank, bias=False)
        self.up: Any = like(base, inputs=rank, single=True)
        matrix = matrix_of(base)
        if not matrix.is_meta:
            left, right = nearest(matrix, rank)
            with torch.no_grad():
                set_matrix(self.down, right)
                set_matrix(self.up, left)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.down(x))
        return out

    def matrix(self) -> Tensor:
        return matrix_of(self.up) @ matrix_of(self.down)

    def blank(self) -> Any:
        outputs = self.up.weight.shape[0]
        layer = like(self.down, outputs=outputs, bias=self.up.bias is not None)
        layer.bias = self.up.bias
        return layer


class Factorised(nn.Module):
    """up(relu(down(x))): two new layers in place of one."""

    def __init__(self, base: nn.Module, width: int) -> None:
        super().__init__()
        self.words = f"factors of {width}"
        self.down: Any = like(base, outputs=width, bias=False)
        self.up: Any = like(base, inputs=width, single=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(torch.relu(self.down(x)))
        return out


class SparseLowRank(OfLinear):
    """W = B A + S, made anew whenever it is used, as the authors' code does; S has `values` at `places` that stay."""

    places: Tensor

    def __init__(self, target: Target, rank: int, density: float) -> None:
        super().__init__(target, f"rank {rank} and {density:g} of the weights")
        weight, count = target.parameter, int(density * target.size)
        self.a, self.b = empty(rank, self.inputs, of=weight), empty(self.outputs, rank, of=weight)
        self.values = empty(count, of=weight)
        self.register_buffer("places", torch.empty(count, dtype=torch.int64, device=weight.device))
        if not weight.is_meta:
            self._approach(matrix_of(target.module), rank)

    @property
    def macs(self) -> int:
        """Those of the whole weight, for each row; making it takes as many again for each unit of rank, once."""
        return self.inputs * self.outputs

    def _approach(self, matrix: Tensor, rank: int) -> None:
        """The nearest factors, and at random places what is left of the weight."""
        left, right = nearest(matrix, rank)
        generator = torch.Generator().manual_seed(SEED)
        places = torch.randperm(matrix.numel(), generator=generator)[: len(self.values)].sort().values
        with torch.no_grad():
            self.a.copy_(right)
            self.b.copy_(left)
            self.places.copy_(places)
            self.values.copy_((matrix - left @ right).flatten()[places])

    def matrix(self) -> Tensor:
        return (self.b @ self.a).flatten().scatter_add(0, self.places, self.values).view(self.outputs, self.inputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.matrix(), self.bias)

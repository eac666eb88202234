"""Weights as products of smaller ones, or as such a product and a sparse matrix."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvTransposeNd

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.surgery import Changed, Misfit, Scope, replaced
from zerocast.workloads.transforms.weights.layers import empty, like, matrix_of, set_matrix
from zerocast.workloads.transforms.weights.replacement import OfLinear, Replacement, must_be_linear

SEED = 0
"""Of the places of sparse matrices."""


def lowrank(
    model: nn.Module,
    rank: float,
    **scope: Unpack[Scope],
) -> Changed:
    """Each weight W[out, in] becomes up[out, rank] down[rank, in], the nearest one (its largest singular values); a
    convolution one of `rank` outputs, and a 1x1 convolution of these.

    rank: below 1, a share of each layer's smaller side.
    """
    return replaced(model, lambda target: LowRank(target.module, rank_of(target, rank)), **scope)


def sparse_lowrank(
    model: nn.Module,
    rank: float,
    density: float,
    **scope: Unpack[Scope],
) -> Changed:
    """Each weight becomes a low-rank product plus a sparse matrix at places that stay (Han et al., SLTrain, 2024).

    rank: as of `lowrank`. density: of the sparse matrix, int(density * weights) nonzeros.
    """

    def made(target: Target) -> SparseLowRank:
        must_be_linear(target, "a sparse and low-rank weight is a matrix")
        return SparseLowRank(target, rank_of(target, rank), density)

    return replaced(model, made, **scope)


def factorised(
    model: nn.Module,
    sparsity: float,
    **scope: Unpack[Scope],
) -> Changed:
    """Each layer becomes two with a ReLU between them, of a width d whose d (in + out) multiplications are as many as
    before once both are so sparse (Sparse-IFT, sparse factorised); weights are new ones."""
    return replaced(model, lambda target: Factorised(target.module, width_of(target, 1 / (1 - sparsity))), **scope)


def sides_of(target: Target) -> tuple[int, int]:
    """Outputs and inputs of a layer's weight as a matrix. Raises `Misfit` for one whose factors are others."""
    if "g" in target.ranks or isinstance(target.module, _ConvTransposeNd):
        raise Misfit("a grouped or transposed convolution has no factors of its own")
    return target.extent("k"), target.size // target.extent("k")


def width_of(target: Target, share: float) -> int:
    """The width between two factors that multiply that share of what the weight itself does."""
    outputs, inputs = sides_of(target)
    return max(round(share * inputs * outputs / (inputs + outputs)), 1)


def rank_of(target: Target, rank: float) -> int:
    """The rank of a layer's factors. Raises `Misfit` where they cannot have it."""
    outputs, inputs = sides_of(target)
    most = min(outputs, inputs)
    own = max(round(rank * most), 1) if rank < 1 else int(rank)
    if own > most:
        raise Misfit(f"rank {own} is above the smaller side of its {outputs} x {inputs} weights")
    return own


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

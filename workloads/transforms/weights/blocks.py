"""Monarch matrices: products of two block-diagonal ones with a fixed permutation between them."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from zerocast.workloads.recipes.targets import Target
from zerocast.workloads.transforms.surgery import Changed, Misfit, Scope, replaced
from zerocast.workloads.transforms.weights.attention import parts_of
from zerocast.workloads.transforms.weights.factors import nearest
from zerocast.workloads.transforms.weights.layers import empty, matrix_of
from zerocast.workloads.transforms.weights.replacement import OfLinear, must_be_linear


def monarch(
    model: nn.Module,
    blocks: int,
    **scope: Unpack[Scope],
) -> Changed:
    """Each weight of a linear layer becomes the nearest Monarch matrix (Dao et al., ICML 2022) of so many blocks.

    Each of the blocks x blocks parts of the weight that a block of inputs and one of outputs share has a low rank.

    Queries, keys and values that one layer makes are three matrices.
    """

    def made(target: Target) -> Monarch:
        must_be_linear(target, "a Monarch matrix stands for a linear layer")
        parts = len(parts_of(target))
        inputs, outputs = target.extent("c"), target.extent("k") // parts
        between = min(inputs, outputs) // blocks
        if inputs % blocks or outputs % blocks or between % blocks:
            raise Misfit(f"its {outputs} x {inputs} weights do not divide into {blocks} blocks, twice")
        return Monarch(target, blocks, parts)

    return replaced(model, made, **scope)


class Monarch(OfLinear):
    """y = P second P' first x with block-diagonal matrices: first[t, blocks, q, p], second[t, blocks, s, r], where p
    inputs and s outputs fall to a block, and q is the smaller of the two; t matrices share the input.

    As the authors' code has it (github.com/HazyResearch/fly, blockdiag_butterfly_multiply).
    """

    def __init__(self, target: Target, blocks: int, parts: int) -> None:
        super().__init__(target, f"Monarch of {blocks} blocks" + f", {parts} side by side" * (parts > 1))
        p, s = self.inputs // blocks, self.outputs // parts // blocks
        between = min(p, s)
        self.first = empty(parts, blocks, between, p, of=target.parameter)
        self.second = empty(parts, blocks, s, between, of=target.parameter)
        if not target.parameter.is_meta:
            self._approach(matrix_of(target.module))

    def forward(self, x: Tensor) -> Tensor:
        t, blocks, q, p = self.first.shape
        inner = torch.einsum("mkp,tkqp->mtkq", x.reshape(-1, blocks, p), self.first)
        inner = inner.reshape(-1, t, q, blocks)  # its k q places are dealt to the blocks in turn
        out = torch.einsum("mtrl,tlsr->mtsl", inner, self.second).reshape(*x.shape[:-1], self.outputs)
        return out if self.bias is None else out + self.bias

    def _approach(self, matrix: Tensor) -> None:
        """Place j blocks + l of block k between the two is the j-th singular value of what k and l share."""
        t, blocks, q, p = self.first.shape
        s, rank = self.second.shape[2], q // blocks
        shared = matrix.reshape(t, s, blocks, blocks, p).permute(0, 2, 3, 1, 4)  # [t, l, k, s, p]
        left, right = nearest(shared, rank)
        with torch.no_grad():
            self.first.copy_(right.permute(0, 2, 3, 1, 4).reshape(t, blocks, q, p))  # [t, k, j l, p]
            self.second.copy_(left.permute(0, 1, 3, 2, 4).reshape(t, blocks, s, q))  # [t, l, s, k j]

    def matrix(self) -> Tensor:
        t, blocks, q, p = self.first.shape
        s, rank = self.second.shape[2], q // blocks
        right = self.first.reshape(t, blocks, rank, blocks, p)  # [t, k, j, l, p]
        left = self.second.reshape(t, blocks, s, blocks, rank)  # [t, l, s, k, j]
        return torch.einsum("tlskj,tkjlp->tslkp", left, right).reshape(self.outputs, self.inputs)

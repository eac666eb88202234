"""Einsums computed by their index expressions, literally, against PyTorch: forward and both gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zerocast.workloads import Einsum, Workload, capture
from zerocast.workloads.patterns import Mask


class Call(nn.Module):
    """A function of an input and a trainable second operand."""

    def __init__(self, function: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.first = nn.Parameter(torch.randn(shape))

    def forward(self, other: torch.Tensor) -> torch.Tensor:
        return self.function(self.first, other)


def compute(op: Einsum, a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """out[index] += a[index] * b[index] over the whole iteration space; an operand that is indexed in more dimensions
    than its tensor has is a view that splits some of them."""
    grid = dict(zip(op.sizes, np.indices(tuple(op.sizes.values())).reshape(len(op.sizes), -1), strict=True))
    count = next(iter(grid.values())).size

    def at(operand: int) -> tuple[np.ndarray, ...]:
        zero = np.zeros(count, dtype=int)
        return tuple(sum((by * grid[rank] for rank, by in dim), zero) for dim in op.index[operand])

    def extents(operand: int) -> list[int]:
        return [1 + sum(by * (op.sizes[rank] - 1) for rank, by in dim) for dim in op.index[operand]]

    a, b = (side if side.ndim == len(op.index[at_]) else side.reshape(extents(at_)) for at_, side in ((0, a), (1, b)))
    out = np.zeros(shape if len(shape) == len(op.index[2]) else extents(2))
    np.add.at(out, at(2), a[at(0)] * b[at(1)])
    return out.reshape(shape)


def only_einsum(workload: Workload, phase: str, writes: str) -> Einsum:
    return next(op for op in workload.einsums if op.phase == phase and op.outputs[0] == writes)


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, bias=False), (2, 4, 9)),
    "conv2d": (nn.Conv2d(3, 5, (3, 2), stride=(1, 2), dilation=(2, 1), bias=False), (2, 3, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, bias=False), (1, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), (1, 4, 5, 5)),
    "conv3d": (nn.Conv3d(2, 3, 2, bias=False), (1, 2, 3, 4, 3)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, bias=False), (2, 4, 3, 3)),
    "transposed_grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2, dilation=2, bias=False), (1, 4, 5)),
    "linear": (nn.Linear(5, 7, bias=False), (2, 3, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_and_its_gradients(name: str) -> None:
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    # a trainable scale before the layer makes its input need a gradient
    model = nn.Sequential(Call(torch.mul, (1,)), layer)
    workload = capture(model, torch.randn(shape), training=True, dtype="fp32")
    x = torch.randn(shape, requires_grad=True)
    out = layer(x)
    gradient = torch.randn_like(out)
    dx, dw = torch.autograd.grad(out, (x, layer.weight), gradient)
    forward = next(op for op in workload.einsums if op.phase == "FF")
    arrays = {"x": x, "w": layer.weight, "dy": gradient}
    x_, w_, dy_ = (value.detach().double().numpy() for value in arrays.values())
    np.testing.assert_allclose(compute(forward, x_, w_, out.shape), out.detach().numpy(), rtol=1e-4, atol=1e-5)
    backward = only_einsum(workload, "BP", f"{forward.inputs[0]}.grad")
    np.testing.assert_allclose(compute(backward, dy_, w_, dx.shape), dx.numpy(), rtol=1e-4, atol=1e-5)
    weights = only_einsum(workload, "WU", f"{forward.inputs[1]}.grad")
    np.testing.assert_allclose(compute(weights, dy_, x_, dw.shape), dw.numpy(), rtol=1e-4, atol=1e-5)


def gpt_style(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.addmm(torch.zeros(7), x, weight)


PRODUCTS = {
    "matmul": (torch.matmul, (2, 3, 4, 5), (2, 3, 5, 6)),
    "broadcast": (torch.matmul, (2, 1, 4, 5), (3, 5, 6)),
    "matrix": (torch.matmul, (2, 3, 5), (5, 6)),
    "weight_first": (lambda w, x: w @ x, (4, 5), (2, 5, 3)),
    "transposed_weight": (lambda w, x: x @ w.transpose(0, 1), (6, 5), (4, 5)),
    "heads": (lambda w, x: w.view(3, 2, 4).transpose(0, 1) @ x, (3, 8), (2, 4, 5)),
    "patches": (lambda w, x: w.unfold(1, 4, 4) @ x, (3, 8), (4, 5)),
    "swapped": (lambda w, x: w.swapaxes(0, 1).mT @ x, (3, 8), (8, 5)),
    "moved": (lambda w, x: w.moveaxis(0, 2) @ x, (5, 2, 3), (5, 4)),
    "bmm": (torch.bmm, (3, 4, 5), (3, 5, 2)),
    "vector": (torch.mv, (4, 5), (5,)),
    "einsum": (lambda w, x: torch.einsum("bhmd,bhnd->bhmn", w, x), (1, 2, 3, 4), (1, 2, 5, 4)),
    "einsum_contract_two": (lambda w, x: torch.einsum("hdk,bhd->bk", w, x), (2, 3, 4), (5, 2, 3)),
    "addmm": (gpt_style, (5, 7), (4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_product_and_its_gradient(name: str) -> None:
    torch.manual_seed(0)
    function, first, second = PRODUCTS[name]
    model = Call(function, first)
    other = torch.randn(second)
    workload = capture(model, other, training=True, dtype="fp32")
    op = next(op for op in workload.einsums if op.phase == "FF")
    out = model(other)
    gradient = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, model.first, gradient)
    arrays = {"first": model.first.detach().double().numpy(), "other": other.double().numpy()}
    result = compute(op, *(arrays[tensor] for tensor in op.inputs[:2]), out.shape)
    np.testing.assert_allclose(result, out.detach().numpy(), rtol=1e-4, atol=1e-5)
    backward = only_einsum(workload, "WU", "first.grad")
    got = compute(backward, gradient.double().numpy(), arrays["other"], first)
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("heads", [4, 2, 1])
def test_attention_with_shared_key_heads(heads: int) -> None:
    """Scores and mix of grouped-query attention; softmax in between is numpy's."""
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 3, 5), torch.randn(2, heads, 6, 5), torch.randn(2, heads, 6, 7)

    class Attention(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=heads < 4)

    workload = capture(Attention(), (query, key, value))
    scores_op, mix_op = workload.einsums
    arrays = [tensor.double().numpy() for tensor in (query, key, value)]
    scores = compute(scores_op, arrays[0], arrays[1], (2, 4, 3, 6)) / np.sqrt(5)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = compute(mix_op, weights, arrays[2], (2, 4, 3, 7))
    expected = Attention()(query, key, value)
    np.testing.assert_allclose(mixed, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_operand_patterns_use_the_documented_ranks() -> None:
    """The rank names that recipes rely on: reduction c, outputs k, kernel r and s, groups g."""
    for name, ranks in {"grouped": "gkcrs", "conv2d": "kcrs", "linear": "kc", "conv1d": "kcr"}.items():
        layer, shape = LAYERS[name]
        (op,) = capture(layer, torch.zeros(shape)).einsums
        assert op.ranks_of(1) == set(ranks)


def test_views_without_cost_are_no_ops() -> None:
    class Views(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(2, 3, 4).transpose(1, 2).unsqueeze(0).squeeze(0).detach().relu()

    assert [op.kind for op in capture(Views(), torch.zeros(2, 12)).ops] == ["vector"]


def test_copies_and_parts_are_transfers() -> None:
    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = x.transpose(0, 1).contiguous().chunk(2)
            return torch.cat([second, first])

    ops = capture(Moves(), torch.zeros(6, 4)).ops
    assert [(op.function, op.elements) for op in ops] == [("copy", 24), ("split", 0), ("cat", 24)]  # type: ignore


def test_all_functions_have_a_cost() -> None:
    """Every elementwise rule finds its arithmetic in the table."""
    from zerocast.workloads.flops import FLOPS
    from zerocast.workloads.lowering.operators import vectors

    names = itertools.chain(vectors._ELEMENTWISE, vectors.REDUCTIONS)
    missing = [name for name in names if vectors._ALIASES.get(name, name) not in FLOPS]
    assert missing == []


class Viewed(nn.Module):
    """Two linear layers: one on parts of the rows, one whose weight is stored flat and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(8, 4, bias=False)
        self.flat = nn.Parameter(torch.tensor([[0.0], [1.0], [2.0], [3.0]] * 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.part(x.view(6, 4, 8)).reshape(12, 8), self.flat.view(8, 4).t())


def test_a_view_that_splits_a_dimension_is_no_window() -> None:
    """Index expressions such as 8 m1 + c would read like a kernel of 8 that moves by 8."""
    part, flat = capture(Viewed(), torch.zeros(6, 32)).einsums
    assert part.windows(0) == part.windows(1) == flat.windows(0) == flat.windows(1) == ()
    assert part.index[0] == ((("m0", 1),), (("m1", 1),), (("c", 1),))
    zeros = flat.patterns[1]
    assert isinstance(zeros, Mask) and zeros.ranks == ("c", "k")
    assert (zeros.bits == np.array([[False, True, True, True]] * 8)).all()
    assert flat.index[1] == ((("k", 1),), (("c", 1),))

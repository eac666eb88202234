"""Weights that `forward` computes from parameters and buffers: followed to the product, with their zeros there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.utils.prune as torch_prune
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from zerocast.workloads import Workload, capture

X = torch.zeros(3, 16)


class Made(nn.Module):
    """A linear layer whose weight is a function of a parameter, a buffer and scores."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.function = function
        self.weight = nn.Parameter(torch.randn(8, 16))
        self.scores = nn.Parameter(torch.rand(8, 16))
        self.register_buffer("mask", (torch.rand(8, 16) < 0.5).float())

    def made(self) -> torch.Tensor:
        return self.function(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.made())


class Straight(torch.autograd.Function):
    """2:4 along the input channels, with the gradient handed straight through."""

    @staticmethod
    def forward(ctx: object, weight: torch.Tensor) -> torch.Tensor:
        groups = weight.abs().reshape(-1, 4)
        kept = torch.zeros_like(groups).scatter_(1, groups.topk(2, dim=1).indices, 1.0)
        return kept.reshape(weight.shape) * weight

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient


def threshold(m: Made) -> torch.Tensor:
    with torch.no_grad():
        keep = (m.weight.abs() > m.weight.abs().flatten().kthvalue(64).values).to(m.weight.dtype)
    return m.weight * keep


MADE: dict[str, Callable[[Made], torch.Tensor]] = {
    "buffer": lambda m: m.weight * m.mask,
    "where": lambda m: torch.where(m.mask > 0, m.weight, 0.0),
    "masked_fill": lambda m: m.weight.masked_fill(m.mask == 0, 0.0),
    "scores": lambda m: m.weight * (m.scores > 0.5),
    "scaled, cast and turned": lambda m: ((m.weight * 3.0) * m.mask).half().t().contiguous().t().float(),
    "view": lambda m: (m.weight.reshape(2, 4, 16) * m.mask.view(2, 4, 16)).reshape(8, 16),
    "straight through": lambda m: m.weight + (m.weight * m.mask - m.weight).detach(),
    "own gradient": lambda m: Straight.apply(m.weight),
    "threshold": threshold,
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_made_weight_is_a_weight_with_its_zeros(name: str) -> None:
    """Inference: one product and nothing beside it, the weight under its own name, zeros as PyTorch computes them."""
    model = Made(MADE[name])
    workload = capture(model, X)
    (op,) = workload.ops
    np.testing.assert_array_equal(zeros_of(workload), (model.made() == 0).numpy())
    assert (op.inputs[1], workload.tensors[op.inputs[1]].role) == ("weight", "weight")
    assert workload.tensors["weight"].elements == 8 * 16
    assert workload.layers == {"weight": ""}


@pytest.mark.parametrize("name", [name for name in MADE if name != "threshold"])
def test_training_prices_the_making_and_sees_its_zeros(name: str) -> None:
    """Two products (no gradient of the input), both of the weight's passes; the parameter is updated."""
    model = Made(MADE[name])
    workload = capture(model, X, training=True)
    forward, gradient = workload.einsums
    assert (forward.phase, gradient.phase) == ("FF", "WU")
    np.testing.assert_array_equal(zeros_of(workload), (model.made() == 0).numpy())
    assert workload.tensors[forward.inputs[1]].weight == "weight"
    assert any(op.phase == "FF" and op is not forward for op in workload.ops)
    assert "weight.UPDATE" in {op.name for op in workload.ops}
    assert workload.parameters == 2 * 8 * 16


def zeros_of(workload: Workload) -> np.ndarray:
    op = next(op for op in workload.einsums if op.phase == "FF")
    pattern = workload.pattern_of(op, 1)
    bits: np.ndarray = ~pattern.bits  # type: ignore[attr-defined]
    return bits if pattern.ranks == ("k", "c") else bits.T  # type: ignore[attr-defined]


def test_a_layer_that_is_called_twice_has_one_weight() -> None:
    class Twice(Made):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.made()) + F.linear(x + 1, self.made())

    workload = capture(Twice(MADE["buffer"]), X)
    assert [op.inputs[1] for op in workload.einsums] == ["weight", "weight"]
    assert sorted(name for name, t in workload.tensors.items() if t.role == "weight") == ["scores", "weight"]


def test_two_masks_of_one_weight_are_two_weights() -> None:
    class Tasks(Made):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight * self.mask) + F.linear(x, self.weight * (1 - self.mask))

    workload = capture(Tasks(MADE["buffer"]), X)
    first, second = (workload.pattern_of(op, 1) for op in workload.einsums)
    np.testing.assert_array_equal(first.bits, ~second.bits)  # type: ignore[attr-defined]


class Half(nn.Module):
    """A parametrisation: the upper half of the rows is zero."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * (torch.arange(weight.shape[0]) < weight.shape[0] // 2).unsqueeze(1)


def test_parametrisations_and_live_pruning_masks() -> None:
    net = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16))
    parametrize.register_parametrization(net[0], "weight", Half())
    torch_prune.l1_unstructured(net[1], "weight", 0.75)
    workload = capture(net, X)
    densities = [workload.pattern_of(op, 1).density for op in workload.einsums]
    assert densities == [0.5, 0.25, 1.0]
    assert [op.kind for op in workload.ops] == ["einsum"] * 3


def test_a_made_weight_without_data_is_dense_and_still_a_weight() -> None:
    workload = capture(Made(MADE["buffer"]).to("meta"), X.to("meta"))
    (op,) = workload.einsums
    assert workload.tensors[op.inputs[1]].weight == "weight"
    assert workload.pattern_of(op, 1).is_dense


def test_capture_leaves_the_model_as_it_was() -> None:
    """Selections that write in place are evaluated on copies."""
    model = Made(MADE["own gradient"])
    before = model.weight.detach().clone()
    capture(model, X)
    assert torch.equal(model.weight, before)


def test_what_an_input_decides_is_no_weight() -> None:
    class Gated(Made):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight * (x.mean() > 0))

    workload = capture(Gated(MADE["buffer"]), X)
    (op,) = workload.einsums
    assert workload.tensors[op.inputs[1]].weight == ""


def test_products_of_weights_keep_their_price() -> None:
    """Low-rank corrections: 8 x 2 x 16 multiply-accumulates are the network's own, and the sum is the weight."""

    class LowRank(Made):
        def __init__(self) -> None:
            super().__init__(MADE["buffer"])
            self.down, self.up = nn.Parameter(torch.randn(2, 16)), nn.Parameter(torch.randn(8, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight + self.up @ self.down)

    workload = capture(LowRank(), X)
    assert [op.macs for op in workload.einsums] == [8 * 2 * 16, 3 * 8 * 16]
    assert workload.tensors[list(workload.einsums)[1].inputs[1]].weight == "weight"


def test_parts_of_a_packed_weight_are_weights() -> None:
    """Queries, keys and values in one parameter, cut up in forward: a part each, none of them an activation."""

    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed = nn.Parameter(torch.randn(24, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.packed.chunk(3)
            return F.linear(x, q) + F.linear(x, k) * F.linear(x, v)

    model = Packed()
    with torch.no_grad():
        model.packed[8:16] *= torch.rand(8, 16) < 0.5
    workload = capture(model, X)
    assert [workload.tensors[op.inputs[1]].role for op in workload.einsums] == ["weight"] * 3
    assert [workload.pattern_of(op, 1).is_dense for op in workload.einsums] == [True, False, True]
    assert workload.parameters == 24 * 16


def test_a_copy_of_a_weight_is_no_further_weight() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight.abs()) + F.linear(x, self.weight)

    for training in (False, True):
        assert capture(Twice(), X, training=training).parameters == 6 * 16


def test_zeros_of_the_first_of_two_weights_count_too() -> None:
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Parameter(torch.eye(16)), nn.Parameter(torch.randn(16, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.up @ self.down)

    (factors, _) = capture(Factors(), X).einsums
    assert factors.patterns[0].density == 1 / 16
    assert 1 not in factors.patterns


def test_what_was_folded_is_said_but_not_views() -> None:
    class Views(Made):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.weight[:4])

    assert dict(capture(Made(MADE["buffer"]), X).folded) == {"weight": ("mul",)}
    assert dict(capture(Views(MADE["buffer"]), X).folded) == {}

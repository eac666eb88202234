"""Weights as products: what the factors compute against the weight that they stand for."""

from __future__ import annotations

import pytest
import torch
from small_models import Residual, mlp
from torch import nn

from zerocast.workloads.transforms import lowrank


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_full_rank_is_the_weight_itself() -> None:
    model, x = Residual().eval(), torch.randn(2, 3, 8, 8)
    changed = lowrank(model, 1.0 - 1e-9, ends=False)
    assert {change.layer for change in changed.account} == {"stem", "conv1", "conv2", "fc"}
    assert changed.left == {"depthwise.weight": "a grouped or transposed convolution has no factors of its own"}
    torch.testing.assert_close(changed.module(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_rank_keeps_the_largest_singular_values() -> None:
    model = mlp(24, 20)
    changed = lowrank(model, 5, ends=False)
    product = changed.module[0].up.weight @ changed.module[0].down.weight
    values = torch.linalg.svdvals(model[0].weight)
    assert torch.linalg.matrix_rank(product) == 5
    torch.testing.assert_close(torch.dist(product, model[0].weight), values[5:].square().sum().sqrt())
    assert changed.module[0].up.bias.data_ptr() == model[0].bias.data_ptr()


def test_parts_without_data_and_the_parts_that_train_stay_so() -> None:
    model = mlp(24, 20, 12).requires_grad_(False).to("meta")
    model[1].weight.requires_grad_(True)
    changed = lowrank(model, 0.25, ends=False).module
    assert [tuple(p.shape) for p in changed[0].parameters()] == [(5, 24), (20, 5), (20,)]
    assert {name for name, p in changed.named_parameters() if p.requires_grad} == {"1.down.weight", "1.up.weight"}
    assert all(parameter.is_meta for parameter in changed.parameters())
    assert isinstance(model[0], nn.Linear)

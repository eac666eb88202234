"""Weights as products: what the factors compute against the weight that they stand for."""

from __future__ import annotations

import pytest
import torch
from small_models import Residual, mlp
from torch import nn

from zerocast.workloads import capture
from zerocast.workloads.transforms import lowrank, monarch, sparse_lowrank


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


def linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs))


@pytest.mark.parametrize(("inputs", "outputs"), [(48, 32), (32, 64), (32, 32)])
def test_a_monarch_matrix_is_its_blocks_and_a_permutation(inputs: int, outputs: int) -> None:
    model, x = linear(inputs, outputs), torch.randn(5, 3, inputs)
    module = monarch(model, 4, ends=False).module[0]
    first = torch.block_diag(*module.first[0])
    between = first.shape[0]
    # place i of the blocks' results goes to block i % 4, behind those before it
    order = torch.arange(between).reshape(-1, 4).t().flatten()
    second = torch.block_diag(*module.second[0])
    dealt = torch.arange(outputs).reshape(4, -1).t().flatten()  # outputs of the blocks are taken in turn
    matrix = (second @ first[order])[dealt]
    torch.testing.assert_close(module(x), x @ matrix.t() + model[0].bias)
    torch.testing.assert_close(module.matrix(), matrix)
    torch.testing.assert_close(module.merged()(x), module(x))
    assert module.macs == sum(weight.numel() for weight in (module.first, module.second))


def test_the_nearest_monarch_matrix_keeps_one_that_is_one() -> None:
    model = linear(32, 64)
    once = monarch(model, 4, ends=False).module[0]
    with torch.no_grad():
        model[0].weight.copy_(once.matrix())
    again = monarch(model, 4, ends=False).module[0]
    torch.testing.assert_close(again.matrix(), once.matrix())


def test_sparse_and_low_rank_parts_add_up() -> None:
    model, x = linear(24, 20), torch.randn(5, 24)
    changed = sparse_lowrank(model, 20, 0.1, ends=False)
    torch.testing.assert_close(changed.module(x), model(x))  # of full rank
    module = sparse_lowrank(model, 3, 0.1, ends=False).module[0]
    off = (module.matrix() - model[0].weight).flatten()
    assert off[module.places].abs().max() < 1e-5 < off.abs().max()
    assert module.values.numel() == 48 and len(set(module.places.tolist())) == 48
    torch.testing.assert_close(module.merged()(x), module(x))
    assert changed.account[0][2:4] == (24 * 20 + 20, 20 * (24 + 20) + 48 + 20)


def test_a_weight_that_is_made_anew_is_read_as_such_and_its_places_are_no_weights() -> None:
    x = torch.zeros(5, 24)
    module = sparse_lowrank(linear(24, 20), 3, 0.1, ends=False).module
    for training in (False, True):
        workload = capture(module.to("meta"), x, training=training)
        assert workload.parameters == 3 * (24 + 20) + 48 + 20
        forward = [op for op in workload.einsums if op.phase == "FF"]
        assert [op.macs for op in forward] == [20 * 24 * 3, 5 * 20 * 24]
    passes = {op.name: op.macs for op in workload.einsums if op.phase != "FF"}
    assert sorted(passes.values()) == [20 * 24 * 3, 20 * 24 * 3, 5 * 20 * 24]  # of B, of A, of the whole weight

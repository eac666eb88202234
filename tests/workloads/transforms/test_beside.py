"""Layers beside layers and wider ones: what they compute, and that Sparse-IFT's operations are those of before."""

from __future__ import annotations

import pytest
import torch
from small_models import Residual, mlp
from torch import nn

from zerocast.workloads import capture
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes import prune
from zerocast.workloads.transforms import bias, branches, bypass, factorised, merge, widen


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_new_bypass_changes_nothing_and_merges() -> None:
    model, x = Residual().eval(), torch.randn(2, 3, 8, 8)
    changed = bypass(model, 4, layers=["conv1", "fc"])
    torch.testing.assert_close(changed.module(x), model(x))
    nn.init.normal_(changed.module.conv1.up.weight)
    merged = merge(changed.module).module
    torch.testing.assert_close(merged(x), changed.module(x), rtol=1e-4, atol=1e-4)
    _, pruning = prune(changed.module, "nm:2:4", first_and_last_dense=False)
    assert pruning.kept_dense["conv1.down.weight"] == "stands beside another layer"


def test_branches_add_up_behind_a_relu_each() -> None:
    model, x = mlp(8, 6), torch.randn(3, 8)
    module = branches(model, 3, ends=False).module
    expected = sum(torch.relu(branch(x)) for branch in module[0].branches)
    torch.testing.assert_close(module(x), expected)
    assert len({branch.weight.data_ptr() for branch in module[0].branches} | {model[0].weight.data_ptr()}) == 4


def test_factors_have_a_relu_between_them() -> None:
    layer = factorised(mlp(8, 24), 0.5, ends=False).module[0]
    assert layer.down.out_features == round(8 * 24 / 32 / 0.5)
    x = torch.randn(3, 8)
    torch.testing.assert_close(layer(x), layer.up(torch.relu(layer.down(x))))


def test_biases_are_added_where_there_are_none() -> None:
    model = nn.Sequential(nn.Linear(8, 6, bias=False), nn.Linear(6, 4))
    changed = bias(model, ends=False)
    assert changed.left == {"1.weight": "has a bias"} and model[0].bias is None
    assert changed.account[0][1:4] == ("a bias", 48, 54)
    x = torch.randn(3, 8)
    torch.testing.assert_close(changed.module(x), model(x))


def test_all_inner_widths_grow() -> None:
    model, x = Residual().eval(), torch.randn(2, 3, 8, 8)
    wide = widen(model, 1.5, inputs=x).module
    assert wide.stem.weight.shape == (24, 3, 3, 3)
    assert wide.conv1.weight.shape == (48, 24, 3, 3)
    assert (wide.depthwise.groups, wide.norm.num_features) == (24, 24)
    assert wide(x).shape == (2, 10)
    twice = [place for place in range(8) for _ in range(2)]
    assert torch.equal(wide.stem.weight, model.stem.weight[[*twice, *range(8, 16)]])


@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("kind", ["wide", "parallel", "factorised", "doped"])
def test_operations_stay_those_of_the_dense_network(kind: str, sparsity: float) -> None:
    model, x = mlp(256, 512, 384, 384, 10).to("meta"), torch.zeros(4, 256)
    pruned, pruning = prune(model, f"ift-{kind}:{sparsity}", x)
    inner = {"1", "2"}  # the first layer and the classifier stay dense
    macs = sum(
        op.macs * workload_density
        for op in capture(pruned, x, pruning=pruning).einsums if op.layer.partition(".")[0] in inner
        for workload_density in [op.patterns[1].density if 1 in op.patterns else 1.0]
    )  # fmt: skip
    assert macs == pytest.approx(4 * (512 * 384 + 384 * 384), rel=0.01)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("ift-parallel:0.6", "2.5 branches are no whole number"),
        ("ift-wide:1", "a sparsity lies between 0 and 1"),
        ("ift-doped", "does not fit its grammar ift-doped:S"),
        ("widen:0.5", "'0.5' must be a number above 1"),
        ("bias", "has no layer without a bias"),
        ("bias@fc9", "@fc9 matches no linear layer"),
        ("bypass:99@1", "rank 99 is above the smaller side"),
    ],
)
def test_what_cannot_be_says_why(recipe: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        prune(mlp(16, 32, 24, 8), recipe, torch.zeros(1, 16))

"""Adapters: what they add, what is trained, and what is left when they are merged."""

from __future__ import annotations

import pytest
import torch
from small_models import mlp
from torch import nn

from zerocast.workloads import capture
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes import prune
from zerocast.workloads.transforms import lora, lowrank, merge


class Attention(nn.Module):
    """Queries, keys and values from one layer, and one that mixes them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(nn.functional.scaled_dot_product_attention(*self.qkv(x).chunk(3, -1)))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def filled(model: nn.Module) -> nn.Module:
    """Adapters as after some training."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".up." in name:
                weight.normal_()
    return model


def test_new_adapters_change_nothing_and_trained_ones_merge_into_the_weight() -> None:
    model, x = Attention(), torch.randn(3, 5, 16)
    adapted = lora(model, 4)
    assert [change.what for change in adapted.account] == ["adapter of rank 4 for query and value"]
    torch.testing.assert_close(adapted.module(x), model(x))
    filled(adapted.module)
    assert torch.dist(adapted.module(x), model(x)) > 0.1
    keys = adapted.module.qkv(x)[..., 16:32] - model.qkv(x)[..., 16:32]
    assert keys.abs().max() == 0
    merged = merge(adapted.module)
    assert type(merged.module.qkv) is nn.Linear
    torch.testing.assert_close(merged.module(x), adapted.module(x))
    assert merged.account[0][2:] == (48 * 17 + 4 * 4 * 16, 48 * 17, 48 * 16 + 4 * 4 * 16, 48 * 16)


def test_factors_merge_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 1)).eval()
    low, x = lowrank(model, 2, ends=False).module, torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(merge(low).module(x), low(x), rtol=1e-4, atol=1e-5)


def trained(model: nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_only_adapters_are_trained_or_all_that_has_none() -> None:
    adapters = {f"qkv.{part}.{at}" for part in ("down", "up") for at in (0, 1)}
    model = Attention()
    assert trained(lora(model, 4).module) == adapters
    assert trained(lora(model, 4, frozen=False).module) == adapters | {"out.weight", "out.bias"}
    assert len(trained(model)) == 4
    step = capture(lora(model, 4).module, torch.zeros(2, 5, 16), training=True, optimizer="adam")
    assert {op.outputs[0] for op in step.ops if op.phase == "UPDATE"} == adapters


def test_recipes_prune_the_weights_and_leave_the_adapters() -> None:
    pruned, pruning = prune(Attention(), "lora:4:qkv|out:trained+nm:2:4", first_and_last_dense=False)
    assert set(pruning.layers) == {"qkv.base.weight", "out.base.weight"}
    assert [change.what for change in pruning.account] == ["adapter of rank 4"] * 2
    capture(pruned, torch.zeros(2, 5, 16), pruning=pruning)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("lora:4", "Sequential has no queries and values by name; name layers"),
        ("lora:4:fc1:frozen:x", "does not fit its grammar lora:R"),
        ("lora:99:1", "rank 99 is above the smaller side of its 24 x 32 weights"),
        ("merge", "Sequential has no adapters or factors to be merged"),
        ("monarch:1", "'1' must be a whole number of 2 or more"),
        ("monarch:7", "do not divide into 7 blocks, twice"),
        ("sparse+lowrank:4", "does not fit its grammar sparse.lowrank:R:D"),
        ("sparse+lowrank:4:2", "'2' is no share"),
    ],
)
def test_what_cannot_be_says_why(recipe: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        prune(mlp(16, 32, 24, 8), recipe)

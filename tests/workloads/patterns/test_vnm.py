"""V:N:M: its law against its definition, its recipe against brute force, and what formats store of any pattern."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import DENSE, NM, VNM, Block, Mask, Pattern, PerChannel, Uniform, channel_group
from zerocast.workloads.recipes import parse, prune

LAW = VNM(8, 2, 16, "c", "k")


def drawn(law: VNM, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    ranks, bits = law.draw({"k": rows, "c": columns}, np.random.default_rng(seed))
    assert ranks == ("k", "c") and bits.shape == (rows, columns)
    return bits


def assert_keeps(bits: np.ndarray, v: int, n: int, m: int) -> None:
    """By definition: in every V x M block four columns at most have a nonzero, and every row has N."""
    rows, columns = bits.shape
    blocks = bits.reshape(rows // v, v, columns // m, m).swapaxes(1, 2)
    assert (blocks.any(axis=2).sum(axis=-1) <= 4).all()
    assert (blocks.sum(axis=-1) == n).all()


def test_a_draw_keeps_to_the_law() -> None:
    bits = drawn(LAW, 64, 128)
    assert_keeps(bits, 8, 2, 16)
    assert bits.mean() == LAW.density == 2 / 16
    assert LAW.groups == NM(2, 16, "c") and LAW.panel == 8


@pytest.mark.parametrize("tile", [{"k": 8, "c": 16}, {"k": 8, "c": 5}, {"k": 12, "c": 21}, {"k": 1, "c": 3}])
def test_occupancy_is_that_of_draws(tile: dict[str, int]) -> None:
    whole = [drawn(LAW, 16, 32, seed)[: tile["k"], : tile["c"]].sum() for seed in range(3000)]
    law = LAW.occupancy(tile)
    assert np.mean(whole) == pytest.approx(float(law.mean), rel=0.06)
    assert np.var(whole) == pytest.approx(float(law.variance), rel=0.12, abs=1e-9)
    assert max(whole) <= law.maximum


@pytest.mark.parametrize("pattern", [
    DENSE, Uniform(0.1), NM(2, 8, "c"), NM(1, 4, "k"), LAW, Block((("k", 4), ("c", 2)), 0.3), channel_group("c", 0.4),
    PerChannel("c", tuple(np.linspace(0.05, 0.4, 64))),
], ids=lambda pattern: type(pattern).__name__)  # fmt: skip
@pytest.mark.parametrize("tile", [{"k": 1, "c": 1}, {"k": 4, "c": 1}, {"k": 16, "c": 1}, {"k": 8, "c": 4}])
def test_entries_that_hold_a_nonzero_are_those_of_a_mask(pattern: Pattern, tile: dict[str, int]) -> None:
    """The law of every pattern against counting its own draw."""
    rng = np.random.default_rng(3)
    masks = [Mask.of(bits, ranks) for ranks, bits in (pattern.draw({"k": 512, "c": 64}, rng) for _ in range(12))]
    counted = float(np.mean([mask.filled(tile) for mask in masks]))
    assert pattern.filled(tile) == pytest.approx(counted, abs=0.03)
    assert pattern.filled(tile) >= pattern.density - 0.02


def test_the_recipe_takes_the_columns_of_largest_norm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    pruned, pruning = prune(model, "vnm:8:2:8")
    weight, before = pruned[2].weight.detach().numpy(), model[2].weight.detach().numpy()
    assert_keeps(weight != 0, 8, 2, 8)
    assert pruning.layers["2.weight"].weight["FF"] == VNM(8, 2, 8, "c", "k")
    block = before[:8, :8]
    kept = np.sort(np.argsort(-(block**2).sum(axis=0))[:4])
    for row, values in zip(weight[:8, :8], block, strict=True):
        best = kept[np.argsort(-np.abs(values[kept]))[:2]]
        assert set(np.flatnonzero(row)) == set(best)


def test_on_meta_weights_and_layers_that_do_not_fit() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 60), nn.Linear(60, 8))
    _, pruning = prune(model, "vnm:64:2:16")
    assert pruning.layers["1.weight"].weight["FF"] == VNM(64, 2, 16, "c", "k")
    assert "no multiples of V = 64" in pruning.kept_dense["2.weight"]


@pytest.mark.parametrize("recipe", ["vnm:64:2", "vnm:0:2:8", "vnm:64:5:8", "vnm:64:2:3", "vnm:a:2:8"])
def test_recipes_that_spell_none(recipe: str) -> None:
    with pytest.raises(WorkloadError, match="vnm"):
        parse(recipe)

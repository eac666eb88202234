"""Recipes against plain Python: which weights stay, which layers stay dense, what each pass is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_models import Language, Residual, copies, mlp, unchanged
from torch import nn
from torch.nn.utils import prune as torch_prune

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import NM, Block, Mask, Uniform
from zerocast.workloads.recipes import prune
from zerocast.workloads.recipes.densities import erk_densities
from zerocast.workloads.recipes.nm import nm_mask

N8 = NM(2, 8, "c")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("n", "m", "dim"), [(2, 4, 1), (1, 4, 0), (2, 8, 1), (3, 3, 1)])
def test_nm_keeps_the_largest_of_each_group_and_of_equals_the_first(n: int, m: int, dim: int) -> None:
    values = torch.randint(-2, 3, (24, 24, 3)).float()  # many ties
    mask = nm_mask(values, n, m, dim).movedim(dim, -1)
    magnitudes = values.abs().movedim(dim, -1)
    for place in np.ndindex(*mask.shape[:-1]):
        for start in range(0, 24, m):
            group = [(-float(magnitudes[(*place, start + at)]), at) for at in range(m)]
            chosen = {at for _, at in sorted(group)[:n]}
            assert {at for at in range(m) if mask[(*place, start + at)]} == chosen


def test_nm_zeroes_a_copy() -> None:
    model = Residual()
    before = copies(model)
    pruned, pruning = prune(model, "nm:2:8")
    assert unchanged(model, before)
    assert set(pruning.layers) == {"conv1.weight", "conv2.weight"}
    assert pruning.recipe == "nm:2:8"
    for name, layer in pruning.layers.items():
        weight = pruned.get_parameter(name)
        assert torch.equal(weight != 0, nm_mask(before[name], 2, 8, 1))
        assert torch.equal(weight[weight != 0], before[name][weight != 0])
        assert not torch.signbit(weight[weight == 0]).any()
        assert dict(layer.weight) == {"FF": N8, "BP": N8}
        assert not layer.generated_online
        assert not layer.output_gradient
    rest = {name: tensor for name, tensor in pruned.state_dict().items() if name not in pruning.layers}
    assert all(torch.equal(tensor, before[name]) for name, tensor in rest.items())
    assert type(pruned.conv1.weight) is nn.Parameter
    assert pruned.conv1.weight.requires_grad


def test_layers_stay_dense_for_a_reason() -> None:
    model = Residual()
    assert prune(model, "nm:2:8")[1].kept_dense == {
        "stem.weight": "first layer",
        "depthwise.weight": "1 input channel per group is not a multiple of M = 8",
        "fc.weight": "classifier",
    }
    everywhere = prune(model, "nm:2:8", first_and_last_dense=False)[1]
    assert everywhere.kept_dense["stem.weight"] == "3 input channels are not a multiple of M = 8"
    assert "fc.weight" in everywhere.layers


def test_dense_takes_names_parents_and_globs() -> None:
    model = nn.Sequential(mlp(8, 8), nn.Sequential(mlp(8, 8), nn.Linear(8, 8)), mlp(8, 8, 8))
    pruning = prune(model, "nm:2:4", dense=["1.0", "2.0.weight"])[1]
    assert set(pruning.layers) == {"1.1.weight"}
    assert pruning.kept_dense["1.0.0.weight"] == "asked for by dense='1.0'"
    assert set(prune(model, "nm:2:4", dense=["1.*"])[1].layers) == {"2.0.weight"}
    with pytest.raises(WorkloadError, match=r"dense='1.2' matches no prunable layer; did you mean"):
        prune(model, "nm:2:4", dense=["1.2"])


def test_language_models_have_no_first_layer_and_headless_ones_no_classifier() -> None:
    up_down = {f"layers.{at}.{name}.weight" for at in (0, 1) for name in ("up", "down")}
    headless = prune(Language(head=False), "nm:2:4")[1]
    assert set(headless.layers) == up_down
    assert not headless.kept_dense
    assert prune(Language(head=True), "nm:2:4")[1].kept_dense == {"lm_head.weight": "classifier"}


def test_a_head_shared_with_the_embedding_is_never_pruned() -> None:
    pruning = prune(Language(head=True, tied=True), "nm:2:4", first_and_last_dense=False)[1]
    assert pruning.kept_dense == {"embed.weight": "shared with the embedding 'embed'"}


def test_norms_embeddings_and_biases_are_never_pruned() -> None:
    for name in prune(Language(head=True), "magnitude:0")[1].layers:
        assert name.endswith(("up.weight", "down.weight"))
    pruned, _ = prune(Residual(), "magnitude:0", first_and_last_dense=False)
    untouched = ("norm.weight", "conv1.bias", "fc.bias", "stem.bias")
    assert all(bool(pruned.get_parameter(name).all()) for name in untouched)
    assert not pruned.fc.weight.any()


@pytest.mark.parametrize(
    ("layer", "weight", "c_dim", "c_size"),
    [
        (nn.Conv1d(16, 8, 3), "weight", 1, 16),
        (nn.Conv3d(8, 8, 3), "weight", 1, 8),
        (nn.Conv2d(32, 16, 3, groups=2), "weight", 1, 16),
        (nn.ConvTranspose2d(16, 8, 2), "weight", 0, 16),
        (nn.LSTM(16, 8, num_layers=2), "weight_hh_l0", 1, 8),
        (nn.MultiheadAttention(16, 2), "in_proj_weight", 1, 16),
    ],
)
def test_input_channels_are_found_in_every_kind_of_layer(
    layer: nn.Module, weight: str, c_dim: int, c_size: int
) -> None:
    pruned, _ = prune(nn.Sequential(layer), "nm:1:4", first_and_last_dense=False)
    kept = (pruned[0].get_parameter(weight) != 0).movedim(c_dim, -1)
    assert kept.shape[-1] == c_size
    assert (kept.unflatten(-1, (-1, 4)).sum(-1) == 1).all()


def test_transformers_conv1d_holds_its_weight_the_other_way_round() -> None:
    from transformers.pytorch_utils import Conv1D

    model = nn.Sequential(nn.Linear(12, 12), Conv1D(8, 12))  # 12 inputs, 8 outputs
    mask = prune(model, "magnitude:0.5")[1].layers["1.weight"].weight["FF"]
    assert isinstance(mask, Mask)
    assert (mask.ranks, mask.shape) == (("c", "k"), (12, 8))
    kept = prune(model, "nm:1:4")[0][1].weight != 0
    assert (kept.unflatten(0, (-1, 4)).sum(1) == 1).all()


def test_training_recipes_leave_the_master_weights_dense() -> None:
    model = Residual()
    before = copies(model)
    for recipe in ("bdwp:2:8", "srste:2:8", "sdgp:2:8"):
        same, _ = prune(model, recipe)
        assert same is model
        assert unchanged(model, before)


def test_each_pass_sees_what_its_recipe_says() -> None:
    k8 = NM(2, 8, "k")
    layer = {}
    for recipe in ("bdwp", "srste", "sdgp"):
        layer[recipe] = prune(Residual(), f"{recipe}:2:8")[1].layers["conv1.weight"]
    assert dict(layer["bdwp"].weight) == {"FF": N8, "BP": k8}
    assert layer["bdwp"].generated_online == {"FF", "BP"}
    assert dict(layer["srste"].weight) == {"FF": N8, "BP": N8}
    assert layer["srste"].generated_online == {"FF"}
    assert dict(layer["sdgp"].weight) == {}
    assert dict(layer["sdgp"].output_gradient) == {"BP": k8}
    assert layer["sdgp"].generated_online == {"BP"}


def test_bdwp_prunes_the_one_pass_that_fits() -> None:
    pruning = prune(mlp(8, 16, 12, 8, 8), "bdwp:2:8")[1]
    assert dict(pruning.layers["1.weight"].weight) == {"FF": N8}
    assert pruning.layers["1.weight"].generated_online == {"FF"}
    assert pruning.kept_dense["1.weight"] == "BP stays dense: 12 output channels are not a multiple of M = 8"
    assert dict(pruning.layers["2.weight"].weight) == {"BP": NM(2, 8, "k")}
    grouped = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1, groups=2))
    with pytest.raises(WorkloadError, match="4 output channels per group are not a multiple of M = 16"):
        prune(grouped, "bdwp:2:16")


def test_magnitude_keeps_the_largest_of_each_layer() -> None:
    model = Residual()
    before = copies(model)
    pruned, pruning = prune(model, "magnitude:sparsity=0.9")
    for name, layer in pruning.layers.items():
        kept = pruned.get_parameter(name) != 0
        size = before[name].numel()
        assert int(kept.sum()) == round(0.1 * size)
        assert before[name].abs()[kept].min() >= before[name].abs()[~kept].max()
        mask = layer.weight["FF"]
        assert mask == layer.weight["BP"]
        assert isinstance(mask, Mask)
        np.testing.assert_array_equal(mask.bits.reshape(kept.shape), kept.numpy())
    assert pruning.layers["conv1.weight"].weight["FF"].ranks == ("k", "c", "r", "s")  # type: ignore[attr-defined]
    assert pruning.layers["depthwise.weight"].weight["FF"].ranks == ("g", "k", "c", "r", "s")  # type: ignore[attr-defined]


def test_of_equal_magnitudes_the_first_stay() -> None:
    model = mlp(4, 4, 4)
    nn.init.ones_(model[0].weight)
    pruned, _ = prune(model, "magnitude:0.375", first_and_last_dense=False)
    assert pruned[0].weight.flatten().tolist() == [1.0] * 6 + [0.0] * 10


def test_global_magnitude_has_one_threshold() -> None:
    model = mlp(16, 16, 32, 8)
    with torch.no_grad():
        model[1].weight.mul_(3)
    pruned, pruning = prune(model, "magnitude:0.3:global", first_and_last_dense=False)
    assert set(pruning.layers) == {"0.weight", "1.weight", "2.weight"}
    every = torch.cat([layer.weight.abs().flatten() for layer in model])
    kept = torch.cat([layer.weight.flatten() != 0 for layer in pruned])
    assert int(kept.sum()) == round(0.3 * every.numel())
    assert every[kept].min() > every[~kept].max()


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_erk_densities_meet_the_total_and_share_one_scale(density: float) -> None:
    shapes = {"a": (64, 3, 3, 3), "b": (128, 64, 3, 3), "c": (256, 128, 1, 1), "d": (10, 256)}
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    found = erk_densities(shapes, density)
    assert sum(found[name] * sizes[name] for name in shapes) == pytest.approx(density * sum(sizes.values()))
    scales = {name: found[name] * sizes[name] / sum(shapes[name]) for name in shapes}
    free = [scales[name] for name in shapes if found[name] < 1]
    assert free == pytest.approx([free[0]] * len(free) if free else [])
    for name in shapes:
        assert 0 < found[name] <= 1
        if found[name] == 1 and free:  # a full layer would be fuller still at the common scale
            assert free[0] * sum(shapes[name]) / sizes[name] >= 1


def test_erk_recipe_gives_small_layers_more() -> None:
    pruned, _ = prune(mlp(32, 64, 256, 8), "magnitude:0.2:erk", first_and_last_dense=False)
    share = [float((layer.weight != 0).float().mean()) for layer in pruned]
    assert share[2] > share[0] > share[1]
    total = sum(layer.weight.numel() for layer in pruned)
    assert sum(int((layer.weight != 0).sum()) for layer in pruned) == pytest.approx(0.2 * total, abs=3)


@pytest.mark.parametrize(("rows", "columns"), [(8, 12), (10, 14)])
def test_block_keeps_the_blocks_of_largest_norm(rows: int, columns: int) -> None:
    model = nn.Sequential(nn.Conv2d(columns, rows, (1, 2)))
    weight = model[0].weight.detach()
    pruned, pruning = prune(model, "block:4x3:0.25", first_and_last_dense=False)
    scores = {
        (k, c, s): float(weight[k : k + 4, c : c + 3, 0, s].square().mean().sqrt())
        for k in range(0, rows, 4) for c in range(0, columns, 3) for s in (0, 1)
    }  # fmt: skip
    best = sorted(scores, key=scores.__getitem__, reverse=True)[: round(0.25 * len(scores))]
    expected = torch.zeros(weight.shape, dtype=torch.bool)
    for k, c, s in best:
        expected[k : k + 4, c : c + 3, 0, s] = True
    assert torch.equal(pruned[0].weight != 0, expected)
    mask = pruning.layers["0.weight"].weight["FF"]
    assert mask == Mask.of(expected.numpy(), "kcrs")


def test_layers_smaller_than_a_block_stay_dense() -> None:
    kept = prune(Residual(), "block:8x4:0.5")[1].kept_dense
    assert kept["depthwise.weight"] == "1 x 1 channels are smaller than a 8 x 4 block"


def test_meta_models_are_annotated_not_copied() -> None:
    with torch.device("meta"):
        model = mlp(64, 128, 128, 64)
    blocks = Block((("k", 16), ("c", 8)), 0.25)
    for recipe, pattern in (("nm:2:8", N8), ("magnitude:0.1", Uniform(0.1)), ("block:16x8:0.25", blocks)):
        same, pruning = prune(model, recipe)
        assert same is model
        assert dict(pruning.layers["1.weight"].weight) == {"FF": pattern, "BP": pattern}
    erk = prune(model, "magnitude:0.1:erk", first_and_last_dense=False)[1]
    shapes = {f"{at}.weight": tuple(model[at].weight.shape) for at in range(3)}
    found = {name: layer.weight["FF"].density for name, layer in erk.layers.items()}
    assert found == erk_densities(shapes, 0.1)
    with pytest.raises(WorkloadError, match="meta device has none; load real weights, or use uniform or erk"):
        prune(model, "magnitude:0.1:global")


def test_weights_that_are_not_finite_are_named() -> None:
    model = Residual()
    with torch.no_grad():
        model.conv2.weight[0, 0] = math.nan
    with pytest.raises(WorkloadError, match=r"'conv2.weight' has NaN or infinite"):
        prune(model, "nm:2:8")


def test_masked_weights_must_be_made_plain_first() -> None:
    model = Residual()
    torch_prune.l1_unstructured(model.conv1, "weight", 0.5)
    with pytest.raises(WorkloadError, match=r"torch.nn.utils.prune.remove"):
        prune(model, "nm:2:8")


def test_a_recipe_that_prunes_nothing_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"0\.weight: first layer; 1.weight: classifier"):
        prune(mlp(8, 8, 8), "nm:2:4")
    with pytest.raises(WorkloadError, match="it has no linear, convolution or recurrent layer"):
        prune(nn.Sequential(nn.ReLU()), "nm:2:4")


def test_dense_changes_nothing() -> None:
    model = Residual()
    same, pruning = prune(model, "dense")
    assert same is model
    assert not pruning.layers

"""Masked weight gradients: against PyTorch's gradients, a counting interpreter, and closed forms of sparse training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from zerocast.simulator.products.gemm import gemms
from zerocast.simulator.products.pairs import effectual_macs
from zerocast.workloads import WorkloadError, capture, prune
from zerocast.workloads.ir import Einsum, Index, Workload
from zerocast.workloads.patterns import DENSE, Mask

KEPT = 0.25


class Small(nn.Module):
    """A convolution, a grouped one with a stride, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, groups=2, bias=False)
        self.last = nn.Linear(8 * 2 * 2, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.grouped(torch.relu(self.first(x)))).flatten(1))


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, dict[str, dict[str, torch.Tensor]], Workload]:
    """A pruned model, by layer what it read, what gradient it got and its weight's, and its training step."""
    torch.manual_seed(0)
    model, pruning = prune(Small(), f"static:{KEPT}", first_and_last_dense=False)
    seen: dict[str, dict[str, torch.Tensor]] = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, x, y, name=name: seen.setdefault(name, {}).update(x=x[0].detach()))
        layer.register_full_backward_hook(lambda _, dx, dy, name=name: seen[name].update(dy=dy[0].detach()))
    inputs = torch.randn(2, 3, 8, 8, requires_grad=True)
    nn.functional.cross_entropy(model(inputs), torch.tensor([1, 7])).backward()
    for name, layer in model.named_children():
        seen[name]["dw"] = layer.weight.grad
    plain, _ = prune(Small(), f"static:{KEPT}", first_and_last_dense=False)  # without hooks, under the same masks
    return model, seen, capture(plain, inputs.detach(), training=True, pruning=pruning, dtype="fp32")


def interpreted(op: Einsum, a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The einsum executed multiplication by multiplication, and how many it made; what the mask leaves out is not."""
    mask = op.patterns.get(2, DENSE)
    out, made = np.zeros(shape), 0
    for place in product(*(range(size) for size in op.sizes.values())):
        at = dict(zip(op.sizes, place, strict=True))
        if isinstance(mask, Mask) and not mask.bits[tuple(at[rank] for rank in mask.ranks)]:
            continue
        left, right, target = (tuple(sum(by * at[r] for r, by in affine) for affine in index) for index in op.index)
        out[target] += a[left] * b[right]
        made += 1
    return out, made


@pytest.mark.parametrize("layer", ["first", "grouped", "last"])
def test_masked_gradients_are_those_of_pytorch_under_the_mask(trained, layer: str) -> None:
    model, seen, step = trained
    op = next(op for op in step.einsums if op.phase == "WU" and op.layer == layer)
    weight = model.get_parameter(f"{layer}.weight").detach()
    dy, x, dw = (seen[layer][name].numpy() for name in ("dy", "x", "dw"))
    found, made = interpreted(op, dy, x, step.tensors[op.outputs[0]].shape)
    expected = np.where(weight.numpy() != 0, dw, 0.0).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(dw.reshape(found.shape) - expected).max() > 1e-3  # the rest is not zero by itself
    assert made == pytest.approx(sum(effectual_macs(gemm) for gemm in gemms(step, op)))
    assert made == round(KEPT * weight.numel()) * op.macs // weight.numel()


def test_state_and_update_of_a_sparse_optimizer_are_those_of_the_weights_that_are_kept(trained) -> None:
    model, pruning = prune(Small(), f"static:{KEPT}", first_and_last_dense=False)
    inputs = torch.randn(2, 3, 8, 8)
    for optimizer, share in (("sgd_momentum", 1.0), ("sgd_momentum:sparse", KEPT)):
        step = capture(model, inputs, training=True, pruning=pruning, optimizer=optimizer)
        update = next(op for op in step.ops if op.name == "last.weight.UPDATE")
        assert update.elements == 320 * share
        assert step.tensors["last.weight.momentum"].pattern.density == share


def rigl_step(f_s: float, f_d: float, every: int) -> float:
    """Appendix H of Evci et al.: the mean step of RigL, with one dense gradient of every DT + 1 steps."""
    return (3 * f_s * every + 2 * f_s + f_d) / (every + 1)


def counted(step: Workload, *phases: str) -> float:
    """Effectual multiply-accumulates of the mean step."""
    ops = [op for op in step.einsums if op.phase in phases]
    return sum(op.share * sum(effectual_macs(gemm) for gemm in gemms(step, op)) for op in ops)


@pytest.mark.parametrize("every", [1, 100])
def test_rigl_costs_what_its_authors_count(every: int) -> None:
    model = Small().to("meta")
    model, pruning = prune(model, f"rigl:0.2:erk:DT={every}")
    step = capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning)
    f_d, f_s = sum(op.macs for op in step.einsums if op.phase == "FF"), counted(step, "FF")
    assert 2 * f_s + counted(step, "WU") == pytest.approx(rigl_step(f_s, f_d, every))
    assert step.macs == pytest.approx(3 * f_d - next(op for op in step.einsums if op.layer == "first").macs)


@pytest.mark.parametrize(("which", "wu"), [("never", 0.2), ("only", 1.0)])
def test_a_step_that_changes_masks_and_one_that_does_not(which: str, wu: float) -> None:
    model, pruning = prune(Small().to("meta"), "rigl:0.2:uniform", first_and_last_dense=False)
    step = capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning, mask_update=which)
    f_d = sum(op.macs for op in step.einsums if op.phase == "FF")
    assert counted(step, "WU") == pytest.approx(wu * f_d)
    changes = [op for op in step.ops if isinstance(op, Index)]
    assert {op.share for op in step.ops} == {1.0}
    assert bool(changes) == (which == "only")
    assert any(op.name.endswith("UPDATE") for op in step.ops) == (which == "never")


class Centred(nn.Module):
    """A convolution by weights less their mean, and a layer with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.filters, self.last = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.filters.weight - self.filters.weight.mean((1, 2, 3), keepdim=True)
        return self.last(nn.functional.conv2d(x, weight).mean((2, 3)))


def centred(**options: object) -> Workload:
    model, pruning = prune(Centred().to("meta"), "rigl:0.25:uniform:DT=9", first_and_last_dense=False)
    return capture(model, torch.zeros(1, 3, 8, 8), training=True, pruning=pruning, **options)


@pytest.mark.parametrize("optimizer", ["sgd_momentum", "galore:4"])
def test_a_step_that_changes_masks_updates_no_weight_at_all(optimizer: str) -> None:
    """Nor biases, nor the products of a projected update; nine of ten steps are others."""
    shares = {op.share for op in centred(optimizer=optimizer).ops if op.phase == "UPDATE" and not isinstance(op, Index)}
    assert shares == {0.9}
    only = centred(optimizer=optimizer, mask_update="only")
    assert {type(op) for op in only.ops if op.phase == "UPDATE"} == {Index}


def test_weights_grow_by_the_dense_gradient_of_what_is_made_of_them() -> None:
    step = centred()
    (product,) = (op for op in step.einsums if op.phase == "WU" and op.layer != "last" and 2 not in op.patterns)
    grown = next(op for op in step.ops if op.name == "filters.weight.grow")
    assert product.outputs[0] in grown.inputs


@pytest.mark.parametrize(
    ("recipe", "selections"),
    [
        ("rigl:0.2:uniform:drop=0.5", {"top_k": 6, "scatter": 3}),
        ("set:0.2:uniform", {"top_k": 3, "random_pick": 3, "scatter": 3}),
        ("granet:0.2:uniform", {"top_k": 4, "threshold": 3, "scatter": 3}),
        ("gmp:0.2", {"top_k": 1, "threshold": 3}),
    ],
)
def test_masks_move_by_selections(recipe: str, selections: dict[str, int]) -> None:
    model, pruning = prune(Small().to("meta"), recipe, first_and_last_dense=False)
    step = capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning)
    found = [op for op in step.ops if isinstance(op, Index)]
    assert {name: sum(op.function == name for op in found) for name in selections} == selections
    assert len(found) == sum(selections.values())
    every = 101 if pruning.refresh.grow == "gradient" else 100
    assert {op.share for op in found} == {1 / every}
    if recipe.startswith("rigl"):  # half of the kept fifth of 320 weights goes, and as many come
        assert next(op for op in found if op.name == "last.weight.change").elements == 64


def test_zeros_that_a_model_holds_may_be_its_masks() -> None:
    torch.manual_seed(0)
    zeroed, _ = prune(Small(), "magnitude:0.3", first_and_last_dense=False)
    model, pruning = prune(zeroed, "static:held")
    step = capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning)
    masked = {op.layer: step.pattern_of(op, 2).density for op in step.einsums if op.phase == "WU"}
    assert masked == {
        name: pytest.approx(float((layer.weight != 0).float().mean())) for name, layer in zeroed.named_children()
    }


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("rigl:0.2:erk:drop=1.5", "drop=1.5: the share of weights that are replaced lies in [0, 1]"),
        ("rigl:0.2:DT=0", "DT=0: masks change every 1 or more whole steps"),
        ("static:0", "give a density above 0"),
        ("static:1.2", "density 1.2 is outside [0, 1]"),
        ("static:0.5:global", "unknown distribution 'global'"),
        ("set:held", "does not fit its grammar"),
        ("rigl:0.2:DT=5:DT=50", "does not fit its grammar"),
        ("gmp:0.5:drop=0.3", "does not fit its grammar"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(recipe: str, says: str) -> None:
    with pytest.raises(WorkloadError, match="recipe") as error:
        prune(Small(), recipe)
    assert says in str(error.value)


def test_densities_come_from_a_file_of_the_same_model(tmp_path) -> None:
    file = tmp_path / "densities.csv"
    file.write_text("layer,density\nfirst,0.5\nlast.weight,0.1\n")
    _, pruning = prune(Small(), f"magnitude:@{file}")
    assert {name: layer.weight["FF"].density for name, layer in pruning.layers.items()} == {
        "first.weight": 0.5,
        "last.weight": 0.1,
    }
    assert pruning.kept_dense == {"grouped.weight": f"not in {file}"}
    for text, says in (
        ("layer,density\nfirst,0.5\nlayer3.conv,0.1\n", "names the layer 'layer3.conv'"),
        ("layer,density\nfirst,1.5\n", "density 1.5 of 'first'"),
        ("layer,density\nfirst,0.5\nfirst,0.5\n", "twice"),
        ("name,share\nfirst,0.5\n", "needs rows of the columns layer and density"),
        ("density,layer\n0.5\n", "has 1 cells"),
    ):
        file.write_text(text)
        with pytest.raises(WorkloadError) as error:
            prune(Small(), f"static:@{file}")
        assert says in str(error.value)
    with pytest.raises(WorkloadError, match="cannot be read"):
        prune(Small(), f"static:@{tmp_path}/none.csv")


def test_only_masks_that_move_have_a_step_that_changes_them() -> None:
    model, pruning = prune(Small(), "static:0.5")
    with pytest.raises(WorkloadError, match="masks that stay"):
        capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning, mask_update="only")
    with pytest.raises(WorkloadError, match="choose amortised"):
        capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning, mask_update="often")
    with pytest.raises(WorkloadError, match="unknown optimizer 'lion'"):
        capture(model, torch.randn(2, 3, 8, 8), training=True, pruning=pruning, optimizer="lion:sparse")

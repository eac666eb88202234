"""Chains of recipes: in which order they come, and what they remember of each other."""

from __future__ import annotations

import inspect
from typing import get_args, get_type_hints

import pytest
import torch
from small_models import copies, mlp, unchanged

from zerocast.simulator import simulate
from zerocast.workloads import capture, transforms
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import NM
from zerocast.workloads.pruning import Change
from zerocast.workloads.recipes import chain, prune
from zerocast.workloads.schedules.schedule import density_of, with_density
from zerocast.workloads.transforms.grammar import TRANSFORMS


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_every_transform_has_its_function(name: str) -> None:
    known = TRANSFORMS[name]
    function = getattr(transforms, known.function)
    assert function.__doc__
    parameters = inspect.signature(function).parameters
    taken = {each for each, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    for options in (get_type_hints(function)[each] for each in set(parameters) - taken):
        taken |= set(get_args(options)[0].__annotations__)
    assert known.scoped == ({"dense", "ends"} <= taken)
    assert known.follows == ("inputs" in taken)


def test_transforms_change_the_module_and_recipes_prune_what_is_there() -> None:
    model, x = mlp(16, 32, 24, 8), torch.randn(4, 16)
    before = copies(model)
    pruned, pruning = prune(model, "lowrank:4+nm:2:4", x, first_and_last_dense=False)
    assert unchanged(model, before)
    assert set(pruning.layers) == {f"{at}.{part}.weight" for at in (0, 1, 2) for part in ("down", "up")}
    assert all(layer.weight["FF"] == NM(2, 4, "c") for layer in pruning.layers.values())
    assert pruning.changes_module and pruning.recipe == "lowrank:4+nm:2:4"
    assert pruning.account[1] == Change("1", "rank 4", 32 * 24 + 24, 4 * (32 + 24) + 24, 32 * 24, 4 * (32 + 24))
    workload = capture(pruned, x, pruning=pruning)
    assert workload.macs == 4 * 4 * (16 + 32 + 32 + 24 + 24 + 8)
    assert workload.meta["account"][0][:2] == ("0", "rank 4")
    assert set(workload.layers.values()) == {""}


def test_what_was_decided_before_holds_beside_what_comes() -> None:
    model = mlp(16, 32, 24, 8)
    changed, first = prune(model, "lowrank:4@0|1")
    pruned, both = prune(changed, "nm:2:4", dense=["0"], before=first)
    assert both.recipe == "lowrank:4@0|1+nm:2:4"
    assert both.account == first.account
    assert set(both.layers) == {"1.down.weight", "1.up.weight"}
    capture(pruned, torch.randn(4, 16), pruning=both)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nm:2:4", ["nm:2:4"]),
        ("channel:0.5+nm:2:4", ["channel:0.5", "nm:2:4"]),
        ("lowrank:8@a.*|b + static:0.5:erk", ["lowrank:8@a.*|b", "static:0.5:erk"]),
    ],
)
def test_a_chain_is_taken_apart(text: str, parts: list[str]) -> None:
    assert [recipe.text for recipe in chain(text)] == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nm:2:4+lowrank:8", "lowrank:8 changes the layers in which nm:2:4 leaves zeros; write it first"),
        ("nm:2:4+", "unknown recipe ''"),
        ("lowrank", "does not fit its grammar lowrank:R"),
        ("lowrank:0", "'0' must be a whole number of 1 or more"),
        ("lowrank:2.5", "'2.5' is no share"),
        ("lowrank:8@", "does not fit its grammar lowrank:R"),
        ("lowrank:8@fc.*", "recipe 'lowrank:8@fc.\\*': @fc.\\* matches no linear layer or convolution; known: 0, 1"),
        ("lowrank:99", "changes nothing of Sequential: 1.weight: rank 99 is above the smaller side of its 24 x 32"),
        ("rigl:0.5+set:0.5", "both move their masks"),
    ],
)
def test_wrong_chains_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        prune(mlp(16, 32, 24, 8), text)


def test_densities_of_chains() -> None:
    assert density_of("nm:2:4+magnitude:0.5") == 0.25
    assert density_of("lowrank:8+nm:2:4") != density_of("lowrank:8+nm:2:4")  # NaN: ranks are no zeros
    assert with_density("lowrank:8+magnitude:erk", 0.25) == "lowrank:8+magnitude:0.25:erk"
    assert with_density("lowrank:8+magnitude:erk", 1.0) == "lowrank:8"


def test_the_zeros_of_two_recipes_are_those_of_both() -> None:
    model = mlp(16, 32)
    once, first = prune(model, "magnitude:0.5", first_and_last_dense=False)
    pruned, both = prune(once, "nm:2:4", first_and_last_dense=False, before=first)
    pattern = both.layers["0.weight"].weight["FF"]
    kept = sum(min(int((group != 0).sum()), 2) for group in once[0].weight.reshape(-1, 4))
    assert pattern.density == kept / 512 == float((pruned[0].weight != 0).sum()) / 512 < 0.5
    assert pattern.groups == NM(2, 4, "c")
    chained, same = prune(model, "magnitude:0.5+nm:2:4", first_and_last_dense=False)
    assert same.layers == both.layers and torch.equal(chained[0].weight, pruned[0].weight)
    with pytest.raises(WorkloadError, match=r"both prune '0\.weight', whose zeros only real weights"):
        prune(mlp(16, 32).to("meta"), "magnitude:0.5+nm:2:4", first_and_last_dense=False)
    with pytest.raises(WorkloadError, match=r"both prune '0\.weight'"):
        prune(model, "magnitude:0.5+bdwp:2:4", first_and_last_dense=False)


def test_bits_are_stored_and_the_later_of_two_counts() -> None:
    model, x = mlp(16, 32, 24, 8), torch.randn(4, 16)
    pruned, pruning = prune(model, "nm:2:4+bits:8+bits:6@1", x, first_and_last_dense=False)
    workload = capture(pruned, x, pruning=pruning)
    assert {name: tensor.dtype for name, tensor in workload.tensors.items() if name.endswith("weight")} == {
        "0.weight": "int8", "1.weight": "int6", "2.weight": "int8"
    }  # fmt: skip
    assert workload.tensors["1.weight"].bytes == 32 * 24 * 6 // 8
    assert workload.scale_bytes == 2 * (16 * 32 + 32 * 24 + 24 * 8) / 128
    assert simulate(workload, "systolic-32x32").rows[1].latency_s > 0
    with pytest.raises(WorkloadError, match=r"'0\.weight' is trained, and weights of int8 are not; freeze it"):
        capture(pruned, x, pruning=pruning, training=True)
    adapted, pruning = prune(model, "lora:4:0|1|2+bits:4", x, first_and_last_dense=False)
    step = capture(adapted, x, pruning=pruning, training=True)
    assert {step.tensors[f"{at}.base.weight"].dtype for at in (0, 1, 2)} == {"int4"}
    for text, message in (("bits:9", "give 2 to 8"), ("bits:1", "whole number of 2 or more")):
        with pytest.raises(WorkloadError, match=message):
            prune(model, text)


def test_what_a_later_step_takes_away_is_forgotten_but_no_zeros_are() -> None:
    model, x = mlp(16, 32, 24, 8), torch.randn(4, 16)
    changed, pruning = prune(model, "channel:0.5+lora:4:1+nm:2:4", x)
    assert pruning.pruned == {"0.weight", "2.weight", "1.base.weight"}
    assert capture(changed, x, pruning=pruning).macs == 4 * (16 * 16 + 16 * 12 + 4 * (16 + 12) + 12 * 8)
    zeros, before = prune(model, "nm:2:4")
    with pytest.raises(WorkloadError, match=r"'lora:4:1' replaces '1\.weight', in which 'nm:2:4' left zeros"):
        prune(zeros, "lora:4:1", before=before)

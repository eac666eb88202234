"""What recipes may say, and what is answered where they say something else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_models import mlp

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes import parse, prune, recipes
from zerocast.workloads.transforms.grammar import TRANSFORMS
from zerocast.workloads.transforms.groups.order import Choice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nm:2:4", {"n": 2, "m": 4}),
        ("magnitude:0.1", {"density": 0.1, "distribution": "uniform"}),
        ("magnitude:sparsity=0.9:erk", {"density": 0.1, "distribution": "erk"}),
        ("magnitude:density=0.25:global", {"density": 0.25, "distribution": "global"}),
        ("block:16x8:0.5", {"density": 0.5, "block": (16, 8)}),
        ("channel:sparsity=0.3", {"arguments": (("keep", 0.7),)}),
        ("channel:0.3:inner", {"arguments": (("keep", 0.3), ("inner", True))}),
        ("channel:@plan.yaml", {"arguments": (("keep", "plan.yaml"),)}),
        ("channel:@groups.py:mine", {"arguments": (("keep", "groups.py:mine"),)}),
        (
            "channel:0.5:random:7:round=8",
            {"arguments": (("keep", 0.5), ("choice", Choice(order="random", seed=7, grain=8)))},
        ),
        ("heads:24@a.*|b", {"arguments": (("keep", 24), ("layers", ("a.*", "b")))}),
        ("nested:0.5@depth", {"arguments": (("share", 0.5), ("along", ("depth",)))}),
        ("erase:a.1,a.2", {"arguments": (("layers", ("a.1", "a.2")),)}),
    ],
)
def test_recipes_are_read(text: str, expected: dict[str, object]) -> None:
    recipe = parse(text)
    assert recipe.family == text.partition(":")[0]
    assert {name: getattr(recipe, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("magnitud:0.1", "did you mean 'magnitude'"),
        ("nm:4:2", "N must lie between 1 and M = 2"),
        ("nm:0:4", "N must lie between 1"),
        ("nm:2", "grammar nm:N:M"),
        ("bdwp:2:x", "grammar bdwp:N:M"),
        ("dense:1", "grammar dense"),
        ("magnitude:1.5", r"density 1.5 is outside \[0, 1\]"),
        ("magnitude:nan", r"outside \[0, 1\]"),
        ("magnitude:sparsity=-0.1", "sparsity -0.1 is outside"),
        ("magnitude:zeros=0.9", "DENSITY is the share of nonzeros"),
        ("magnitude:0.1:erc", "did you mean 'erk'"),
        ("block:16:0.5", "grammar block:BHxBW:DENSITY"),
        ("block:0x4:0.5", "grammar block:BHxBW:DENSITY"),
        ("channel:0", "share above 0"),
        ("channel:0.5:outer", "does not fit its grammar channel:R"),
        ("heads:1.5", "'1.5' is no share"),
        ("ffn:", "'' is no share"),
        ("target:0.5", "does not fit its grammar target:flops=R"),
        ("channel:0.5:round=x", "'x' must be a whole number"),
        ("channel:0.5:even=8", "no option 'even'"),
        ("", "unknown recipe ''"),
    ],
)
def test_wrong_recipes_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        prune(mlp(8, 8, 8), text)


def test_the_list_of_recipes_needs_no_torch() -> None:
    code = "import sys; from zerocast.workloads.recipes import recipes; recipes(); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
    moving = {"static", "rigl", "set", "granet", "gmp"}
    pruning = moving | {"dense", "nm", "vnm", "bdwp", "srste", "sdgp", "magnitude", "block"}
    assert set(recipes()) == pruning | set(TRANSFORMS)

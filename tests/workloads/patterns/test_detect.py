"""What real zeros are recognised for: masks made by hand, whose law is known from how they were made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.workloads import Workload, capture, prune
from zerocast.workloads.files.store import load_workload, save
from zerocast.workloads.patterns import Mask
from zerocast.workloads.patterns.detect import Found, detect
from zerocast.workloads.recipes.nm import nm_mask


def nm_bits(rows: int, columns: int, n: int, m: int) -> np.ndarray:
    """n of every m along the second axis, chosen at random."""
    scores = np.random.default_rng(3).random((rows, columns // m, m))
    return (scores.argsort(axis=-1).argsort(axis=-1) < n).reshape(rows, columns)


def found(bits: np.ndarray) -> Found:
    return detect(bits, ("k", "c"), ("c", "k"))


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 2), (1, 4), (2, 8), (3, 8), (5, 10), (4, 16), (1, 32)])
def test_the_tightest_groups_with_the_smallest_m(n: int, m: int) -> None:
    """2:4 is 4:8 too, and 2:8 keeps to 2:4: neither is said. 5:10 needs a rank that 10 divides."""
    columns = 160 if m == 10 else 128
    what = found(nm_bits(64, columns, n, m))
    assert what.pattern.laws == ((n, m, "c"),)
    assert what.words.startswith(f"{n}:{m} along c; ")
    assert what.words.endswith(f"{n / m:.1%} nonzero")


def test_groups_along_the_outputs_and_in_both_directions() -> None:
    assert found(nm_bits(64, 128, 2, 4).T).pattern.laws == ((2, 4, "k"),)
    both = np.tile(np.eye(4, dtype=bool) | np.roll(np.eye(4, dtype=bool), 1, axis=1), (16, 16))
    assert found(both).pattern.laws == ((2, 4, "c"), (2, 4, "k"))
    assert found(both).pattern.facing({"k"}).groups.rank == "k"  # type: ignore[union-attr]


def test_random_zeros_have_no_law() -> None:
    """Sixteen independent elements hold 14 at most often enough: that is no 14:16."""
    what = found(np.random.default_rng(0).random((64, 128)) < 0.5)
    assert what.pattern.laws == ()
    assert what.words.startswith("no structure, ")


def test_groups_that_hold_less_are_groups_still() -> None:
    """An empty output channel breaks no 2:4, and is told beside it."""
    bits = nm_bits(64, 128, 2, 4)
    bits[5] = False
    what = found(bits)
    assert what.pattern.laws == ((2, 4, "c"),)
    assert what.words == "2:4 along c; 1 of 64 along k are empty; 49.2% nonzero"


def test_what_nearly_fits_is_said() -> None:
    """16 of 64 x 32 groups with a third nonzero: 99.2 % keep to 2:4, all to 3:4."""
    bits = nm_bits(64, 128, 2, 4)
    groups = bits.reshape(-1, 4)
    groups[:16] = [True, True, True, False]
    what = found(bits)
    assert what.pattern.laws == ((3, 4, "c"),)
    assert what.words.endswith("99.2 % of groups along c are 2:4")


def test_empty_rows_and_columns_explain_themselves() -> None:
    bits = np.ones((64, 128), dtype=bool)
    bits[:16] = False
    bits[:, :32] = False
    what = found(bits)
    assert what.words == "16 of 64 along k are empty; 32 of 128 along c are empty, nothing else is zero"
    assert what.pattern.laws == ()


def test_every_other_channel_empty_is_2_of_4_all_the_same() -> None:
    """An array that skips 2:4 groups does not ask why they hold no more."""
    bits = np.ones((64, 128), dtype=bool)
    bits[:, ::2] = False
    what = found(bits)
    assert what.words == "1:2 along c; 64 of 128 along c are empty, nothing else is zero"
    assert what.pattern.laws == ((1, 2, "c"),)


def test_blocks() -> None:
    kept = np.random.default_rng(1).random((8, 16)) < 0.5
    what = found(np.kron(kept, np.ones((8, 4), dtype=bool)))
    assert what.words.startswith("blocks of 8 k x 4 c; ")


def model(n: int, m: int) -> nn.Sequential:
    """A convolution and two linear layers, each N:M along its input channels, per kernel position."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(32, 64, 3), nn.Flatten(0), nn.Unflatten(0, (-1, 64)), nn.Linear(64, 128), nn.Linear(128, 64)
    )
    with torch.no_grad():
        for layer in (net[0], net[3], net[4]):
            layer.weight.mul_(nm_mask(layer.weight, n, m, 1))  # type: ignore[union-attr,operator,arg-type]
    return net


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("accelerator", ["nvidia-h100-sxm", "sat-vcu1525", "mcbbs-arria10"])
def test_own_zeros_cost_what_the_recipe_costs(accelerator: str, training: bool) -> None:
    x = torch.zeros(4, 32, 10, 10)
    dense = model(4, 4)
    told, pruning = prune(dense, "nm:2:4", first_and_last_dense=False)
    chip = load(accelerator)
    recipe = simulate(capture(told, x, training=training, pruning=pruning), chip)
    own = simulate(capture(model(2, 4), x, training=training), chip)
    assert (own.latency_s, own.energy_j) == (recipe.latency_s, recipe.energy_j)
    assert own.footprint == recipe.footprint
    assert set(own.found.values()) == {"2:4 along c; 50.0% nonzero"}
    assert len(own.found) == 3


def test_the_mask_stays_with_its_law(tmp_path: object) -> None:
    """Saved and read again; each pass takes the groups along its own reduction."""
    weight = np.tile(np.eye(4) + np.roll(np.eye(4), 1, axis=1), (16, 16))
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(weight))
    workload = capture(net, torch.zeros(2, 64), training=True)
    again = load_workload(save(workload, f"{tmp_path}/w.npz"))
    for each in (workload, again):
        assert groups_of(each, "1") == "c"
        assert groups_of(each, "1.BP") == "k"
    assert again.found == workload.found == {"1.weight": "2:4 along c; 2:4 along k; 50.0% nonzero"}


def groups_of(workload: Workload, name: str) -> str:
    pattern = workload.pattern_of(next(op for op in workload.einsums if op.name == name), 1)
    assert isinstance(pattern, Mask)
    assert pattern.groups is not None
    return pattern.groups.rank


def test_engines_meet_the_mask_and_not_its_law() -> None:
    """A 2:4 mask costs an engine that deals masks to lanes what the same bits without a law cost it."""
    workload = capture(model(2, 4)[0], torch.zeros(1, 32, 10, 10))  # type: ignore[arg-type]
    (op,) = workload.einsums
    mask = op.patterns[1]
    assert isinstance(mask, Mask)
    assert mask.groups is not None
    bare = workload.with_ops((replace(op, patterns={1: replace(mask, laws=())}),))
    with_law, without = (simulate(each, load("scnn"), fidelity="tile") for each in (workload, bare))
    assert with_law.rows[0].cycles == without.rows[0].cycles

"""A run under a schedule is the sum of its steps, priced once each."""

import json
from contextlib import closing
from pathlib import Path

import pytest

import zerocast
from zerocast.analysis.cli import main
from zerocast.analysis.explore.pricing.networks import Networks
from zerocast.analysis.explore.pricing.store import Store
from zerocast.analysis.explore.pricing.sweep import Sweep
from zerocast.analysis.run.network import Network, compare, lower, silent
from zerocast.analysis.train import Trained, train
from zerocast.analysis.train.captured import Lowering
from zerocast.workloads.schedules import parse_schedule

ARRAY = "systolic-32x32"
MLP = """
import torch
def mlp():
    linear = torch.nn.Linear
    return torch.nn.Sequential(linear(64, 128), linear(128, 128), linear(128, 10)), torch.zeros(8, 64)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("model") / "mine.py"
    file.write_text(MLP)
    return f"{file}:mlp"


def run(
    model: str, text: str, steps: int, folder: Path, recipe: str | None = None, accelerator: str = ARRAY
) -> Trained:
    return train(Network(model, training=True), parse_schedule(text, recipe), steps, accelerator, folder)


def test_a_constant_schedule_costs_its_steps(model: str, tmp_path: Path) -> None:
    trained = run(model, "constant:magnitude:0.5", 1000, tmp_path)
    module, inputs = zerocast.build(model)
    pruned, pruning = zerocast.prune(module.to("meta"), "magnitude:0.5")
    step = zerocast.simulate(zerocast.capture(pruned, inputs, training=True, pruning=pruning), ARRAY)
    assert trained.time_s == pytest.approx(1000 * step.latency_s, rel=1e-12)
    assert trained.total("energy_j") == pytest.approx(1000 * step.energy_j, rel=1e-12)
    assert trained.peak_bytes == step.footprint.peak_bytes
    # first layer and classifier stay dense: 64 x 128 and 128 x 10 weights and 266 biases, beside half of 128 x 128
    assert trained.average_weights == 64 * 128 + 128 * 10 + 266 + 128 * 128 / 2


def test_operations_of_a_decay_follow_from_its_stages(model: str, tmp_path: Path) -> None:
    """Of the middle layer FF and BP are pruned, WU is dense, for each of 8 samples."""
    trained = run(model, "nm-decay:sparsify:1:8:dense=20%", 500, tmp_path)
    density = 0.2 + 0.2 * (7 / 8 + 4 / 8 + 2 / 8 + 1 / 8)
    middle, others = 8 * 128 * 128, 8 * (64 * 128 * 2 + 128 * 10 * 3)
    assert trained.total("flops") == pytest.approx(2 * 500 * (middle * (1 + 2 * density) + others), rel=1e-12)
    assert trained.dense.flops == 2 * 500 * (3 * middle + others)
    assert trained.density == pytest.approx(density)


def test_weights_over_a_ramp_are_the_closed_form(model: str, tmp_path: Path) -> None:
    trained = run(model, "cubic:0-0.8@25%-75%", 10_000, tmp_path)
    others = trained.parameters - 128 * 128
    assert trained.average_weights == pytest.approx(others + 0.5 * 128 * 128, rel=1e-12)
    assert trained.pruned == pytest.approx(0.8 * 128 * 128) and trained.regrown == 0


def test_a_ramp_is_refined_where_its_cost_bends(tmp_path: Path) -> None:
    """Sparse kernels of a GPU pay from some sparsity on: the cost has a corner, and what is left of it is stated."""
    file, gpu = tmp_path / "wide.py", "nvidia-rtx3090"
    file.write_text(MLP.replace("128", "4096").replace("zeros(8", "zeros(2048"))
    ramp = run(f"{file}:mlp", "linear:0-0.98@0%-100%", 1000, tmp_path / "out", accelerator=gpu)
    assert 5 < ramp.distinct <= 17
    assert 0 < ramp.bend < 0.03
    levels = run(f"{file}:mlp", "linear:0-0.98@0%-100%:mask=60", 1000, tmp_path / "out", accelerator=gpu)
    assert levels.bend == 0  # each of 17 is priced
    # a level holds its lower sparsity until the next mask, so a ramp is half a level of 17 ahead
    assert ramp.parts[0].time_s == pytest.approx(levels.parts[0].time_s, rel=0.03)
    assert ramp.time_s < ramp.dense.time_s


def test_chores_are_priced_as_often_as_they_happen(model: str, tmp_path: Path) -> None:
    trained = run(model, "linear:0-0.5@50%-100%:mask=10:average=100", 1000, tmp_path)
    mask, average = (next(part for part in trained.parts if part.what.startswith(w)) for w in ("mask", "average"))
    assert (mask.steps, average.steps, trained.masks_made) == (50, 5, 50)
    # fp32 masters are read twice for a mask of a byte, beside 1,024 counts of 4 bytes
    assert mask.dram_bytes == 50 * (2 * 4 + 1) * 128 * 128 + 50 * 4 * 1024


def test_iterative_pruning_regrows_nothing_and_a_switch_does(model: str, tmp_path: Path) -> None:
    imp = run(model, "imp:2:0.5", 100, tmp_path)
    assert imp.steps == 300 and imp.masks_made == 2
    assert imp.pruned == 0.75 * 128 * 128
    back = run(model, "switch:magnitude:0.25@90%,dense", 100, tmp_path)
    assert back.regrown == 0.75 * 128 * 128


def test_a_switch_from_factors_to_dense_layers_prices_both_forms(model: str, tmp_path: Path) -> None:
    trained = run(model, "switch:lowrank:8@0@90%,dense", 100, tmp_path)
    factors, dense = trained.parts
    assert dense.weights - factors.weights == 64 * 128 - 8 * (64 + 128)
    # of 8 samples: FF and WU of what reads the input, FF, BP and WU of the factor behind it
    saved = 8 * (2 * 64 * 128 - 2 * 64 * 8 - 3 * 8 * 128)
    assert dense.flops / dense.steps - factors.flops / factors.steps == pytest.approx(2 * saved)


def test_a_second_run_prices_nothing(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(model, "linear:0-0.5@0%-100%", 100, tmp_path)
    monkeypatch.setattr(Sweep, "price", lambda *_: pytest.fail("priced again"))
    again = run(model, "linear:0-0.5@0%-100%", 200, tmp_path)
    assert again.time_s == pytest.approx(2 * first.time_s)


def test_real_masks_of_explore_and_laws_of_a_run_do_not_mix_in_a_folder(model: str, tmp_path: Path) -> None:
    network = Network(model, "magnitude:0.5", training=True)
    with closing(Store(tmp_path, writing=True)) as store:
        sources = {Networks(tmp_path, store, silent, lowering).source(network) for lowering in (lower, Lowering())}
    assert len(sources) == 2


def test_the_command_writes_table_totals_and_picture(model: str, tmp_path: Path, capsys) -> None:
    asked = ["train", model, "--schedule", "cubic:0-0.8@25%-75%", "--steps", "1000", "--accelerator", ARRAY]
    assert main([*asked, "--recipe", "magnitude:erk", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "against dense" in said and "straight lines" in said
    assert f"{ARRAY} saves no time by these zeros" in said
    facts = json.loads((tmp_path / "out" / "train.json").read_text())
    assert facts["steps"] == 1000 and facts["average_weights"] < facts["parameters"]
    assert (tmp_path / "out" / "train.csv").read_text().count("\n") == 4
    assert (tmp_path / "out" / "train.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--schedule": "cubic:0.8-0@25%-75%"}, "goes down"),
        ({"--schedule": "cube:0-0.8@25%-75%"}, "unknown schedule"),
        ({"--schedule": "switch:nm:2:4@30%,dense@30%"}, "covers 0.6"),
        ({"--steps": "0"}, "must be 1 or more"),
        ({"--schedule": "constant:nm:2:4", "--recipe": "bdwp"}, "names its recipes itself; drop --recipe"),
        ({"--dense": "0"}, "--dense: constant:dense has no recipe"),
        ({"--set": "compute.rows=0"}, "error: accelerator"),
        ({"--optimizer": "adamq"}, "use sgd, sgd_momentum, adam, adamw"),
    ],
)
def test_mistakes_are_one_line(model: str, tmp_path: Path, capsys, change: dict[str, str], message: str) -> None:
    options = {"--schedule": "constant:dense", "--steps": "10", "--accelerator": ARRAY, "--out": str(tmp_path / "o")}
    assert main(["train", model, *(part for pair in (options | change).items() for part in pair)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize("recipe", ["static:0.25", "rigl:0.25:uniform:DT=10"])
def test_sparse_training_compares_with_the_dense_step(model: str, tmp_path: Path, recipe: str) -> None:
    """Masked weight gradients are no operand, and ops of the mean step are none of the dense one."""
    network = Network(model, recipe, training=True)
    result, dense = compare(network, zerocast.load(ARRAY), silent)
    plain, _ = compare(Network(model, training=True), zerocast.load(ARRAY), silent)
    assert dense is not None
    assert dense.latency_s == pytest.approx(plain.latency_s, rel=1e-12)
    assert result.total("effectual_macs") < dense.total("effectual_macs") == plain.total("effectual_macs")


def test_moving_masks_swap_their_drop_every_dt_steps(model: str, tmp_path: Path) -> None:
    """Of all layers a quarter is kept, of which three tenths are dropped every 10 steps, for random ones elsewhere."""
    trained = run(model, "constant:set:0.25:uniform:DT=10:drop=0.3", 1000, tmp_path)
    pruned = 128 * 128 + 128 * 10  # with one density for all, the first layer stays dense
    assert trained.total("swapped") == pytest.approx(100 * 0.3 * 0.25 * pruned, rel=1e-3)
    assert (trained.pruned, trained.regrown) == (0, 0)
    assert run(model, "constant:static:0.25", 1000, tmp_path).total("swapped") == 0


def test_stages_of_a_run_need_no_whole_steps(model: str, tmp_path: Path, capsys) -> None:
    asked = ["train", model, "--schedule", "nm-decay:sparsify:1:4", "--steps", "1000", "--accelerator", ARRAY]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("srste")]
    assert [row[1:3] for row in rows] == [["0", "333.3"], ["333.3", "333.3"], ["666.7", "333.3"]]

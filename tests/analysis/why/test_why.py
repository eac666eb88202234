"""Where a layer's time goes sums to its latency, and every change keeps its promise when it is run."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.analysis.run.network import lower, silent
from zerocast.analysis.units import si
from zerocast.analysis.why import CAUSES, best_changes, load_record, waterfall
from zerocast.simulator import simulate

FAMILIES = ("sat-vcu1525", pytest.param("scnn", marks=pytest.mark.slow), "nvidia-h100-sxm")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("why")
    command = ["run", "resnet9", "--prune", "magnitude:0.3", "--accelerator", request.param, "--baseline", "none"]
    assert main([*command, "--out", str(out)]) == 0
    return out


def _latency_s(folder: Path, layer: str) -> float:
    with (folder / "ops.csv").open() as file:
        return sum(float(row["latency_s"]) for row in csv.DictReader(file) if row["layer"] == layer)


def test_parts_sum_to_the_latency(folder: Path) -> None:
    asked = load_record(folder)
    result = simulate(lower(asked.network, silent), load(asked.accelerator, asked.settings), **asked.options)
    layers = list(dict.fromkeys(row.layer for row in result.rows))
    for layer in layers:
        rows = [row for row in result.rows if row.layer == layer]
        parts = waterfall(rows, result.clock_hz, load(asked.accelerator).launch_s)
        assert set(parts) <= set(CAUSES)
        assert math.isclose(sum(parts.values()), _latency_s(folder, layer), rel_tol=1e-12)
        assert all(seconds > -1e-9 * sum(parts.values()) for seconds in parts.values())


def layers_of_the_network() -> list[Any]:
    others = ("layer1.0", "layer3.0", "residual2.0.0", "fc")
    return ["layer2.0", *(pytest.param(layer, marks=pytest.mark.slow) for layer in others)]


@pytest.mark.parametrize("layer", layers_of_the_network())
def test_each_change_gives_what_it_promises(folder: Path, layer: str, tmp_path: Path) -> None:
    asked = load_record(folder)
    changes = best_changes(asked, lower(asked.network, silent), layer)
    assert changes and all(change.ratio < 0.99 for change in changes)
    assert [change.ratio for change in changes] == sorted(change.ratio for change in changes)
    before = _latency_s(folder, layer)
    for change in changes:
        words = ["run", "resnet9", "--accelerator", asked.accelerator, "--baseline", "none", "--out", str(tmp_path)]
        recipe = [] if change.option.startswith("--prune") else ["--prune", "magnitude:0.3"]
        assert main([*words, *recipe, *change.option.split()]) == 0
        assert math.isclose(_latency_s(tmp_path, layer), before * change.ratio, rel_tol=1e-9), change.option


def test_the_command_tells_both(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", str(folder), "layer2.0"]) == 0
    out = capsys.readouterr().out
    assert "ideal" in out and "%" in out and "--" in out


def test_a_block_is_the_layers_below_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", str(folder), "layer2"]) == 0
    out = capsys.readouterr().out
    below = sum(_latency_s(folder, f"layer2.{part}") for part in range(4))
    assert f"layer2 on {load_record(folder).accelerator}: {si(below, 's')} in" in out


def test_files_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef net(batch=1):\n    return torch.nn.Linear(32, 64), torch.zeros(batch, 32)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "mine.py:net", "--accelerator", "systolic-32x32", "--out", "o", "--baseline", "none"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_record(tmp_path / "o").network.model == f"{tmp_path / 'mine.py'}:net"
    assert main(["why", str(tmp_path / "o"), "(model)"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [([".", "x"], "holds no asked.json: give the --out folder"), (["broken", "x"], "is no record of this program")],
)
def test_mistakes(words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                  capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("broken").mkdir()
    Path("broken/asked.json").write_text("{}")
    assert main(["why", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_layer_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", str(folder), "layer2.9"]) == 2
    assert "no layer 'layer2.9'; did you mean" in capsys.readouterr().err

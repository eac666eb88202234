"""Whole training runs in a space: schedules and steps as parameters, totals as results."""

from __future__ import annotations

from pathlib import Path

import pytest

from zerocast.analysis.cli import main
from zerocast.analysis.explore.command import explore
from zerocast.analysis.explore.show.table import read_table
from zerocast.analysis.run.network import Network
from zerocast.analysis.train import train
from zerocast.workloads.schedules import parse_schedule

ARRAY = "sat-vcu1525"
MLP = """
import torch
def mlp():
    linear = torch.nn.Linear
    return torch.nn.Sequential(linear(64, 128), linear(128, 128), linear(128, 10)), torch.zeros(8, 64)
"""
SPACE = """
name: runs
workloads: [{model: "mine.py:mlp", training: true, prune: bdwp, schedule: "nm-decay:sparsify:1:4", steps: 1000}]
accelerator: sat-vcu1525
parameters:
  workload.schedule: ["nm-decay:sparsify:1:4", "nm-decay:fine:1:4:dense=50%"]
  workload.steps: [1000, 2000]
  technology.clock_hz: [1.0e+8, 2.0e+8]
objectives: [latency_s, energy_j]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MLP)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path / "space.yaml"


def test_each_design_costs_what_train_says(file: Path, tmp_path: Path) -> None:
    assert explore(file, tmp_path / "out", workers=1) == 0
    frame = read_table(tmp_path / "out").frame
    assert len(frame) == 8 and set(frame["status"]) == {"ok"}
    for row in frame.to_dict("records"):
        schedule, steps = parse_schedule(row["workload.schedule"], "bdwp"), row["workload.steps"]
        network = Network(f"{tmp_path}/mine.py:mlp", training=True)
        clock = {"technology.clock_hz": row["technology.clock_hz"]}
        trained = train(network, schedule, steps, ARRAY, tmp_path / "train", settings=clock)
        assert row["latency_s"] == pytest.approx(trained.time_s, rel=1e-9)
        assert row["energy_j"] == pytest.approx(trained.total("energy_j"), rel=1e-9)
        assert row["peak_bytes"] == trained.peak_bytes
        assert row["throughput_per_s"] == pytest.approx(8 * steps / trained.time_s)
        assert f"--schedule {row['workload.schedule']}" in row["command"] and "--recipe bdwp" in row["command"]


def test_masks_that_are_made_and_averages_count(file: Path, tmp_path: Path) -> None:
    text = "linear:0-0.8@0%-100%:mask=250:average=500"
    file.write_text(SPACE.replace('prune: bdwp, schedule: "nm-decay:sparsify:1:4"', f'schedule: "{text}"').replace(
        '  workload.schedule: ["nm-decay:sparsify:1:4", "nm-decay:fine:1:4:dense=50%"]\n', ""
    ))  # fmt: skip
    assert explore(file, tmp_path / "out", workers=1) == 0
    row = read_table(tmp_path / "out").frame.iloc[0]
    clock = {"technology.clock_hz": row["technology.clock_hz"]}
    network = Network(f"{tmp_path}/mine.py:mlp", training=True)
    trained = train(network, parse_schedule(text), 1000, ARRAY, tmp_path / "train", settings=clock)
    assert trained.masks_made == 4
    assert row["latency_s"] == pytest.approx(trained.time_s, rel=1e-9)
    assert row["dram_bytes"] == pytest.approx(trained.total("dram_bytes"), rel=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", steps: 1000", "", "a training run has a schedule and steps"),
        ("training: true, ", "", "add training: true"),
        ("fine:1:4:dense=50%", "fine:1:4:dense=150%", "is no share"),
        ("workload.steps: [1000, 2000]", "workload.steps: [1000, 0]", "steps 0: must be 1 or more"),
        ("workload.steps: [1000, 2000]", "workload.steps: [1000, many]", "'many' is no steps of a workload"),
        ("prune: bdwp", "prune: magnitude", "take nm, bdwp, srste, sdgp"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    text = SPACE.replace(old, new)
    if not new:  # nor does a parameter give it
        text = text.replace("  workload.steps: [1000, 2000]\n", "")
    file.write_text(text)
    assert main(["explore", str(file), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1

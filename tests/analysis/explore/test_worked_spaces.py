"""The spaces that are shipped: they can be read, and hold what the README says."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.analysis.explore.search.designs import count
from zerocast.analysis.explore.show.table import read_table
from zerocast.analysis.explore.space.reading import read_space
from zerocast.simulator import simulate
from zerocast.workloads.files.store import load_workload

FOLDER = Path(str(files("zerocast.analysis") / "spaces"))
DESIGNS = {"lanes-queue": 42, "nm-inference": 10_000, "nm-training": 3_600, "sparse-tensor-core": 108}


def test_every_space_is_known_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(DESIGNS)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_worked_space_holds_what_the_readme_says(name: str) -> None:
    assert count(read_space(FOLDER / f"{name}.yaml")) == DESIGNS[name]
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert f"analysis/spaces/{name}.yaml" in readme and f"{DESIGNS[name]:,} designs" in readme


def test_lanes_run_ahead_as_far_as_their_queue(tmp_path: Path) -> None:
    """Two designs of lanes-queue, with the zeros of the photograph: equal to `simulate`, and the queue pays."""
    text = (FOLDER / "lanes-queue.yaml").read_text(encoding="utf-8")
    text = text.replace("[2, 4, 8, 16, 32, 64]", "[16]").replace("[0, 1, 2, 4, 8, 16, 32]", "[0, 8]")
    (tmp_path / "space.yaml").write_text(text.replace("vgg16_hed_photo.npz", str(FOLDER / "vgg16_hed_photo.npz")))
    assert main(["explore", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    frame = read_table(tmp_path / "out").frame
    without, with_queue = frame["latency_s"]
    assert with_queue < 0.7 * without
    settings = {"skipping.wait": "step", "skipping.arrangements.0.k.tile": 4, "skipping.queue": 8}
    alone = simulate(load_workload(FOLDER / "vgg16_hed_photo.npz"), load("cnvlutin", settings), fidelity="tile")
    assert alone.latency_s == with_queue


def test_a_workload_brings_values_of_the_accelerator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space.yaml").write_text(
        "name: two\naccelerator: sat-vcu1525\nobjectives: [lut]\nparameters: {compute.rows: [8, 16]}\nworkloads:\n"
        f"  - {{label: wide, model: {FOLDER / 'vgg16_hed_photo.npz'}, set: {{sparsity.weight.max_group: 16}}}}\n"
        f"  - {{label: narrow, model: {FOLDER / 'vgg16_hed_photo.npz'}, set: {{sparsity.weight.max_group: 4}}}}\n"
    )
    assert main(["explore", str(tmp_path / "space.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    frame = read_table(tmp_path / "out").frame.set_index(["workload", "compute.rows"])
    assert frame.loc[("wide", 8), "lut"] > frame.loc[("narrow", 8), "lut"]
    assert "--set sparsity.weight.max_group=4" in frame.loc[("narrow", 16), "command"]
    text = (tmp_path / "space.yaml").read_text()
    (tmp_path / "bad.yaml").write_text(text.replace("max_group: 4", "max_grope: 4"))
    capsys.readouterr()
    assert main(["explore", str(tmp_path / "bad.yaml"), "--out", str(tmp_path / "bad")]) == 2
    assert "`set` of workload 'narrow'" in capsys.readouterr().err
    (tmp_path / "twice.yaml").write_text(text.replace("compute.rows: [8", "sparsity.weight.max_group: [8"))
    assert main(["explore", str(tmp_path / "twice.yaml"), "--out", str(tmp_path / "bad")]) == 2
    assert "keep one" in capsys.readouterr().err

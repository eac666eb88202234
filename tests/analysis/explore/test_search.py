"""How good a search is, against the whole grid."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypervolume import hypervolume

from zerocast.analysis.cli import main
from zerocast.analysis.explore.search.pareto import losses
from zerocast.analysis.explore.show.table import Table, read_table

ROWS = ("compute.rows: [16, 32]", "compute.rows: {from: 4, to: 44, step: 4}")
COLS = ("compute.cols: [16, 32]", "compute.cols: {from: 4, to: 44, step: 4}")
CLOCK = ("{from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}", "{from: 1.0e+8, to: 3.0e+8, step: 2.5e+7}")
SEEDS = 3


@pytest.fixture
def spaces(write_space: Callable[..., Path], tmp_path: Path) -> tuple[Path, Table]:
    """A space of 1,089 designs, and its grid."""
    space = write_space(ROWS, COLS, CLOCK, ("latency_s, energy_j", "latency_s, dsp"))
    assert main(["explore", str(space), "--out", str(tmp_path / "grid"), "--workers", "1"]) == 0
    return space, read_table(tmp_path / "grid")


def volume(table: Table, grid: Table) -> float:
    directions = [o.direction for o in grid.objectives]
    names = [o.name for o in grid.objectives]
    everything = losses(grid.frame[grid.frame["status"] == "ok"][names].to_numpy(), directions)
    found = losses(table.frame[table.frame["status"] == "ok"][names].to_numpy(), directions)
    low, high = everything.min(axis=0), everything.max(axis=0)
    return hypervolume((found - low) / (high - low), np.full(len(names), 1 + 1e-9))


def test_nsga2_finds_the_front_with_a_twentieth_of_the_grid(spaces: tuple[Path, Table], tmp_path: Path) -> None:
    space, grid = spaces
    whole = volume(grid, grid)
    assert len(grid.frame) == 11 * 11 * 9
    trials = len(grid.frame) // 20
    shares = {}
    for method in ("nsga2", "random"):
        found = []
        for seed in range(SEEDS):
            out = tmp_path / f"{method}{seed}"
            shutil.copytree(tmp_path / "grid", out)  # whose store answers
            arguments = ["--method", method, "--trials", str(trials), "--seed", str(seed), "--workers", "1"]
            assert main(["explore", str(space), "--out", str(out), *arguments]) == 0
            table = read_table(out)
            assert len(table.frame) == trials == table.frame["design"].nunique()
            found.append(volume(table, grid) / whole)
        shares[method] = found
    assert min(shares["nsga2"]) >= 0.97
    assert np.mean(shares["nsga2"]) > np.mean(shares["random"])

"""`zerocast explore` and `export` as a user runs them."""

import json
import math
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas
import pytest
from pandas.testing import assert_frame_equal

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.show.table import Table, read_table, yaml_value
from zerocast.analysis.explore.space.reading import read_space
from zerocast.analysis.run.values import overrides
from zerocast.simulator import simulate
from zerocast.simulator.cost import OVER_OPS
from zerocast.simulator.size.size import over_budget
from zerocast.workloads.files.store import load_workload

MANY = ("compute.rows: [16, 32]", "compute.rows: [4, 8, 12, 16, 20, 24, 28, 32, 40, 48]")
COLS = ("compute.cols: [16, 32]", "compute.cols: [4, 8, 12, 16, 20, 24, 28, 32, 40, 48]")


def explore(space: Path, out: Path, *more: str) -> Table:
    assert main(["explore", str(space), "--out", str(out), "--workers", "1", *more]) == 0
    return read_table(out)


def same(one: Table, other: Table) -> None:
    assert_frame_equal(one.frame, other.frame, check_exact=True)


def results(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])


def test_a_grid_gives_what_simulate_gives(
    write_space: Callable[..., Path], net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = write_space(
        ("objectives:", "constraints: ['edp_js < 1.0e-10']\nset: {memories.dram.efficiency: 0.9}\nobjectives:")
    )
    table = explore(space, tmp_path / "out")
    said = capsys.readouterr().out
    frame = table.frame
    assert list(frame["number"]) == list(range(12))
    assert table.parameters == ("compute.rows", "compute.cols", "technology.clock_hz")
    workload = load_workload(net)
    for row in frame.to_dict("records"):
        settings = {name: row[name] for name in table.parameters} | {"memories.dram.efficiency": 0.9}
        machine = load("sat-vcu1525", settings)
        found = simulate(workload, machine)
        sums = {name: found.total(name) for name in OVER_OPS} | {"energy_j": found.energy_j}
        times = {"latency_s": found.latency_s, "static_j": found.static_j, "peak_bytes": found.footprint.peak_bytes}
        assert {name: row[name] for name in sums | times} == sums | times
        assert row["edp_js"] == found.energy_j * found.latency_s
        assert row["throughput_per_s"] == 4 / found.latency_s
        assert row["dsp"] == found.resources["dsp"]
        fits = row["edp_js"] < 1e-10 and not over_budget(machine)
        assert row["status"] == ("ok" if fits else "infeasible")
        assert bool(row["reason"]) != fits
        # the command sets the same values
        words = shlex.split(row["command"])
        given = overrides([words[n + 1] for n, word in enumerate(words) if word == "--set"])
        assert given == settings
    assert {"ok", "infeasible"} == set(frame["status"])
    assert "Pareto front" in said and "zerocast plot" in said and str(tmp_path / "out") in said


def test_given_mappings_hold_in_every_design(
    write_space: Callable[..., Path], net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page beside the space, or one of the command line in its place; designs are those of `simulate` with it."""
    page = tmp_path / "page.yaml"
    page.write_text("'*': {dataflow: weight_stationary}\n")
    own = ("objectives:", f"mappings: {page}\nobjectives:")
    given = explore(write_space(own), tmp_path / "given").frame
    asked = explore(write_space(), tmp_path / "asked", "--mapping", str(page)).frame
    free = explore(write_space(), tmp_path / "free").frame
    assert_frame_equal(given.drop(columns="command"), asked.drop(columns="command"), check_exact=True)
    assert list(given["design"]) != list(free["design"])
    row = given.iloc[5].to_dict()
    machine = load("sat-vcu1525", {name: row[name] for name in ("compute.rows", "compute.cols", "technology.clock_hz")})
    found = simulate(load_workload(net), machine, mapping={"*": {"dataflow": "weight_stationary"}})
    assert row["latency_s"] == found.latency_s and f"--mapping {page}" in row["command"]
    page.write_text("fc_of_none: {dataflow: weight_stationary}\n")
    assert main(["explore", str(write_space(own)), "--out", str(tmp_path / "none"), "--workers", "1"]) == 2
    assert "'fc_of_none': matches no op that the array runs; there is" in " ".join(capsys.readouterr().err.split())
    assert main(["explore", str(write_space()), "--out", str(tmp_path / "no"), "--mapping", "none.yaml"]) == 2
    assert "mappings 'none.yaml': there is no such file" in " ".join(capsys.readouterr().err.split())


def test_the_command_of_a_design_prices_it_again(write_space: Callable[..., Path], tmp_path: Path) -> None:
    row = explore(write_space(), tmp_path / "out").frame.iloc[7]
    words = shlex.split(row["command"])
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main([*words[1:], "--baseline", "none"]) == 0
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert (summary["latency_s"], summary["energy_j"]) == (row["latency_s"], row["energy_j"])


@pytest.mark.parametrize(
    "value", [1e-05, 0.1 + 0.2, 1e22, 3, "step", "1e5", "yes", "3", True, None, ["a", 1.5], "a: b"]
)
def test_values_read_back_the_same(value: object) -> None:
    found = overrides([f"key={yaml_value(value)}"])["key"]
    # text that looks like a number is one to `--set`, whatever its quotes
    assert found == value or value in ("1e5", "3")


def test_rows_that_cannot_be_priced_say_why(write_space: Callable[..., Path], tmp_path: Path) -> None:
    """A tile of one fold of a large array does not fit a buffer of a few bytes; rows below columns are not priced."""
    tiny = "buffer: {paths: [memories.weight_buffer.capacity_bytes], values: [16, 2097152]}"
    space = write_space(
        ("objectives:", f"  {tiny}\nconstraints: ['compute.rows >= compute.cols']\nobjectives:"),
    )
    frame = explore(space, tmp_path / "out").frame
    below = frame["compute.rows"] < frame["compute.cols"]
    assert set(frame[below]["status"]) == {"infeasible"}
    assert frame[below]["latency_s"].isna().all()
    assert frame[below]["reason"].str.contains("compute.rows >= compute.cols").all()
    small = frame[~below & (frame["buffer"] == 16)]
    assert set(small["status"]) == {"error"}
    assert small["reason"].str.contains("weight_buffer").all()
    fine = frame[~below & (frame["buffer"] != 16)]
    assert set(fine["status"]) == {"ok"}
    assert not fine["latency_s"].isna().any()


@pytest.mark.parametrize(
    ("line", "headline"),
    [
        ("  memories.weight_buffer.capacity_bytes: [16]\n", "no design could be priced; the commonest reasons:\n  "),
        ("constraints: ['latency_s < 1.0e-12']\n", "no design keeps the constraints: breaks latency_s < 1"),
        (
            "  memories.weight_buffer.capacity_bytes: [16, 2097152]\nconstraints: ['latency_s < 1.0e-12']\n",
            "no design is left: some could not be priced, the others break the constraints; the commonest",
        ),
    ],
)
def test_why_no_design_is_left(
    line: str, headline: str, write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = explore(write_space(("objectives:", f"{line}objectives:")), tmp_path / "out")
    assert "ok" not in set(table.frame["status"])
    assert f"\n{headline}" in capsys.readouterr().out


def test_workloads_are_crossed_and_accuracies_kept(write_space: Callable[..., Path], tmp_path: Path) -> None:
    two = "{model: net.npz, label: first, accuracy: 0.7}, {model: net.npz, label: second, accuracy: 0.8}"
    text = ("{model: net.npz}", two), ("latency_s, energy_j", "latency_s, accuracy")
    table = explore(write_space(*text), tmp_path / "out")
    assert table.parameters[0] == "workload"
    assert list(table.frame["workload"]) == ["first"] * 12 + ["second"] * 12
    assert list(table.frame["accuracy"]) == [0.7] * 12 + [0.8] * 12
    assert [o.direction for o in table.objectives] == ["min", "max"]
    # the same content is priced once
    assert list(table.frame["design"][:12]) == list(table.frame["design"][12:])
    assert results(tmp_path / "out") == 12


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe"])
def test_a_seed_gives_the_same_trials_whatever_the_workers(
    method: str, write_space: Callable[..., Path], tmp_path: Path
) -> None:
    space = write_space(MANY, COLS)
    arguments = ["--method", method, "--trials", "50"]
    one = explore(space, tmp_path / "one", *arguments, "--seed", "3")
    assert (
        main(["explore", str(space), "--out", str(tmp_path / "two"), "--workers", "2", *arguments, "--seed", "3"]) == 0
    )
    same(one, read_table(tmp_path / "two"))
    assert len(one.frame) == one.frame["design"].nunique() == 50
    other = explore(space, tmp_path / "one", *arguments, "--seed", "4")
    assert list(other.frame["design"]) != list(one.frame["design"])


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe"])
def test_a_search_finds_all_of_a_small_space_and_ends(
    method: str, write_space: Callable[..., Path], tmp_path: Path
) -> None:
    table = explore(write_space(), tmp_path / "out", "--method", method, "--trials", "100")
    assert table.frame["design"].nunique() == len(table.frame) == 12


def test_constraints_on_parameters_cost_no_trials(
    write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = write_space(MANY, COLS, ("objectives:", "constraints: ['compute.rows >= 2 * compute.cols']\nobjectives:"))
    frame = explore(space, tmp_path / "out", "--method", "nsga2", "--trials", "30").frame
    keep = frame["compute.rows"] >= 2 * frame["compute.cols"]
    assert keep.sum() == 30 and set(frame[~keep]["status"]) <= {"infeasible"}
    assert frame["latency_s"].notna().equals(keep)
    refused = len(frame) - 30
    assert (f"30 trials and {refused:,} refused before pricing" in capsys.readouterr().out) == (refused > 0)


def test_a_search_takes_ranges(write_space: Callable[..., Path], tmp_path: Path) -> None:
    free = ("{from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}", "{from: 1.0e+8, to: 3.0e+8}")
    space = write_space(free, MANY)
    assert main(["explore", str(space), "--out", str(tmp_path / "out")]) == 2  # a grid cannot
    frame = explore(space, tmp_path / "out", "--method", "nsga2", "--trials", "60").frame
    clocks = frame["technology.clock_hz"]
    assert clocks.between(1e8, 3e8).all() and clocks.nunique() > 30


def test_results_are_shared_between_runs(write_space: Callable[..., Path], tmp_path: Path) -> None:
    grid = explore(write_space(), tmp_path / "out")
    more = explore(write_space(("[16, 32]\n  technology", "[16, 32, 64]\n  technology")), tmp_path / "out")
    assert set(grid.frame["design"]) < set(more.frame["design"])
    assert results(tmp_path / "out") == 18
    connection = sqlite3.connect(tmp_path / "out" / "store.sqlite")
    first, second = (run for (run,) in connection.execute("SELECT id FROM runs ORDER BY place"))
    connection.close()
    same(read_table(tmp_path / "out", first[:6]), grid)
    same(read_table(tmp_path / "out"), more)
    # the run that was started last is the one that is shown
    same(explore(write_space(), tmp_path / "out", "--resume"), grid)
    with pytest.raises(AnalysisError, match=f"{first}.*{second}|{second}.*{first}"):
        read_table(tmp_path / "out", "nothing")


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_export_keeps_every_bit(
    kind: str, write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = explore(write_space(), tmp_path / "out")
    capsys.readouterr()
    assert main(["export", str(tmp_path / "out"), "--to", kind]) == 0
    file = tmp_path / "out" / f"small.{kind}"
    assert str(file) in capsys.readouterr().out
    back = pandas.read_parquet(file) if kind == "parquet" else pandas.read_csv(file)
    assert list(back.columns) == list(table.frame.columns)
    for name in table.frame:
        for here, there in zip(table.frame[name], back[name], strict=True):
            missing = isinstance(there, float) and math.isnan(there)
            assert here == there or (missing and (here == "" or here != here)), name


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "5"], ["--trials 5", "12 designs"]),
        (["--method", "annealing"], ["annealing", "grid"]),
        (["--method", "random", "--trials", "0"], ["--trials 0"]),
        (["--workers", "0"], ["--workers 0"]),
        (["--dask", "tcp://127.0.0.1:9", "--workers", "2"], ["--dask", "one of them"]),
        (["--dask", "localhost"], ["'localhost'", "address must be tcp://HOST:PORT"]),
        (["--dask", "tcp://localhost"], ["address must be tcp://HOST:PORT"]),
        # nobody listens: nothing was written that would have to be resumed
        (["--dask", "tcp://127.0.0.1:9"], ["no scheduler answers"]),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str],
    words: list[str],
    write_space: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zerocast.analysis.explore.pricing.cluster.CONNECT_S", 1)
    assert main(["explore", str(write_space()), "--out", str(tmp_path / "out"), *arguments]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (tmp_path / "out").exists()


def test_export_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--to", "csv"]) == 2
    assert "zerocast explore" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--to", "xlsx"]) == 2
    assert "parquet or csv" in capsys.readouterr().err


def test_the_table_may_be_read_while_the_space_file_is_gone(write_space: Callable[..., Path], tmp_path: Path) -> None:
    space = write_space()
    table = explore(space, tmp_path / "out")
    assert len(read_space(space).parameters) == len(table.parameters)
    space.unlink()
    same(read_table(tmp_path / "out"), table)


def test_designs_whose_memory_is_too_small_carry_the_reason(write_space: Callable[..., Path], tmp_path: Path) -> None:
    space = write_space(("compute.cols: [16, 32]", "memories.dram.capacity_bytes: [1000, 1.0e+10]"))
    frame = explore(space, tmp_path / "out").frame
    small = frame["memories.dram.capacity_bytes"] == 1000
    assert set(frame[small]["status"]) == {"error"} and set(frame[~small]["status"]) <= {"ok", "infeasible"}
    assert frame[small]["reason"].str.contains("needs .* at its peak").all()

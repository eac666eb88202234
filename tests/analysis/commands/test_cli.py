"""The command as a user runs it: what it prints and writes."""

import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from zerocast.accelerators import load
from zerocast.analysis.cli import main
from zerocast.simulator import simulate
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.patterns import NM, Uniform

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "import sys; from zerocast.analysis.cli import main; sys.exit(main())"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


# --- run ----------------------------------------------------------------------------------------------------


def test_run_as_a_user_does(model_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["run", f"{model_file}:net", "--training", "--batch", "4", "--prune", "bdwp:2:8",
                 "--accelerator", "sat-vcu1525", "--out", str(out)]  # fmt: skip
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["gain"]["speedup"] == summary["baseline"]["latency_s"] / summary["latency_s"] > 1
    assert summary["samples_per_s"] == pytest.approx(4 / summary["latency_s"])
    # FF and BP of the two inner convolutions keep 2/8; all WU, the first layer and the classifier are dense
    inner, first, last = 4 * 64 * 9 * (16 * 32 + 32 * 32), 4 * 64 * 9 * 3 * 16, 4 * 2048 * 10
    dense = 3 * inner + 2 * first + 3 * last
    assert summary["macs"] == dense
    assert summary["gain"]["mac_ceiling"] == pytest.approx(dense / (dense - 2 * inner * 6 / 8))
    for words in ("MAC ceiling", "samples/s", "peak memory", "left dense: first layer", "LUT"):
        assert words in done.stdout
    assert "2:8" in done.stdout
    rows = table(out / "ops.csv")
    assert sum(float(row["macs"]) for row in rows) == dense
    assert all(float(row["speedup"]) == pytest.approx(float(row["baseline_latency_s"]) / float(row["latency_s"]))
               for row in rows if row["speedup"])  # fmt: skip
    assert {p.name for p in out.iterdir()} >= {"report.html", "timeline.json", "layers.png", "roofline.png"}


def run(saved: Path, out: Path, *more: str, accelerator: str = "sat-vcu1525") -> dict[str, object]:
    assert main(["run", str(saved), "--accelerator", accelerator, "--out", str(out), *more]) == 0
    return json.loads((out / "summary.json").read_text())


def test_dense_baseline_of_a_saved_workload_is_the_network_never_pruned(
    saved: Path, saved_dense: Path, tmp_path: Path
) -> None:
    stripped = run(saved, tmp_path / "a")["baseline"]
    captured = run(saved, tmp_path / "b", "--baseline", str(saved_dense))["baseline"]
    alone = run(saved_dense, tmp_path / "c")
    for key in ("latency_s", "energy_j", "macs", "effectual_macs", "dram_read_bytes", "dram_write_bytes", "footprint"):
        assert stripped[key] == captured[key] == alone[key], key  # type: ignore[index]
    assert "baseline" not in alone


def test_what_stays_on_chip_is_in_every_file(saved_dense: Path, tmp_path: Path) -> None:
    plain = run(saved_dense, tmp_path / "plain", accelerator="tpu-like-128")
    out = tmp_path / "kept"
    kept = run(saved_dense, out, "--set", "schedule.residency=activations", accelerator="tpu-like-128")
    before, after = (float(each["dram_read_bytes"]) + float(each["dram_write_bytes"]) for each in (plain, kept))  # type: ignore[arg-type]
    assert before > after == before - float(kept["resident_saved_bytes"])  # type: ignore[arg-type]
    assert kept["without_residents"]["energy_j"] == plain["energy_j"] > kept["energy_j"]  # type: ignore[index, operator]
    assert sum(float(row["resident_saved_bytes"]) for row in table(out / "ops.csv")) == before - after
    residents = kept["residents"]
    assert isinstance(residents, list) and residents
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What stays on chip" in page and all(f"<td>{each['tensor']}</td>" in page for each in residents)
    assert plain["residents"] == []


def test_no_baseline_on_request(saved: Path, tmp_path: Path) -> None:
    assert "baseline" not in run(saved, tmp_path, "--baseline", "none")


def test_channel_recipe_compares_with_the_whole_network(model_file: Path, tmp_path: Path) -> None:
    arguments = ["--prune", "channel:0.5", "--accelerator", "systolic-8x16", "--out", str(tmp_path)]
    assert main(["run", f"{model_file}:net", *arguments]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["macs"] < summary["baseline"]["macs"]
    assert summary["baseline"]["meta"]["recipe"] == "dense"


def test_settings_change_the_machine(saved_dense: Path, tmp_path: Path) -> None:
    slow = run(saved_dense, tmp_path / "a", "--set", "technology.clock_hz=1e8")
    fast = run(saved_dense, tmp_path / "b", "--set", "technology.clock_hz=4e8")
    assert slow["latency_s"] > 2 * fast["latency_s"]  # type: ignore[operator]
    run(saved_dense, tmp_path / "c", "--set", "compute.dataflows=[weight_stationary]")
    assert {row["dataflow"] for row in table(tmp_path / "c" / "ops.csv")} == {"weight_stationary", ""}


def test_design_over_its_budget_is_warned_of(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = run(saved, tmp_path, "--set", "compute.rows=64")
    assert summary["over_budget"] == ["dsp", "ff", "lut"]
    assert "warning: does not fit xcvu9p" in capsys.readouterr().out
    assert "does not fit xcvu9p" in (tmp_path / "report.html").read_text()


def test_both_fidelities_agree_on_a_dense_network(saved_dense: Path, tmp_path: Path) -> None:
    analytic = run(saved_dense, tmp_path / "a")
    tile = run(saved_dense, tmp_path / "b", "--fidelity", "tile")
    assert tile["fidelity"] == "tile"
    assert tile["macs"] == analytic["macs"]
    assert tile["latency_s"] == pytest.approx(analytic["latency_s"], rel=0.05)


# --- the other commands -------------------------------------------------------------------------------------


def single(m: int, n: int, k: int, patterns: dict[int, object]) -> Workload:
    """One product by itself, as an einsum."""
    rank = lambda name: ((name, 1),)  # noqa: E731
    shapes = {"a": (m, k), "b": (n, k), "out": (m, n)}
    roles = {"a": "input", "b": "weight", "out": "activation"}
    tensors = {name: Tensor(name, shape, "fp16", roles[name]) for name, shape in shapes.items()}  # type: ignore[arg-type]
    op = Einsum(name="op", layer="op", phase="FF", inputs=("a", "b"), outputs=("out",), sizes={"m": m, "n": n, "k": k},
                index=((rank("m"), rank("k")), (rank("n"), rank("k")), (rank("m"), rank("n"))),
                patterns=patterns)  # type: ignore[arg-type]  # fmt: skip
    return Workload("one", tensors, (op,))


def test_table_of_products_agrees_with_the_simulator(tmp_path: Path) -> None:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    lines = ["k,M,n,pattern,density_a,name", "256,64,128,dense,,first", "", "256,64,128,2:8,,second",
             "256,64,128,2:8,,second", "96,50,70,,0.5,third"]  # fmt: skip
    shapes.write_text("\n".join(lines))
    assert main(["gemm", str(shapes), "--accelerator", "sat-vcu1525", "--out", str(out)]) == 0
    rows = table(out)
    machine = load("sat-vcu1525")
    cases = [single(64, 128, 256, {}), *[single(64, 128, 256, {1: NM(2, 8, "k")})] * 2,
             single(50, 70, 96, {0: Uniform(0.5)})]  # fmt: skip
    assert [row["name"] for row in rows] == ["first", "second", "second", "third"]
    for row, case in zip(rows, cases, strict=True):
        expected = simulate(case, machine).rows[0]
        for column in ("latency_s", "cycles", "energy_j", "dram_read_bytes", "dram_write_bytes", "utilisation"):
            assert float(row[column]) == pytest.approx(getattr(expected, column), rel=1e-12), column
        assert (row["bound"], row["dataflow"]) == (expected.bound, expected.dataflow)
    assert float(rows[1]["cycles"]) < float(rows[0]["cycles"])


def test_batch_multiplies_the_work(tmp_path: Path) -> None:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    shapes.write_text("M,N,K,batch\n64,64,64,1\n64,64,64,8\n")
    wanted = ["--accelerator", "systolic-32x32", "--objective", "cycles"]
    assert main(["gemm", str(shapes), *wanted, "--out", str(out)]) == 0
    one, eight = table(out)
    assert float(eight["cycles"]) == 8 * float(one["cycles"]) == 8 * 4 * (64 + 32 + 32 - 2)


def test_lists_name_everything(capsys: pytest.CaptureFixture[str]) -> None:
    from zerocast.accelerators import templates
    from zerocast.workloads import models

    for what, names in (("models", models()), ("accelerators", templates()), ("recipes", ["dense", "nm:N:M"])):
        assert main(["list", what]) == 0
        lines = capsys.readouterr().out.splitlines()
        first = [line.split()[0] for line in lines]
        assert set(names) <= set(first)
        assert all(len(line.split()) > 1 for line in lines)


def test_show_marks_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sat-vcu1525", "--set", "compute.rows=48"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "48" in lines["compute.rows"].split()
    assert "ASSUMPTION" in lines["compute.rows"]
    assert " read " in lines["technology.node_nm"]


def test_show_says_how_large_a_design_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sigma"]) == 0
    text = capsys.readouterr().out
    assert " mm2" in text and "area table area-45nm (45 nm):" in text and "multipliers" in text
    assert main(["show", "sat-vcu1525"]) == 0
    text = capsys.readouterr().out
    assert "3,840 of 5,847" in text and "66%" in text and "area table" not in text
    assert main(["show", "mcbbs-arria10"]) == 0
    assert "not known: no area table" in capsys.readouterr().out


def test_validation_fails_on_a_broken_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import zerocast.analysis.validate as validate
    from zerocast.analysis.validate.comparison import against, information

    good = against("dense", "this", 1.0, 1.0, "s", 0.01, "a [source]")
    bad = against("dense", "that", 1.5, 1.0, "s", 0.01, "a [source]")
    known = information("dense", "other", 3.0, "s")
    for rows, status in (([good, known], 0), ([good, bad], 1)):
        monkeypatch.setattr(validate, "run", lambda suite, say, part, rows=rows: rows)
        assert main(["validate", "dense:tpu", "--out", str(tmp_path / "v.csv")]) == status
        assert len(table(tmp_path / "v.csv")) == len(rows)
    text = capsys.readouterr().out
    assert "FAIL" in text
    assert "+50.00%" in text
    assert "[1] a [source]" in text


def test_help_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands" in capsys.readouterr().out


def test_patterns_of_a_table_have_two_spellings_and_the_mapping_is_told(tmp_path: Path) -> None:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    shapes.write_text("M,N,K,pattern\n256,256,256,2:8\n256,256,256,nm:2:8\n256,256,256,dense\n")
    assert main(["gemm", str(shapes), "--accelerator", "sat-vcu1525", "--out", str(out)]) == 0
    short, long, dense = table(out)
    assert {**short, "pattern": ""} == {**long, "pattern": ""}
    assert float(short["cycles"]) < float(dense["cycles"])
    assert (short["skipped"], dense["skipped"]) == ("weight", "")
    assert all(1 <= int(row[f"tile_{rank}"]) <= 256 for row in (short, dense) for rank in "mnk")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zerocast {project['version']}\n"

"""`zerocast calibrate` and `zerocast validate gpu --measured` as a user with a card walks them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from zerocast.accelerators import load
from zerocast.accelerators.library import templates
from zerocast.analysis.calibration.calibrate import FOLDS, _folds, calibrate
from zerocast.analysis.calibration.measured_device import DEVICES, mismatch
from zerocast.analysis.calibration.measured_table import measured_products, read_measured
from zerocast.analysis.calibration.plausible import implausible
from zerocast.analysis.calibration.tables import CARDS, dense_measured, dense_table, paired_measured, sparse_table
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.results import FORMAT
from zerocast.simulator.gpu.card import card_of, type_class
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.fit.fitting import Measured
from zerocast.simulator.gpu.problem import problem

H200 = {"device": "NVIDIA H200", "host_cpu": "some processor", "sms": 132, "memory_bytes": 150_000_000_000}
ON_H200 = ["--accelerator", "nvidia-h200-sxm"]


def table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Products that were measured on an H200, one row a shape."""
    known = dense_table("bf16")
    return known[known.gpu == "H200-SXM"].sample(rows, random_state=seed)[["M", "N", "K", "us"]].reset_index(drop=True)


def csv_of(folder: Path, rows: pd.DataFrame, name: str = "mine.csv") -> Path:
    rows.to_csv(folder / name, index=False)
    return folder / name


def records(folder: Path, rows: pd.DataFrame, machine: dict[str, Any] = H200, **more: Any) -> Path:
    """The products as `zerocast measure` would have written them, in bf16; columns of `rows` beside M, N, K, us and
    `more` become fields of a row, None leaves a field out."""
    lines: list[dict[str, Any]] = [{"format": FORMAT, "version": 1}, {"record": "session", "session": 0, **machine}]
    for number, row in enumerate(rows.rename(columns={"us": "median_us"}).to_dict("records")):
        fields = {"record": "row", "key": f"gemm/{number}", "suite": "gemm", "session": 0, "error": "", "phase": "",
                  "role": "calibration", "variant": "bf16_dense", "dtype": "bf16", "sparsity": "dense",
                  "algorithm": "default", **row, **more}  # fmt: skip
        lines.append({name: value for name, value in fields.items() if value is not None})
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a wrong command line ends with, after the remarks on the file."""
    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last


# --- which card -------------------------------------------------------------------------------------------------


def test_every_name_of_a_driver_has_its_template() -> None:
    assert set(DEVICES.values()) <= set(templates())
    assert all(load(name).gpu is not None for name in DEVICES.values())


@pytest.mark.parametrize(
    ("about", "card", "words"),
    [
        (H200, "nvidia-h200-sxm", ""),
        (H200, "nvidia-h100-sxm", "which is nvidia-h200-sxm and not nvidia-h100-sxm"),
        ({"device": "NVIDIA A100-SXM4-80GB"}, "nvidia-a100-pcie-80g", "which is nvidia-a100-sxm-80g"),
        # 80 of the maker's GB are 79.6 GiB of the driver's
        ({"device": "NVIDIA H100 80GB HBM3", "sms": 132, "memory_bytes": int(79.6 * 2**30)}, "nvidia-h100-sxm", ""),
        ({"device": "NVIDIA H200 MIG 1g.18gb", "sms": 16}, "nvidia-h200-sxm", "16 SMs, where nvidia-h200-sxm has 132"),
        ({"device": "NVIDIA H20", "sms": 78, "memory_bytes": 96 * 2**30}, "nvidia-h100-sxm", "103 GB of memory"),
        ({"device": "Xeon", "host_cpu": "Xeon"}, "nvidia-h100-sxm", "which is no GPU"),
        ({}, "nvidia-h100-sxm", ""),
        ({"device": "an unknown card"}, "nvidia-h100-sxm", ""),
    ],
)
def test_which_card_was_measured(about: dict[str, Any], card: str, words: str) -> None:
    found = mismatch(about, load(card))
    assert words in found and bool(words) == bool(found)


def test_a_card_of_the_users_own_is_known_by_its_specification(tmp_path: Path) -> None:
    text = yaml.safe_load((Path(__file__).parents[3] / "accelerators/templates/gpu/nvidia-h200-sxm.yaml").read_text())
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({**text, "name": "mine"}))
    assert mismatch(H200, load(mine)) == ""
    assert "132 SMs, where mine has 100" in mismatch(H200, load(mine, {"compute.rows": 100}))


def test_measurements_of_another_card_are_refused_unless_the_user_insists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = records(tmp_path, table()), tmp_path / "o.yaml"
    command = ["calibrate", str(path), "--accelerator", "nvidia-b200", "--out", str(out)]
    line = fails(command, capsys)
    assert "measured on NVIDIA H200, which is nvidia-h200-sxm and not nvidia-b200" in line and "--other-card" in line
    assert not out.exists()
    assert main([*command, "--other-card"]) == 0
    assert "warning: measured on NVIDIA H200" in capsys.readouterr().err
    assert main(["calibrate", str(path), *ON_H200, "--out", str(out)]) == 0
    assert "warning" not in capsys.readouterr().err


# --- what is told of a file ---------------------------------------------------------------------------------------


def test_drift_and_notes_of_the_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(30)
    start = rows[:3].assign(phase="start", role="anchor")
    moved = start.assign(phase="end", us=start.us * [1.1, 1.1, 1.02])
    path = records(tmp_path, pd.concat([start, rows[3:].assign(phase="", role="calibration"), moved]))
    with path.open("a") as stream:
        stream.write('{"record":"note","text":"given up after 3 lost processes"}\n')
        stream.write(
            '{"record":"row","key":"p","suite":"probe","session":0,"error":"no kernel","variant":"fp8_2to4"}\n'
        )
        stream.write('{"record":"row","key":"g","suite":"gemm","session":0,"error":"wrong result","variant":"x"}\n')
        stream.write('{"torn')
    for command in (["calibrate", str(path), *ON_H200, "--out", str(tmp_path / "o.yaml")],
                    ["validate", "gpu", "--measured", str(path)]):  # fmt: skip
        assert main(command) == 0
        told = capsys.readouterr().err
        assert "warning: anchors: 3 shapes moved by 10.0% (median) and 10.0% at most; beyond 8%" in told
        assert "given up after 3 lost processes" in told and "torn" in told
        assert "left out: fp8_2to4 (no kernel)" in told and "products that failed, left out: 1" in told


def test_rows_that_lack_a_field_are_counted_and_left_out(tmp_path: Path) -> None:
    path = records(tmp_path, table(14))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for at, name in ((3, "algorithm"), (5, "median_us"), (6, "M")):
        del lines[at][name]
    lines[8]["median_us"] = "fast"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = read_measured(path)
    assert len(source.table) == 10
    assert any("products that lack M or algorithm or median_us, left out: 4 (line 4, 6, 7, 9)" in note
               for note in source.notes)  # fmt: skip
    assert set(source.table.line) == set(range(3, 17)) - {4, 6, 7, 9}


def test_held_out_products_are_judged_and_not_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(160, seed=1)
    role = np.where(np.arange(160) < 100, "calibration", "held_out")
    path, out = records(tmp_path, rows.assign(role=role)), tmp_path / "o.yaml"
    assert main(["calibrate", str(path), *ON_H200, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "60 held-out products are not fitted" in told.err and "dense_16bit: 100 products" in told.out
    own = calibration_of(str(out)).of("dense_16bit")
    assert {tuple(shape) for shape in own.shapes.astype(int)} == {
        tuple(row) for row in rows[["M", "N", "K"]].values[:100]
    }
    report = tmp_path / "v.csv"
    validate = ["validate", "gpu", "--measured", str(path), *ON_H200, "--set", f"gpu.calibration={out}"]
    assert main([*validate, "--out", str(report)]) == 0
    found = pd.read_csv(report).set_index("what")
    assert "60 products" in found.note["NVIDIA H200 bf16 dense: mean error"]
    assert found.ok["NVIDIA H200 bf16 dense: mean error"]
    least = 0.9 - 2 * (0.9 * 0.1 * (1 / 60 + 1 / 100)) ** 0.5  # the bar itself was found from 100
    assert found.reference["NVIDIA H200 bf16 dense: share inside the error bar"] == pytest.approx(least)
    assert "100 products" in found.note["NVIDIA H200 bf16 dense: mean error of fitted products"]
    assert pd.isna(found.ok["NVIDIA H200 bf16 dense: mean error of fitted products"])


# --- times that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda us: us * 0 + 1e-24, "60 of 60 rows have times that are none of this card: line 2: 1e-24 us"),
        (lambda us: us * 0 + 1e12, "60 of 60 rows have times"),
        (lambda us: us * 1e-3, "60 of 60 rows have times"),  # milliseconds
        (lambda us: us * 1e3, "60 of 60 rows have times"),  # nanoseconds
        (lambda us: us.where(us.index != 4, us * 1e3), "1 of 60 rows have times that are none of this card: line 6"),
        (lambda us: us.where(us.index % 20 != 3), "3 of 60 rows are no measurements: line 5"),
        (lambda us: us.where(us.index != 7, np.inf), "1 of 60 rows are no measurements: line 9: column us: inf"),
        (lambda us: us.where(us.index != 7, -us), "1 of 60 rows are no measurements: line 9"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_meaningless_times_are_refused_with_their_rows(
    spoil: Callable[[pd.Series], pd.Series], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table()
    path = csv_of(tmp_path, rows.assign(us=spoil(rows.us)))
    for command in (["calibrate", str(path), *ON_H200, "--out", str(tmp_path / "o.yaml")],
                    ["validate", "gpu", "--measured", str(path), *ON_H200]):  # fmt: skip
        assert words in fails(command, capsys)
    assert not (tmp_path / "o.yaml").exists()


@pytest.mark.parametrize(("share", "refused"), [(1.2, False), (1.3, True)])
def test_faster_than_the_peak_rate(share: float, refused: bool, tmp_path: Path) -> None:
    """A product of 2 M N K operations at a share of 989 TFLOP/s; large, so that memory and launch do not matter."""
    peak_us = 2 * 8192**3 / 989e12 * 1e6
    rows = pd.concat([table(20), pd.DataFrame({"M": [8192], "N": [8192], "K": [8192], "us": [peak_us / share]})])
    path = csv_of(tmp_path, rows)
    if refused:
        with pytest.raises(AnalysisError, match=r"1 of 21 rows .* line 22: .* at 1.25 times its peak rate"):
            calibrate(path, load("nvidia-h200-sxm"), tmp_path / "o.yaml")
    else:
        calibrate(path, load("nvidia-h200-sxm"), tmp_path / "o.yaml")


def test_no_public_time_is_taken_for_none() -> None:
    """The checks' limits leave room for every measurement in the tables of the suite `gpu`."""
    judged = 0
    for dtype in ("bf16", "fp8"):
        for card, rows in dense_table(dtype).groupby("gpu"):
            judged += _accepted(str(card), dtype, dense_measured(rows, dtype), "dense")
    for (card, dtype), rows in sparse_table().groupby(["gpu", "dtype"]):
        if card in CARDS:
            for sparse in (False, True):
                measured = paired_measured(rows, str(dtype), sparse)
                judged += _accepted(str(card), str(dtype), measured, "sparse" if sparse else "dense")
    assert judged > 30_000


def _accepted(card: str, dtype: str, measured: Measured, sparsity: str) -> int:
    machine = load(CARDS[card])
    assert machine.gpu is not None
    base = calibration_of(machine.gpu.calibration).of(f"{sparsity}_{type_class(machine, dtype)}")
    assert not any(implausible(measured, base))
    return len(measured.seconds)


def test_one_shape_again_and_again(tmp_path: Path) -> None:
    rows = pd.concat([table(1)] * 50)
    with pytest.raises(AnalysisError, match=r"10 different shapes \(dense_16bit 1 in 50 rows\)"):
        calibrate(csv_of(tmp_path, rows), load("nvidia-h200-sxm"), tmp_path / "o.yaml")


def test_a_small_class_keeps_its_constants_and_is_told(tmp_path: Path) -> None:
    rows = pd.concat([table(20).assign(dtype="bf16"), table(3).assign(dtype="fp8")])
    said: list[str] = []
    own = calibrate(csv_of(tmp_path, rows), load("nvidia-h200-sxm"), tmp_path / "o.yaml", say=said.append)
    assert list(own) == ["dense_16bit"]
    assert said == ["fewer than 10 different shapes, constants kept: dense_fp8 3 in 3 rows"]
    found = calibration_of(str(tmp_path / "o.yaml")).of("dense_fp8")
    assert found.constants == calibration_of("hopper").of("dense_fp8").constants


def test_no_product_is_predicted_from_itself() -> None:
    m = np.repeat([64, 128, 256, 512, 1024, 2048, 4096], 3)
    folds = _folds(problem(card_of(load("nvidia-h200-sxm"), "bf16"), m, m, m))
    assert all(len(set(folds[m == one])) == 1 for one in m)
    assert set(folds) == set(range(FOLDS))


# --- tables -------------------------------------------------------------------------------------------------------


def test_a_header_in_any_case_and_with_a_mark(tmp_path: Path) -> None:
    rows = table(12)
    upper = read_measured(csv_of(tmp_path, rows)).table
    odd = rows.assign(DType="BF16", Sparsity="Dense")[["us", "K", "DType", "N", "M", "Sparsity"]]
    odd.columns = ["US", " k", "DType", "n", "m", "Sparsity"]
    path = tmp_path / "odd.csv"
    odd.to_csv(path, index=False, encoding="utf-8-sig")
    found = read_measured(path).table
    assert (found[["M", "N", "K", "us", "dtype", "sparsity"]] == upper[["M", "N", "K", "us", "dtype", "sparsity"]]).all(
        axis=None
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("M,N,K,us\n1,2,3,4\n".encode("utf-16"), "not a text file in UTF-8 (byte 0)"),
        ("M,N,K,us,name\n1,2,3,4,é\n".encode("latin-1"), "not a text file in UTF-8 (byte 22)"),
        (b"M,N,K,us\n1,2,3,4,5\n", "line 2: 5 cells, the header has 4 columns"),
        (b"M,m,N,K,us\n1,1,2,3,4\n", "a column stands twice"),
        (b"M,N,K,us\n", "no shapes"),
        (b"M,N,K,us\n1e300,2,3,4\n", "column M: 1e300 is no whole number from 1 to"),
        (b"\n \n", "the table is empty"),
    ],
)
def test_files_that_are_no_table(data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(data)
    assert words in fails(["calibrate", str(path), *ON_H200, "--out", str(tmp_path / "o.yaml")], capsys)


def test_products_stay_in_the_order_of_their_rows(tmp_path: Path) -> None:
    rows = table(9).assign(weights_cold=[True, False, True] * 3, out_dtype=["", "float32", "bfloat16"] * 3)
    measured = measured_products(read_measured(csv_of(tmp_path, rows)).table, load("nvidia-h200-sxm"))
    assert measured.problem.m[:, 0].tolist() == rows.M.tolist()
    assert measured.seconds == pytest.approx(rows.us.to_numpy() * 1e-6)
    assert measured.problem.repeats[:, 0].tolist() == [0, 1, 0] * 3


# --- verdicts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "status", "ok"), [(1.0, 0, [True, True]), (1.5, 1, [False, False])])
def test_verdicts_and_the_exit_status(
    factor: float, status: int, ok: list[bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(80)
    path, out = records(tmp_path, rows.assign(us=rows.us * factor)), tmp_path / "v.csv"
    assert main(["validate", "gpu", "--measured", str(path), "--out", str(out)]) == status
    found = pd.read_csv(out)
    assert list(found.ok) == ok
    assert list(found.reference) == pytest.approx([0.15, 0.9 - 2 * (0.9 * 0.1 / 80) ** 0.5])
    assert all(word in found.note[0] for word in ("median", "p90", "bias", "80 products", "roofline"))
    capsys.readouterr()
    strict = ["validate", "gpu", "--measured", str(path), "--tolerance", "0.01"]
    assert main(strict) == 1


def test_too_few_products_get_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records(tmp_path, table(9))
    assert main(["validate", "gpu", "--measured", str(path)]) == 0
    told = capsys.readouterr()
    assert "0 within tolerance, 0 known misses, 2 for information" in told.out and "warning: no verdict" in told.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--measured", "FILE", "--accelerator", "sat-vcu1525"], "sat-vcu1525 is no GPU"),
        (["--accelerator", "nvidia-h200-sxm"], "--accelerator: only for your own measurements"),
        (["--tolerance", "0.1"], "--tolerance: only for your own measurements"),
        (["--measured", "FILE", "--set", "gpu.tdp_w=1"], "with --accelerator"),
        (["--measured", "FILE", "--tolerance", "-1"], "--tolerance -1"),
        (["--measured", "FILE", "--tolerance", "nan"], "--tolerance nan"),
    ],
)
def test_wrong_options_of_validate(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records(tmp_path, table(12))
    assert words in fails(["validate", "gpu", *(str(path) if a == "FILE" else a for a in arguments)], capsys)


def test_measurements_of_a_machine_without_a_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records(tmp_path, table(12), {"device": "NVIDIA GeForce RTX 2080"})
    assert "no template for its device ('NVIDIA GeForce RTX 2080')" in fails(
        ["validate", "gpu", "--measured", str(path)], capsys
    )


# --- calibration files --------------------------------------------------------------------------------------------


@pytest.fixture
def own_card(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a card in a folder of its own that names a calibration."""

    def write(calibration: str) -> Path:
        text = (Path(__file__).parents[3] / "accelerators/templates/gpu/nvidia-h200-sxm.yaml").read_text()
        card = tmp_path / "cards" / "mine.yaml"
        card.parent.mkdir(exist_ok=True)
        card.write_text(text.replace("calibration: hopper", f"calibration: {calibration}"))
        return card

    return write


def test_a_calibration_lies_beside_its_card(
    own_card: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = own_card("fits/own.yaml")
    (card.parent / "fits").mkdir()
    calibrate(csv_of(tmp_path, table(20)), load("nvidia-h200-sxm"), card.parent / "fits" / "own.yaml")
    (tmp_path / "elsewhere").mkdir()
    for folder in (card.parent, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        part = load(card).gpu
        assert part is not None and Path(part.calibration) == card.parent / "fits" / "own.yaml"
    monkeypatch.chdir(card.parent)
    assert load("mine.yaml").gpu == part
    # what is set on the command line is named from where the user stands
    assert load(card, {"gpu.calibration": "fits/own.yaml"}).gpu.calibration == "fits/own.yaml"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("named", "found"), [("hopper", "hopper"), ("ampere.yaml", "ampere"), ("/a/b.yaml", "/a/b.yaml")]
)
def test_shipped_and_absolute_calibrations(named: str, found: str, own_card: Callable[[str], Path]) -> None:
    assert load(own_card(named)).gpu.calibration == found  # type: ignore[union-attr]


def test_a_calibration_that_is_missing_is_named_where_it_was_looked_for(
    own_card: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = own_card("none.yaml")
    command = [
        "calibrate",
        str(csv_of(tmp_path, table(12))),
        "--accelerator",
        str(card),
        "--out",
        str(tmp_path / "o.yaml"),
    ]
    assert str(card.parent / "none.yaml") in fails(command, capsys)


def test_calibrating_again_makes_a_file_that_stands_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    card = load("nvidia-h200-sxm")
    calibrate(csv_of(tmp_path, table(20).assign(dtype="fp8")), card, first)
    fp8 = calibration_of(str(first)).of("dense_fp8")
    calibrate(csv_of(tmp_path, table(20)), load("nvidia-h200-sxm", {"gpu.calibration": str(first)}), second)
    first.unlink()
    both = calibration_of(str(second))
    assert both.of("dense_fp8").constants == fp8.constants
    assert both.of("dense_16bit").level == both.of("dense_fp8").level == "own measurements"
    assert both.of("sparse_16bit").level == "generation constants"

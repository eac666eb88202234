"""The suite `gpu` and `zerocast calibrate`: splits, tables, files, messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zerocast.accelerators import load
from zerocast.analysis.calibration.calibrate import calibrate
from zerocast.analysis.calibration.measured_table import measured_products, read_measured
from zerocast.analysis.calibration.tables import (
    CARDS,
    dense_problem,
    dense_table,
    draw,
    layers_measured,
    part_of_pair,
    sparse_rows,
    sparse_table,
)
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate.suites.gpu.products.unseen import OWN_ROWS, errors_of, held_out, left_out
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import predict
from zerocast.simulator.gpu.problem import problem


def test_pairs_are_held_out_whole() -> None:
    for dtype in ("bf16", "fp8"):
        table = dense_table(dtype)
        assert (table.groupby(["N", "K"]).part.nunique() == 1).all()
        shares = table.drop_duplicates(["N", "K"]).part.value_counts(normalize=True)
        assert abs(shares["held"] - 0.3) < 0.06 and abs(shares["bars"] - 0.15) < 0.05
    assert part_of_pair(4096, 4096) == part_of_pair(4096, 4096)
    assert 0 <= draw("x") < 1 and draw("x") != draw("x", seed=1)
    assert set(sparse_table().groupby("shape_set").part.nunique()) == {1}


def test_tables_are_priced_in_their_order() -> None:
    rows = dense_table("bf16").sample(50, random_state=0)
    together = dense_problem(rows, "bf16")
    assert (together.m[:, 0] == rows.M).all() and (together.k[:, 0] == rows.K).all()
    bandwidth = [load(CARDS[name]).dram.bandwidth_bytes_per_s for name in rows.gpu]
    assert (together.dram_bytes_per_s[:, 0] == bandwidth).all()


@pytest.mark.parametrize(
    ("card", "dtype", "calibration", "kind", "target"),
    [
        ("H200-SXM", "bf16", "hopper", "dense_16bit", 0.06), ("H100-SXM", "bf16", "hopper", "dense_16bit", 0.06),
        ("A100-SXM-80GB", "bf16", "ampere", "dense_16bit", 0.09), ("H100-SXM", "fp8", "hopper", "dense_fp8", 0.08),
        ("H200-SXM", "bf16", "hopper-h100-sxm", "dense_16bit", 0.07),
    ],
)  # fmt: skip
def test_shipped_constants_on_pairs_left_out(card: str, dtype: str, calibration: str, kind: str, target: float) -> None:
    rows, measured = held_out(card, dtype)
    prediction = predict(measured.problem, calibration_of(calibration).of(kind))
    assert errors_of(rows, prediction.seconds, measured).mean < target
    inside = (prediction.low_s <= measured.seconds) & (measured.seconds <= prediction.high_s)
    assert inside.mean() > 0.87


def test_networks_left_out_of_two_of_four() -> None:
    """Time, speedup and verdict on networks that the constants did not see, on one card and type."""
    table = sparse_rows("A100 80GB PCIe", "bf16")
    start = calibration_of("ampere-a100-sxm").of("dense_16bit").constants
    dense, sparse = (left_out(table, "bf16", is_sparse, start) for is_sparse in (False, True))
    assert np.abs(sparse * 1e6 / table.sparse24_cusparselt_us - 1).mean() < 0.09
    assert np.abs(dense / sparse / table.speedup - 1).mean() < 0.08
    assert ((dense > sparse) == (table.speedup > 1)).mean() >= 0.95


def own_file(folder: Path, rows: int = OWN_ROWS) -> tuple[Path, pd.DataFrame]:
    table = dense_table("bf16")
    seen = table[(table.gpu == "H200-SXM") & (table.part == "fit")].sample(rows, random_state=0)
    path = folder / "mine.csv"
    seen[["M", "N", "K", "us"]].to_csv(path, index=False)
    return path, seen


def test_calibrate_and_use_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = own_file(tmp_path)
    out = tmp_path / "h200.yaml"
    assert main(["calibrate", str(path), "--accelerator", "nvidia-h200-sxm", "--out", str(out)]) == 0
    assert "dense_16bit: 100 products" in capsys.readouterr().out
    own = calibration_of(str(out))
    assert own.of("dense_16bit").level == "own measurements" and own.of("dense_fp8").level == "generation constants"
    rows, measured = held_out("H200-SXM", "bf16")
    prediction = predict(measured.problem, own.of("dense_16bit"))
    assert errors_of(rows, prediction.seconds, measured).mean < 0.06
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K,dtype\n512,4096,4096,bf16\n", encoding="utf-8")
    setting = ["--set", f"gpu.calibration={out}"]
    assert (
        main(["gemm", str(shapes), "--accelerator", "nvidia-h200-sxm", "--out", str(tmp_path / "t.csv"), *setting]) == 0
    )
    found = pd.read_csv(tmp_path / "t.csv").latency_s[0]
    asked = problem(card_of(load("nvidia-h200-sxm"), "bf16"), 512, 4096, 4096)
    assert found == pytest.approx(predict(asked, own.of("dense_16bit")).seconds[0])


def test_calibrating_corrects_what_the_constants_miss(tmp_path: Path) -> None:
    """A card half as quick as its generation's constants say."""
    path, seen = own_file(tmp_path)
    seen.assign(us=seen.us * 2)[["M", "N", "K", "us"]].to_csv(path, index=False)
    own = calibrate(path, load("nvidia-h200-sxm"), tmp_path / "slow.yaml")["dense_16bit"].calibrated
    _, measured = held_out("H200-SXM", "bf16")
    slow = predict(measured.problem, own).seconds / measured.seconds
    assert np.median(slow) == pytest.approx(2, rel=0.03)


def test_measured_rows_keep_their_regime(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "M,N,K,us,dtype,sparsity,weights_cold,out_dtype\n64,64,64,3,bf16,dense,True,bfloat16\n"
        "128,64,64,3,bf16,dense,False,float32\n",
        encoding="utf-8",
    )
    measured = measured_products(read_measured(path).table, load("nvidia-h100-sxm"))
    assert measured.problem.repeats[:, 0].tolist() == [0, 1]
    assert measured.problem.out_element_bytes[:, 0].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("M,N,K\n1,2,3\n", "no column us"),
        ("M,N,K,us\n1,2,3,-4\n", "line 2: column us: -4"),
        ("M,N,K,us\n1,2,x,4\n", "column K: x is no whole number"),
        ("M,N,K,us\n1,2,0.5,4\n", "column K: 0.5 is no whole number"),
        ("M,N,K,us,weights_cold\n1,2,3,4,maybe\n", "maybe is neither true nor false"),
        ("M,N,K,us,out_dtype\n1,2,3,4,float65\n", "float65 is unknown"),
        ("M,N,K,us,dtype\n1,2,3,4,fp4\n", "fp4 is unknown; choose bf16"),
        ("M,N,K,us,sparsity\n1,2,3,4,1:4\n", "1:4 is unknown; choose dense, 2:4"),
        ("M,N,K,us\n1,2,3,4\n", "no class of products has 10 different shapes"),
        ("", "the table is empty"),
        ('{"format": "zerocast-measurements", "version": 99}\n', "schema version 99"),
        ('{"a": 1}\n', "no file of measurements"),
    ],
)
def test_files_that_cannot_be_used(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnalysisError, match=words):
        calibrate(path, load("nvidia-h200-sxm"), tmp_path / "out.yaml")


def test_mistakes_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = own_file(tmp_path, 20)
    out = str(tmp_path / "o.yaml")
    assert main(["calibrate", str(path), "--accelerator", "sat-vcu1525", "--out", out]) == 2
    assert "sat-vcu1525 is no GPU" in capsys.readouterr().err
    shapes = tmp_path / "shapes.csv"
    for line, words in (("64,40,64,bf16,2:4", "line 2: 2:4 weights of 40 x 64"), ("64,64,64,fp8,dense", "fp8")):
        shapes.write_text(f"M,N,K,dtype,pattern\n{line}\n", encoding="utf-8")
        args = ["gemm", str(shapes), "--accelerator", "nvidia-a100-sxm-80g", "--out", str(tmp_path / "t.csv")]
        assert main(args) == 2
        assert words in capsys.readouterr().err


def test_predictions_against_a_measured_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = own_file(tmp_path)
    assert main(["validate", "gpu", "--measured", str(path), "--accelerator", "nvidia-h200-sxm"]) == 0
    text = capsys.readouterr().out
    assert "bf16 dense: mean error" in " ".join(text.split()) and "100 products" in " ".join(text.split())
    assert main(["validate", "gpu", "--measured", str(path)]) == 2
    assert "no template" in capsys.readouterr().err
    assert main(["validate", "sat", "--measured", str(path)]) == 2
    assert "--measured belongs to the suite gpu" in capsys.readouterr().err


def test_layers_read_faster_than_the_memory_can_are_priced_with_warm_operands() -> None:
    """An RTX PRO 6000 has 1,792 GB/s and 128 MB of L2: 4,096 x 2,048 weights in 7.4 us came at 2,270 GB/s. A network is
    warm as a whole; on no other card does a layer outrun the memory."""
    bandwidth = {"A6000": 768e9, "RTX3090": 936e9, "RTX4090": 1008e9, "RTXPRO6000": 1792e9}
    for card, bytes_per_s in bandwidth.items():
        for part in ("fit", "held"):
            measured = layers_measured(card, part)
            p = measured.problem
            outruns = p.weight_bytes[:, 0] / measured.seconds > bytes_per_s
            assert (p.repeats[outruns] == 1).all() and (card == "RTXPRO6000" or not p.repeats.any())
    quickest_s = predict(p, calibration_of("blackwell-gb202").of("dense_16bit")).seconds.min()
    assert quickest_s < 2 * 2048 * 4096 / (0.82 * bandwidth["RTXPRO6000"])  # what streaming the weights would take

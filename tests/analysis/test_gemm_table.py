"""`zerocast gemm` on tables of which some shapes cannot be priced as they were asked for."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from zerocast.analysis.cli import main

H100 = ["--accelerator", "nvidia-h100-sxm"]


def priced(folder: Path, text: str, *arguments: str) -> list[dict[str, str]]:
    shapes, out = folder / "shapes.csv", folder / "out.csv"
    shapes.write_text(text)
    assert main(["gemm", str(shapes), "--out", str(out), *arguments]) == 0
    with out.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_weights_that_a_gpu_cannot_skip_are_priced_dense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Misaligned, another N:M, a batch: each costs what its dense product costs, and the note says why."""
    rows = priced(
        tmp_path,
        "M,N,K,batch,dtype,pattern\n4096,4096,4096,1,bf16,2:4\n4096,40,4096,1,bf16,2:4\n4096,4096,4096,1,bf16,3:4\n"
        "512,512,512,4,bf16,2:4\n4096,40,4096,1,bf16,dense\n4096,4096,4096,1,bf16,dense\n512,512,512,4,bf16,dense\n",
        *H100,
    )
    assert "7 shapes on nvidia-h100-sxm; 3 priced dense, not N:M, see column note" in capsys.readouterr().out
    assert rows[0]["skipped"] == "weight" and float(rows[0]["latency_s"]) < float(rows[5]["latency_s"])
    for asked, dense, words in ((1, 4, "multiples of 16"), (2, 5, "3:4 weights"), (3, 6, "a batch of 4")):
        assert rows[asked]["note"].startswith("dense: ") and words in rows[asked]["note"]
        for column in ("latency_s", "energy_j", "dram_read_bytes", "skipped", "tile_m"):
            assert rows[asked][column] == rows[dense][column]


def test_a_table_of_weights_that_cannot_be_skipped_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes, out = tmp_path / "shapes.csv", tmp_path / "out.csv"
    shapes.write_text("M,N,K,dtype,pattern\n64,40,64,bf16,2:4\n64,64,40,bf16,2:4\n")
    assert main(["gemm", str(shapes), *H100, "--out", str(out)]) == 2
    line = capsys.readouterr().err
    assert "line 2: 2:4 weights of 40 x 64" in line and "all 2 shapes" in line and line.count("\n") == 1
    assert not out.exists()


SMALL = ["--accelerator", "sat-vcu1525", "--set", "memories.input_buffer.capacity_bytes=256"]


def test_a_shape_that_fits_no_mapping_is_a_row_without_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2:512 asks for 512 consecutive inputs, more than the buffer holds."""
    fits, other = priced(tmp_path, "M,N,K,pattern\n64,64,64,2:4\n64,512,512,2:512\n", *SMALL)
    told = capsys.readouterr().out
    assert "1 priced not at all, see column note" in told
    assert float(fits["latency_s"]) > 0 and not fits["note"].startswith("not priced")
    assert other["note"].startswith("not priced: ") and "input_buffer" in other["note"]
    assert all(math.isnan(float(other[name])) for name in ("latency_s", "cycles", "energy_j", "tile_m"))
    assert other["bound"] == other["dataflow"] == ""


def test_a_table_of_shapes_that_fit_no_mapping_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K,pattern\n64,512,512,2:512\n64,512,1024,2:512\n")
    assert main(["gemm", str(shapes), *SMALL, "--out", str(tmp_path / "out.csv")]) == 2
    line = capsys.readouterr().err
    assert "line 2: " in line and "input_buffer" in line

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
    assert "7 shapes on nvidia-h100-sxm; 3 priced dense, not with their zeros" in capsys.readouterr().out
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


@pytest.mark.parametrize("header", ["m,n,k,density_b", "M,N,K,density", "K,density_B,M,N"])
def test_the_density_of_the_weights_is_taken_whatever_its_spelling(header: str, tmp_path: Path) -> None:
    """64x64x64 at a density of 0.1: the engine's 292 cycles and not the 1,026 of dense weights."""
    cells = {"m": "64", "n": "64", "k": "64", "density": "0.1", "density_b": "0.1"}
    line = ",".join(cells[name.lower()] for name in header.split(","))
    (row,) = priced(tmp_path, f"{header}\n{line}\n", "--accelerator", "scnn")
    assert float(row["cycles"]) == pytest.approx(292, abs=1)


@pytest.mark.parametrize("column", ["Sparsity", "nm", "pattern", "SPARSITY"])
def test_a_scalesim_topology_is_read_as_it_is(column: str, tmp_path: Path) -> None:
    """Layer names, a comma at the end of each line, N:M under the field's names; the label comes out again."""
    text = f"Layer name, M, N, K, {column},\nconv1, 64, 64, 64, 2:4,\nconv2, 64, 64, 64, 1:1,\n"
    half, whole = priced(tmp_path, text, "--accelerator", "sat-vcu1525")
    assert (half["Layer name"], whole["Layer name"]) == ("conv1", "conv2")
    assert half["skipped"] == "weight" and not whole["skipped"]
    assert float(half["cycles"]) < float(whole["cycles"])


def test_counts_give_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, three = priced(tmp_path, "M,N,K,count\n64,64,64,1\n64,64,64,3\n", "--accelerator", "sat-vcu1525")
    assert float(three["latency_s"]) == float(one["latency_s"]) == float(one["total_latency_s"])
    assert float(three["total_latency_s"]) == pytest.approx(3 * float(one["latency_s"]))
    assert float(three["total_energy_j"]) == pytest.approx(3 * float(one["energy_j"]))
    assert f"in all 4 products, {4 * float(one['latency_s']):.6g} s" in capsys.readouterr().out


def test_stored_weights_may_be_narrower_than_what_is_multiplied(tmp_path: Path) -> None:
    """16x64x64 in fp16, the weights in 4 bits: 64 * 64 * 12 / 8 bytes less are read."""
    wide, narrow = priced(tmp_path, "M,N,K,weight_bits\n16,64,64,\n16,64,64,4\n", "--accelerator", "sat-vcu1525")
    assert float(wide["dram_read_bytes"]) - float(narrow["dram_read_bytes"]) == 64 * 64 * 12 / 8
    assert wide["cycles"] == narrow["cycles"]


@pytest.mark.parametrize(
    ("header", "cell", "words"),
    [
        ("sparsity_ratio", "0.5", "'sparsity_ratio' is not read, though it would change the price"),
        ("desnity_b", "0.5", "did you mean 'density_b'?"),
        ("act_bits", "8", "read are M, N, K, batch"),
        ("weight_bits", "32", "32 are more than the 16 of fp16"),
        ("Sparsity", "0.9", "a share of zeros goes into density_b, as 1 less it"),
        ("count", "0", "column count: 0 must lie between"),
        ("density,density_b", "0.5,0.5", "density and density_b mean the same"),
    ],
)
def test_columns_that_would_be_ignored_are_refused(
    header: str, cell: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.csv").write_text(f"M,N,K,{header}\n64,64,64,{cell}\n")
    assert main(["gemm", str(tmp_path / "s.csv"), "--accelerator", "sat-vcu1525", "--out", str(tmp_path / "o")]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "table"),
    [("gemm", "M,N,K\n64,64,64\n"), ("conv", "C,K,P,Q,R,S\n8,8,4,4,3,3\n"), ("gemm --densities 0.5", "")],
)
def test_tables_are_priced_on_one_card(
    verb: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.csv").write_text(table)
    options = ["--accelerator", "nvidia-a100-sxm-80g", "--set", "gpu.cards=2", "--out", str(tmp_path / "o.csv")]
    assert main([*verb.split(), str(tmp_path / "s.csv") if table else "1,64,64", *options]) == 2
    assert "gpu.cards=2: products of a table are priced on one card" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_other_columns_are_carried_along_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = priced(tmp_path, "M,N,K,owner\n64,64,64,me\n", "--accelerator", "sat-vcu1525")
    assert row["owner"] == "me"
    assert "not read, carried along: owner" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("accelerator", "column", "cell", "words"),
    [
        ("systolic-8x8", "pattern", "2:4", "zeros of B save no time: systolic-8x8 does nothing about zeros"),
        ("nvidia-a100-pcie-80g", "density_b", "0.1", "no sparse kernel pays, dense kernel used: "),
        ("nvidia-a100-pcie-80g", "density_a", "0.1", "zeros of A save no time"),
        ("sat-vcu1525", "pattern", "2:64", "groups of 64 are wider than the"),
        (
            "eyeriss-v1",
            "density_a",
            "0.5",
            "zeros of A save energy and bytes off chip, no cycles of the array: eye",
        ),
        ("eyeriss-v1", "density_a", "0.9", "zeros of A save energy, no time: eyeriss-v1 gates them"),
        ("mcbbs-arria10", "pattern", "2:64", "zeros of B save bytes off chip, no cycles of the array: groups of 64"),
        ("scnn", "density_b", "0.5", ""),
        ("sat-vcu1525", "pattern", "2:4", ""),
    ],
)
def test_zeros_that_an_array_does_nothing_about_are_remarked(
    accelerator: str, column: str, cell: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = priced(tmp_path, f"M,N,K,{column}\n64,128,128,{cell}\n", "--accelerator", accelerator)
    assert (words in row["note"]) if words else "zeros of" not in row["note"]
    assert ("1 priced with zeros that the array does not skip" in capsys.readouterr().out) == bool(words)


def test_the_fidelity_of_a_table(tmp_path: Path) -> None:
    text = "M,N,K,density_a,density_b\n512,512,512,0.3,0.3\n"
    (mean,) = priced(tmp_path, text, "--accelerator", "sparten")
    (walked,) = priced(tmp_path, text, "--accelerator", "sparten", "--fidelity", "tile")
    assert mean["cycles"] != walked["cycles"]
    assert float(walked["cycles"]) == pytest.approx(float(mean["cycles"]), rel=0.2)


def test_mappings_are_given_by_layer_or_by_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "my.yaml"
    page.write_text(
        "q*: {dataflow: weight_stationary, levels: [{order: nkm, tile: {m: 48}}]}\n"
        "32x64x*: {levels: [{tile: {k: 100}}]}\n"
    )
    table, array = "M,N,K,layer\n96,64,64,q\n96,64,64,p\n32,64,128,\n96,64,64,q\n", ["--accelerator", "systolic-32x32"]
    free = priced(tmp_path, table, *array)
    q, p, last, again = priced(tmp_path, table, *array, "--mapping", str(page))
    assert (q["dataflow"], q["order"], q["tile_m"]) == ("weight_stationary", "nkm", "48") and q == again
    assert p == free[1] and last["tile_k"] == "100"
    for text, words in (("r: {}\n", "'r': matches no op"), ("q: {levels: [{tile: {m: 97}}]}\n", "m is 97")):
        page.write_text(text)
        capsys.readouterr()
        arguments = [str(tmp_path / "shapes.csv"), *array, "--mapping", str(page), "--out", str(tmp_path / "no.csv")]
        assert main(["gemm", *arguments]) == 2
        assert words in capsys.readouterr().err

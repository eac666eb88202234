"""`zerocast gemm M,N,K --densities`: what zeros are worth to one product, as a user asks for it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from zerocast.analysis.cli import main


def asked(tmp_path: Path, *arguments: str, product: str = "1,4096,14336", densities: str = "0.1,0.3,0.6,0.9") -> int:
    out = str(tmp_path / "out.csv")
    return main(["gemm", product, "--densities", densities, "--out", out, *arguments])


def test_a_product_over_densities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is what `gemm` gives of the same product in a table; a kernel pays below its break-even alone."""
    assert asked(tmp_path, "--accelerator", "nvidia-rtx4090") == 0
    text = capsys.readouterr().out
    limit = float(text.split("bitmap-spmv (MACKO), zeros anywhere: pays below density ")[1].split()[0])
    with (tmp_path / "out.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["kernel"].startswith("bitmap")]
    assert [float(row["density"]) for row in rows] == [0.1, 0.3, 0.6, 0.9]
    assert all((float(row["speedup"]) > 1) == (float(row["density"]) < limit) for row in rows)
    assert (tmp_path / "out.png").stat().st_size > 10_000
    (tmp_path / "t.csv").write_text("M,N,K,density_b,dtype\n1,4096,14336,0.1,fp16\n")
    table = [str(tmp_path / "t.csv"), "--accelerator", "nvidia-rtx4090", "--out", str(tmp_path / "o.csv")]
    assert main(["gemm", *table]) == 0
    with (tmp_path / "o.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    launch_s = 1e-6  # `gemm` adds the host's
    assert row["order"] == "bitmap-spmv"
    assert float(row["latency_s"]) - launch_s == pytest.approx(float(rows[0]["latency_s"]), rel=1e-9)


@pytest.mark.parametrize(("arguments", "words"), [
    (("--accelerator", "systolic-32x32"), "systolic-32x32 has no table of sparse kernels"),
    (("--accelerator", "nvidia-rtx2080-super", "--dtype", "bf16"), "does not multiply it; it has fp16, int8"),
])  # fmt: skip
def test_accelerators_that_have_none(
    arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, *arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("product", "densities", "words"), [
    ("shapes.csv", "0.5", "takes one product, M,N,K"), ("1,0,4", "0.5", "takes one product"),
    ("1,64,64", "0.5,two", "write shares of nonzeros"), ("1,64,64", "0,0.5", "above 0 and at most 1"),
])  # fmt: skip
def test_what_is_no_product_or_density(
    product: str, densities: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(tmp_path, "--accelerator", "nvidia-rtx4090", product=product, densities=densities) == 2
    assert words in capsys.readouterr().err

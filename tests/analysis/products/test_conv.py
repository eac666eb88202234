"""Tables of convolutions: equal to the layers that torch has, to closed forms, and clear about mistakes."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from zerocast.accelerators import load
from zerocast.analysis.cli import application
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.products.conv_columns import read_convolutions
from zerocast.simulator.products.gemm import Gemm, gemms
from zerocast.workloads import capture

ARRAY = load("systolic-32x32")
LAYERS = [
    (nn.Conv2d(3, 8, 7, 2, 3), (1, 3, 19, 25), "1,3,8,10,13,7,7,2,1,1,3"),
    (nn.Conv2d(4, 6, 3, 1, 1), (2, 4, 9, 9), "2,4,6,9,9,3,3,1,1,1,1"),
    (nn.Conv2d(8, 8, 3, 2, 1, groups=8), (1, 8, 11, 11), "1,8,8,6,6,3,3,2,1,8,1"),
    (nn.Conv2d(4, 4, 3, 1, 2, dilation=2), (1, 4, 10, 10), "1,4,4,10,10,3,3,1,2,1,2"),
    (nn.Conv2d(8, 4, 1), (1, 8, 7, 5), "1,8,4,7,5,1,1,1,1,1,0"),
]


def _table(path: Path, header: str, *lines: str) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def _priced(table: Path, *options: str) -> list[dict[str, str]]:
    out = table.with_suffix(".out.csv")
    command = ["conv", str(table), "--accelerator", "systolic-32x32", "--out", str(out), *options]
    done = CliRunner().invoke(application(), command)
    assert done.exit_code == 0, done.output
    with out.open() as stream:
        return list(csv.DictReader(stream))


def test_a_line_is_the_convolution_that_torch_has(tmp_path: Path) -> None:
    header = "N,C,K,P,Q,R,S,stride,dilation,groups,padding"
    table = read_convolutions(_table(tmp_path / "layers.csv", header, *(line for *_, line in LAYERS)), ARRAY)
    for (layer, shape, line), read in zip(LAYERS, table.shapes, strict=True):
        workload = capture(layer.half(), torch.zeros(shape).half(), name="layer")
        (product,) = gemms(workload, next(iter(workload.einsums)))

        def sizes(gemm: Gemm) -> tuple[object, ...]:
            """All but the zeros that the layer's random weights would hold, and the names of ranks of one place."""
            sides = (gemm.input.unique, gemm.input.halo, gemm.weight.unique, gemm.output.unique)
            return (
                gemm.batch,
                gemm.m,
                gemm.n,
                gemm.k,
                *sides,
                dict(gemm.roles),
                gemm.conv and replace(gemm.conv, windows=()),
            )

        assert sizes(read.gemm) == sizes(product), line


def test_scale_sims_topology_gives_its_cycles(tmp_path: Path) -> None:
    """ResNet-18's first layers weight-stationary on 32 x 32: folds of 2 R + C + M - 2 cycles."""
    header = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
    table = _table(tmp_path / "net.csv", header, "Conv1, 230, 230, 7, 7, 3, 64, 2,", "Conv2, 58, 58, 3, 3, 64, 64, 1,")
    rows = _priced(table, "--objective", "cycles", "--set", "compute.dataflows=[weight_stationary]")
    for row, (m, n, k) in zip(rows, [(112 * 112, 64, 147), (56 * 56, 64, 576)], strict=True):
        assert float(row["cycles"]) == math.ceil(k / 32) * math.ceil(n / 32) * (2 * 32 + 32 + m - 2)


def test_patterns_lie_along_input_channels_and_counts_add_up(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", "C,K,P,Q,R,S,pattern,count,layer", "64,64,8,8,3,3,2:4,3,a", "64,64,8,8,3,3,,1,b")
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(application(), ["conv", str(table), "--accelerator", "sat-vcu1525", "--out", str(out)])
    assert done.exit_code == 0 and "in all 4 products" in done.output
    with out.open() as stream:
        sparse, dense = list(csv.DictReader(stream))
    assert sparse["skipped"] == "weight" and float(sparse["cycles"]) < 0.6 * float(dense["cycles"])


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("M,N,K", "1,2,3", "no table of convolutions; the header needs C, K, P, Q, R, S"),
        ("C,K,P,Q,R,S,stride", "3,8,4,4,3,3,0", "column stride: 0 must lie between 1"),
        ("C,K,P,Q,R,S,groups", "3,8,4,4,3,3,2", "column C: 3 channels do not divide into 2 groups"),
        ("C,K,P,Q,R,S,padding", "3,8,2,2,3,3,5", "padding: 5 leaves an input of -6 x -6"),
        ("C,K,P,Q,R,S,sparsty", "3,8,2,2,3,3,1", "did you mean 'sparsity'"),
        (
            "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides",
            "a,4,4,5,3,1,1,1",
            "Filter Height: a kernel of 5 is larger than the input of 4",
        ),
        ("Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels", "a,4,4,3,3,1", "no column Num"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, header: str, line: str, message: str) -> None:
    with pytest.raises(AnalysisError, match=re.escape(message)):
        read_convolutions(_table(tmp_path / "t.csv", header, line), ARRAY)

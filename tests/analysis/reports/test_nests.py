"""Mappings drawn as loop nests: every number beside one counted by hand or found another way."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel
from zerocast.analysis.cli import main
from zerocast.analysis.reports.nests import Nest, nests
from zerocast.simulator import Gemm, best_mapping, plain_gemm
from zerocast.simulator.products.given import given_of

ARRAY = load("systolic-32x32")
SQUARE = plain_gemm(512, 512, 512, "fp16", 16)


def drawn(gemm: Gemm, accelerator: Accelerator = ARRAY) -> Nest:
    mapped = replace(gemm, given=given_of(best_mapping(gemm, accelerator).mapping))
    (nest,) = nests({"fc": (mapped,)}, accelerator)
    return nest


def test_loops_tiles_and_bytes_are_those_counted_by_hand() -> None:
    """200 x 96 x 160 in tiles of 64 x 32 x 160, fp16, every buffer doubled: inputs once, weights once, since all of
    their tiles find room for good (no second copy), outputs once, at their own width since the array keeps the sums."""
    tile = GivenLevel(order="mnk", tile=Extents(m=64, n=32, k=160))
    gemm = replace(plain_gemm(200, 96, 160, "fp16", 16), given=Given(dataflow="output_stationary", levels=(tile,)))
    loops = drawn(gemm).loops
    assert loops[0] == "dram: moves input 64.0 kB, weight 30.7 kB, output 38.4 kB"
    assert loops[1:3] == ("for m in 4 tiles of 64, the last 8", "  for n in 3 tiles of 32")
    assert loops[3:] == (
        "    input_buffer: input 64 x 160, 41.0 kB in two halves: 8% of 524 kB",
        "    weight_buffer: weight 160 x 32 of every tile, 30.7 kB in two halves: 6% of 524 kB",
        "    output_buffer: output 64 x 32, 8.19 kB in two halves: 2% of 524 kB",
        "    array: 32 x 32, output_stationary",
    )


@pytest.mark.parametrize(
    ("overrides", "name", "doubled"),
    [
        ({"memories.dram.bandwidth_bytes_per_s": 2e9}, "the bandwidth", {"memories.dram.bandwidth_bytes_per_s": 4e9}),
        ({}, "the clock", {"technology.clock_hz": 2 * ARRAY.technology.clock_hz}),
        (
            {"memories.weight_buffer.capacity_bytes": 16384, "memories.dram.bandwidth_bytes_per_s": 8e9},
            "weight_buffer",
            {"memories.weight_buffer.capacity_bytes": 32768},
        ),
    ],
)
def test_twice_of_what_binds_gains_what_such_a_machine_gains(
    overrides: dict[str, float], name: str, doubled: dict[str, float]
) -> None:
    """Beside the best mapping on a machine that was described so."""
    why = " ".join(drawn(SQUARE, load("systolic-32x32", overrides)).why)
    machines = (load("systolic-32x32", values) for values in (overrides, overrides | doubled))
    before, after = (float(best_mapping(SQUARE, machine).latency_s) for machine in machines)
    assert after < 0.99 * before and f"twice {name} {after / before - 1:+.1%}" in why


def test_the_rivals_are_the_best_of_the_other_dataflows() -> None:
    why = drawn(SQUARE).why
    chosen = best_mapping(SQUARE, ARRAY)
    rest = [dataflow for dataflow in ARRAY.compute.dataflows if dataflow != chosen.mapping.dataflow]
    for dataflow in rest:
        alone = best_mapping(SQUARE, load("systolic-32x32", {"compute.dataflows": [dataflow]}))
        change = float(alone.latency_s) / float(chosen.latency_s) - 1
        (line,) = (line for line in why if line.startswith(dataflow))
        assert f"{alone.mapping.order} {alone.mapping.m:.0f} x {alone.mapping.n:.0f} x {alone.mapping.k:.0f}" in line
        assert f"latency {change:+.1%}" in line
    assert len(rest) == 2


def test_a_worse_mapping_that_was_given_is_told_what_the_search_takes() -> None:
    given = Given(levels=(GivenLevel(order="kmn", tile=Extents(m=32, n=32, k=32)),))
    chosen = best_mapping(SQUARE, ARRAY)
    worse = best_mapping(replace(SQUARE, given=given), ARRAY)
    gain = float(chosen.latency_s) / float(worse.latency_s) - 1
    assert f"the search alone takes {chosen.mapping.dataflow}" in " ".join(drawn(replace(SQUARE, given=given)).why)
    assert any(line.endswith(f"latency {gain:+.1%}") for line in drawn(replace(SQUARE, given=given)).why)
    assert "the search" not in " ".join(drawn(SQUARE).why)


def test_equal_products_are_drawn_once_and_the_longest_comes_first() -> None:
    small = plain_gemm(64, 64, 64, "fp16", 16)
    one, two = (replace(gemm, given=given_of(best_mapping(gemm, ARRAY).mapping)) for gemm in (small, SQUARE))
    first, second = nests({"a": (one,), "b": (two, one), "unmapped": (small,)}, ARRAY)
    assert (first.ops, second.ops) == (("b (1 of 2)",), ("a", "b (2 of 2)"))
    shares = [int(re.search(r"(\d+)% of", nest.title)[1]) for nest in (first, second)]  # type: ignore[index]
    assert sum(shares) == 100 and shares[0] > 50


def test_a_table_prints_its_nests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("M,N,K,layer\n512,512,512,fc\n")
    for accelerator, words in (("systolic-32x32", "fc: 512 x 512 x 512"), ("nvidia-h100-sxm", "no nests"),
                               ("eyeriss-v1", "no nests")):  # fmt: skip
        assert (
            main(["gemm", str(shapes), "--accelerator", accelerator, "--nests", "--out", str(tmp_path / "o.csv")]) == 0
        )
        assert words in capsys.readouterr().out

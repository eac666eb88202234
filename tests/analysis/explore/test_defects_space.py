"""Spaces that are refused or taken for the right reason: order of mappings, conditions, names, text among numbers."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.search.designs import count, grid, settle
from zerocast.analysis.explore.search.session import Method, run_id
from zerocast.analysis.explore.show.table import read_table
from zerocast.analysis.explore.space.conditions import MOST_COUNTED
from zerocast.analysis.explore.space.domains import Choices, choices, stretch
from zerocast.analysis.explore.space.expressions import parse_expression
from zerocast.analysis.explore.space.reading import read_space

ROWS = "compute.rows: [16, 32]"
COLS = "compute.cols: [16, 32]"
OBJECTIVES = "objectives: [latency_s, energy_j]"
GRID = Method("grid", None, None)
HUGE = "1" + "0" * 320


# --- the order of a mapping ---------------------------------------------------------------------------------------


def test_designs_that_differ_in_the_order_of_rates_are_two(write_space: Callable[..., Path], tmp_path: Path) -> None:
    """Multipliers are built for the first type listed, so that the order decides what they take of the part."""
    rates = "compute.rates: [{fp16: 1, int8: 1}, {int8: 1, fp16: 1}]"
    space = write_space((ROWS, rates), (COLS, "compute.cols: [16, 8]"), ("to: 3.0e+8", "to: 1.0e+8"))
    for method in (["--method", "grid"], ["--method", "nsga2", "--trials", "4"]):
        assert main(["explore", str(space), "--out", str(tmp_path / "out"), "--workers", "1", *method]) == 0
        frame = read_table(tmp_path / "out").frame
        assert frame["design"].nunique() == 4
        assert frame.groupby("compute.rates")["lut"].max().nunique() == 2


def test_the_order_of_rates_counts_in_the_name_of_a_run(write_space: Callable[..., Path]) -> None:
    one = read_space(write_space((OBJECTIVES, OBJECTIVES + "\nset: {compute.rates: {fp16: 1, int8: 2}}")))
    other = read_space(write_space((OBJECTIVES, OBJECTIVES + "\nset: {compute.rates: {int8: 2, fp16: 1}}")))
    assert run_id(one, GRID) != run_id(other, GRID)
    assert run_id(one, GRID) == run_id(replace(one), GRID)


def test_equal_values_keep_their_places() -> None:
    one, other = {"fp16": 1, "int8": 1}, {"int8": 1, "fp16": 1}
    domain = choices([one, other])
    assert [domain.place(one), domain.place(other)] == [0, 1]
    assert Choices((1, True)).place(True) == 1


# --- counting -----------------------------------------------------------------------------------------------------

CONDITIONS = """
name: conditions
workloads:
  - {model: net.npz, label: a, set: {memories.input_buffer.capacity_bytes: 1048576}}
  - {model: net.npz, label: b}
accelerator: sat-vcu1525
parameters:
  free: {paths: [technology.static_power_w], values: [1, 2, 3]}
  compute.rows: [4, 8, 16, 32]
  compute.cols: {values: [4, 8, 16], when: compute.rows > 4}
  tied:
    paths: [memories.output_buffer.capacity_bytes]
    values: [65536, 131072]
    when: compute.cols > 4 and workload == 'a'
  technology.clock_hz: {values: [1.0e+8, 2.0e+8], when: free > 1}
  last:
    paths: [compute.accumulate_latency_cycles]
    values: [4, 6, 8]
    when: memories.input_buffer.capacity_bytes < 2000000
objectives: [latency_s]
"""


def test_a_count_is_that_of_the_grid(write_space: Callable[..., Path]) -> None:
    space = read_space(write_space(text=CONDITIONS))
    designs = list(grid(space))
    values = [p.domain.values for p in space.parameters if isinstance(p.domain, Choices)]
    names = [p.name for p in space.parameters]
    settled = {str(settle(space, dict(zip(names, some, strict=True)))) for some in itertools.product(*values)}
    assert count(space) == len(designs) == len(settled)
    assert len(settled) < len(list(itertools.product(*values)))


def test_a_large_space_whose_last_parameter_is_conditional(write_space: Callable[..., Path]) -> None:
    """Only `compute.rows` decides: 4096 x 512 designs without the clock, and 4095 x 512 with one of two more."""
    start = time.perf_counter()
    space = read_space(write_space(
        (ROWS, "compute.rows: {from: 1, to: 4096, step: 1}"), (COLS, "compute.cols: {from: 1, to: 512, step: 1}"),
        ("{from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}", "{values: [1.0e+8, 2.0e+8], when: compute.rows > 1}"),
    ))  # fmt: skip
    assert count(space) == 512 + 4095 * 512 * 2
    assert time.perf_counter() - start < 10


def test_what_is_too_much_to_count_is_bounded(write_space: Callable[..., Path]) -> None:
    start = time.perf_counter()
    space = read_space(write_space(
        (ROWS, "compute.rows: {from: 1, to: 1000, step: 1}"), (COLS, "compute.cols: {from: 1, to: 512, step: 1}"),
        ("{from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}", "{values: [1.0e+8, 2.0e+8], when: compute.rows > compute.cols}"),
    ))  # fmt: skip
    exact = sum(2 if rows > cols else 1 for rows in range(1, 1001) for cols in range(1, 513))
    number = count(space)
    assert number is not None and exact <= number == 2 * 512_000 > MOST_COUNTED
    assert time.perf_counter() - start < 10


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["number", "design", "status", "reason", "command", "workload"])
def test_a_parameter_is_not_called_like_a_column(name: str, write_space: Callable[..., Path]) -> None:
    with pytest.raises(AnalysisError, match=rf"parameters\.{name}: that is the name of a column"):
        read_space(write_space((ROWS, f"{name}: {{paths: [compute.rows], values: [16, 32]}}")))


def test_a_constraint_on_the_path_of_a_parameter_that_is_not_there(
    write_space: Callable[..., Path], tmp_path: Path
) -> None:
    """The base has no such path; without the parameter it counts as None, by its path as by its name."""
    queue = "queue: {paths: [compute.rates.int8], values: [2, 4], when: compute.rows > 16}"
    for name in ("queue", "compute.rates.int8"):
        text = f"{OBJECTIVES}\nconstraints: ['{name} != 4']"
        space = read_space(write_space((COLS, queue), (OBJECTIVES, text)).rename(tmp_path / "other.yaml"))
        rules = [c.expression.holds(space.lookup(choice, space.variants.describe(space.overrides_of(choice))))
                 for choice in grid(space) for c in space.constraints]  # fmt: skip
        assert rules == [True] * 3 + [True] * 3 + [False] * 3


def test_files_of_a_free_workload_are_beside_the_space(
    net: Path, tmp_path: Path, write_space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.npz").write_bytes(net.read_bytes())
    (tmp_path / "away").mkdir()
    space = write_space((ROWS, "workload.model: [one.npz, resnet18]"))
    monkeypatch.chdir(tmp_path / "away")
    assert read_space(space).parameters[0].domain.ends == (str(tmp_path / "one.npz"), "resnet18")
    (tmp_path / "zeros.trace").write_bytes(b"")
    space = write_space(("net.npz", "resnet18"), (ROWS, "workload.trace: [null, zeros.trace]"))
    assert read_space(space).parameters[0].domain.ends == (None, str(tmp_path / "zeros.trace"))


# --- constraints --------------------------------------------------------------------------------------------------


def test_a_sample_does_not_refuse(write_space: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One of two million designs keeps the constraint."""
    large = ((ROWS, "compute.rows: {from: 1, to: 4096, step: 1}"), (COLS, "compute.cols: {from: 1, to: 512, step: 1}"))
    rare = f"{OBJECTIVES}\nconstraints: ['compute.rows * compute.cols == 4096 * 512']"
    assert count(read_space(write_space(*large, (OBJECTIVES, rare)))) == 4096 * 512 * 3
    said = capsys.readouterr().err
    assert said.startswith("warning: constraints: none of 10,000 designs") and "4096 * 512" in said
    with pytest.raises(AnalysisError, match="none of 12 designs"):
        read_space(write_space((OBJECTIVES, rare)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"compute.rows < {HUGE}", "above 1.8e308"),
        ("compute.rows < 1e400", "above 1.8e308"),
        (f"{'9' * 200} * {'9' * 200} / 3 < compute.rows", "above 1.8e308"),
        ("'%z' % compute.rows == 'x'", "computes with text"),
        ("'ab' * 1000000000 == workload", "computes with text"),
        ("[1] * 3 == compute.rows", "computes with text"),
    ],
)
def test_expressions_that_compute_nonsense(text: str, words: str, write_space: Callable[..., Path]) -> None:
    with pytest.raises(AnalysisError, match=words):
        parse_expression(text).holds(lambda name: 8)
    with pytest.raises(AnalysisError):
        read_space(write_space((OBJECTIVES, f'{OBJECTIVES}\nconstraints: ["{text}"]')))


def test_arithmetic_of_numbers_stays() -> None:
    assert parse_expression("rows % 3 == 2 and rows // 3 == 2 and rows in [8, 9]").holds(lambda name: 8)


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["[8, '8']", "[16, 08]", "[8, '1.5']"])
def test_text_among_numbers_is_refused(values: str, write_space: Callable[..., Path]) -> None:
    with pytest.raises(AnalysisError, match=r"compute\.rows.*text beside numbers; write"):
        read_space(write_space((ROWS, f"compute.rows: {values}")))
    assert choices([1, "fp16"]).values == (1, "fp16")


def test_numbers_beyond_a_float_are_refused() -> None:
    with pytest.raises(AnalysisError, match="finite"):
        choices([1, int(HUGE)])
    with pytest.raises(AnalysisError, match="no finite number"):
        stretch(1, int(HUGE))

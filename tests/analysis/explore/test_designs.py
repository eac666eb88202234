"""Expressions, ranges, and the order of a grid."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.search.designs import count, grid, sample, settle
from zerocast.analysis.explore.search.samplers import _neighbours
from zerocast.analysis.explore.space.domains import Choices, stretch
from zerocast.analysis.explore.space.expressions import parse_expression
from zerocast.analysis.explore.space.reading import read_space

NUMBER = st.integers(-5, 5)


@given(a=NUMBER, b=NUMBER)
@pytest.mark.parametrize(
    "text", ["a < b", "a + 1 >= 2 * b", "a < b or a == 3", "not a < b", "-2 < a <= b", "a < 0 and b > 0", "a in (1, 2)"]
)
def test_conditions_mean_what_python_says(text: str, a: int, b: int) -> None:
    expression = parse_expression(text)
    truth = eval(text, {}, {"a": a, "b": b})
    assert expression.holds({"a": a, "b": b}.__getitem__) == truth
    assert (expression.violation({"a": a, "b": b}.__getitem__) == 0) == truth


def test_a_violation_grows_with_the_distance() -> None:
    expression = parse_expression("a.b <= 10")
    found = [expression.violation(lambda name, x=x: x) for x in (10, 11, 20, 1e9)]
    assert found[0] == 0 < found[1] < found[2] < found[3] <= 1


@pytest.mark.parametrize(
    "text", ["f(a) < 1", "a[0] < 1", "a if b else c", "[x for x in a] < 1", "a ** 2 < 1", "(a := 1) < 2"]
)
def test_nothing_but_comparisons_is_read(text: str) -> None:
    with pytest.raises(AnalysisError):
        parse_expression(text)


def test_ranges_have_exact_values() -> None:
    assert stretch(0.1, 0.5, 0.1) == Choices((0.1, 0.2, 0.3, 0.4, 0.5))
    assert stretch(16, 128, 48) == Choices((16, 64, 112))
    assert stretch(16, 256, steps=5, log=True) == Choices((16, 32, 64, 128, 256))
    assert stretch(1.0, 2.0, steps=3) == Choices((1.0, 1.5, 2.0))
    decades = stretch(1e8, 1e10, steps=3, log=True)
    assert isinstance(decades, Choices)
    assert decades.values == pytest.approx((1e8, 1e9, 1e10))


def test_the_grid_is_the_product_in_the_order_written(write_space: Callable[..., Path]) -> None:
    space = read_space(write_space())
    truth = list(itertools.product((16, 32), (16, 32), (1e8, 2e8, 3e8)))
    assert [tuple(choice.values()) for choice in grid(space)] == truth
    assert count(space) == len(truth) == 12


CONDITIONAL = """  compute.interleave: [true, false]
  compute.accumulators_per_pe: {values: [4, 8, 16], when: "compute.interleave == True and compute.rows > 16"}
  compute.cols: [16, 32]
objectives:"""


def test_conditional_parameters_collapse(write_space: Callable[..., Path]) -> None:
    space = read_space(write_space(("  compute.cols: [16, 32]\n", ""), ("objectives:", CONDITIONAL)))
    designs = list(grid(space))
    plain = [tuple(sorted(choice.items())) for choice in designs]
    assert len(set(plain)) == len(plain) == count(space)
    # 3 clocks x 2 columns; of rows x interleave, one of four has three values of the third
    assert len(designs) == 3 * 2 * (3 + 3)
    for choice in designs:
        there = choice["compute.interleave"] and choice["compute.rows"] > 16
        assert ("compute.accumulators_per_pe" in choice) == there
    drawn = {tuple(sorted(settle(space, sample(space, Random(n))).items())) for n in range(2000)}
    assert drawn == set(plain)


def test_a_condition_may_ask_for_the_accelerators_own_value(write_space: Callable[..., Path]) -> None:
    text = 'compute.cols: {values: [16, 32], when: "compute.interleave == False"}'
    assert count(read_space(write_space(("compute.cols: [16, 32]", text)))) == 2 * 3
    text = text.replace("False", "True")
    assert count(read_space(write_space(("compute.cols: [16, 32]", text)))) == 2 * 2 * 3


def test_neighbours_differ_in_one_parameter(write_space: Callable[..., Path]) -> None:
    free = "technology.clock_hz: {from: 1.0e+8, to: 3.0e+8, log: true}"
    space = read_space(write_space(("technology.clock_hz: {from: 1.0e+8, to: 3.0e+8, step: 1.0e+8}", free)))
    values = sample(space, Random(1))
    for moment, other in _neighbours(space, values, Random(2)):
        assert moment > 0 and math.isfinite(moment)
        assert sum(other[name] != values[name] for name in values) == 1
        assert 1e8 <= other["technology.clock_hz"] <= 3e8

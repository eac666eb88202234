"""Sensitivity and best cells against closed forms, scipy and pandas."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from zerocast.analysis.explore.show.table import Table
from zerocast.analysis.reports.pictures.columns import levels_of
from zerocast.analysis.reports.pictures.designs import drawable
from zerocast.analysis.reports.pictures.figures.heat import CELLS, best_cells, gathered
from zerocast.analysis.reports.pictures.figures.sensitivity import (
    BINS,
    by_importance,
    classes,
    estimated_effect,
    main_effect,
    main_effects,
    one_at_a_time,
    share_text,
    whole_grid,
)

pandas = pytest.importorskip("pandas")


def test_estimated_effect_is_epsilon_squared(rng: np.random.Generator) -> None:
    from scipy.stats import f_oneway

    codes = rng.integers(0, 5, 200)
    values = rng.normal(size=200) + 0.5 * codes
    f = f_oneway(*(values[codes == code] for code in range(5))).statistic
    assert estimated_effect(codes, values) == pytest.approx(4 * (f - 1) / (4 * f + 195))


def additive_grid(small: Callable[..., Table]) -> Table:
    """log latency = 2 a + b / 100: 3 x 5 x 2 designs, in which b's share is small and c has none."""
    a, b, c = (np.array(column) for column in zip(*product(range(3), range(5), range(2)), strict=True))
    columns = {"a": a, "b": b, "c": c, "latency_s": np.exp(2.0 * a + 0.01 * b)}
    return small(columns, ("a", "b", "c"), ("latency_s", "min"))


def test_main_effects_of_a_whole_grid_are_exact(small: Callable[..., Table]) -> None:
    designs = drawable(additive_grid(small))
    assert whole_grid(designs)
    effects = main_effects(designs, 0)
    whole = 4 * np.var([0, 1, 2]) + 1e-4 * np.var(range(5))
    assert effects["a"] == pytest.approx(4 * np.var([0, 1, 2]) / whole, rel=1e-12)
    assert effects["b"] == pytest.approx(1e-4 * np.var(range(5)) / whole, rel=1e-9)
    assert effects["c"] == pytest.approx(0, abs=1e-15)
    # what the estimator takes for noise is the effect of a
    codes = designs.levels("b").codes
    assert estimated_effect(codes, np.log(designs.numbers("latency_s"))) == 0 < effects["b"]


def test_what_the_bars_of_a_whole_grid_lack_is_the_interaction(small: Callable[..., Table]) -> None:
    a, b = (np.array(column) for column in zip(*product([-1, 1], [-1, 1]), strict=True))
    table = small(
        {"a": a, "b": b, "latency_s": np.exp(3.0 * a + 2.0 * b + 1.0 * a * b)}, ("a", "b"), ("latency_s", "min")
    )
    assert main_effects(drawable(table), 0) == pytest.approx({"a": 9 / 14, "b": 4 / 14})


def test_a_grid_with_a_hole_or_a_design_twice_is_estimated(small: Callable[..., Table]) -> None:
    table = additive_grid(small)
    hole = replace(table, frame=table.frame.iloc[1:].reset_index(drop=True))
    failed = replace(table, frame=table.frame.assign(status=["error", *["ok"] * 29]))
    twice = replace(table, frame=table.frame.iloc[[*range(1, 30), 1]].reset_index(drop=True))
    for each in (hole, failed, twice):
        designs = drawable(each)
        assert not whole_grid(designs)
        values = np.log(designs.numbers("latency_s"))
        assert main_effects(designs, 0)["a"] == estimated_effect(designs.levels("a").codes, values)


def test_shares_that_are_there_are_not_written_as_none() -> None:
    assert [share_text(s) for s in (np.nan, 0.0, 1e-16, 2e-4, 0.0264, 0.969)] == [
        "–",
        "0%",
        "0%",
        "<0.1%",
        "2.6%",
        "97%",
    ]


def test_main_effects_of_a_sum_are_its_variances(small: Callable[..., Table]) -> None:
    # latency = exp(a + b): its logarithm is additive; 300 x 5 x 2 designs leave little to the correction
    rows = [(a, b, c) for _ in range(100) for a, b, c in product(range(3), range(5), range(2))]
    a, b, c = (np.array(column) for column in zip(*rows, strict=True))
    table = small(
        {"a": a, "b": b, "c": c, "latency_s": np.exp(2.0 * a + 0.5 * b)}, ("a", "b", "c"), ("latency_s", "min")
    )
    effects = main_effects(drawable(table), 0)
    whole = 4 * np.var([0, 1, 2]) + 0.25 * np.var(range(5))
    assert effects["a"] == pytest.approx(4 * np.var([0, 1, 2]) / whole, abs=2e-4)
    assert effects["b"] == pytest.approx(0.25 * np.var(range(5)) / whole, abs=2e-3)
    assert effects["c"] == pytest.approx(0, abs=1e-3)
    assert by_importance(drawable(table)) == ["a", "b", "c"]


def test_a_parameter_without_effect_has_none_in_a_small_sample(rng: np.random.Generator) -> None:
    found = [estimated_effect(rng.integers(0, 8, 40), rng.normal(size=40)) for _ in range(200)]
    # the plain share of the variance would be 7 / 39 = 0.18 on average
    assert np.median(found) < 0.02
    assert np.mean(found) < 0.05


def test_main_effect_where_nothing_varies_or_every_design_is_alone() -> None:
    assert np.isnan(main_effect(np.array([0, 1, 0, 1]), np.full(4, 0.3)))
    assert np.isnan(estimated_effect(np.array([0, 1, 0, 1]), np.full(4, 0.3)))
    assert np.isnan(estimated_effect(np.arange(5), np.arange(5.0)))


def test_many_numbers_are_taken_in_classes(rng: np.random.Generator) -> None:
    levels = levels_of("x", pandas.Series(rng.permutation(1000) * 0.1))
    found = classes(levels)
    assert np.bincount(found).tolist() == [100] * BINS
    assert (np.diff(found[np.argsort(levels.codes)]) >= 0).all()


def test_one_at_a_time_is_what_pandas_finds(big: Table) -> None:
    designs = drawable(big)
    frame = designs.frame
    best = frame.iloc[frame["energy_j"].argmin()]
    assert best["skipping.wait"] == "off"
    found = {each.name: each for each in one_at_a_time(designs, 1)}
    plain = [
        "workload.prune",
        "compute.rows",
        "compute.cols",
        "memories.input_buffer.capacity_bytes",
        "technology.clock_hz",
    ]
    for name in plain:
        others = [p for p in plain if p != name]
        same = frame[(frame[others] == best[others]).all(axis=1) & (frame["skipping.wait"] == "off")]
        assert sorted(found[name].ratios) == pytest.approx(sorted(same["energy_j"] / best["energy_j"]))
        assert found[name].active
    # the queue exists only with skipping.wait on: it is no difference for wait, and not in use at the best design
    same = frame[(frame[plain] == best[plain]).all(axis=1)]
    assert len(found["skipping.wait"].ratios) == len(same) == 3
    assert not found["skipping.queue"].active


def test_best_cells_are_the_group_minima(big: Table) -> None:
    designs = drawable(big)
    x, y = designs.levels("compute.rows"), designs.levels("compute.cols")
    cells = best_cells(designs, 0, x, y)
    expected = designs.frame.pivot_table("latency_s", "compute.cols", "compute.rows", "min").to_numpy()
    np.testing.assert_array_equal(cells, expected)
    assert np.isnan(cells).sum() == 2


def test_best_cells_of_what_is_to_be_large(small: Callable[..., Table]) -> None:
    table = small({"p": [1, 1, 2], "q": [1, 1, 1], "accuracy": [0.3, 0.7, 0.5]}, ("p", "q"), ("accuracy", "max"))
    designs = drawable(table)
    assert best_cells(designs, 0, designs.levels("p"), designs.levels("q")).tolist() == [[0.7, 0.5]]


def test_many_values_share_cells() -> None:
    levels = levels_of("x", pandas.Series(np.arange(100.0)))
    cells = gathered(levels)
    assert len(cells) <= CELLS
    assert cells.labels[0] == "0 to 9"
    assert cells.codes.tolist() == [i // 10 for i in range(100)]
    assert gathered(levels_of("x", pandas.Series(range(5)))).labels == ("0", "1", "2", "3", "4")

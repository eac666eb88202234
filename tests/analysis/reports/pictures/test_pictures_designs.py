"""Which designs are drawn, and what their columns are called: against brute force."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.show.table import Table
from zerocast.analysis.reports.pictures.columns import (
    axis_title,
    levels_of,
    spans_decades,
    unit_of,
    value_text,
    words_of,
)
from zerocast.analysis.reports.pictures.designs import (
    chosen_by_key,
    drawable,
    extremes_and_knee,
    front,
    knee,
    reasons_of,
)

pandas = pytest.importorskip("pandas")


def test_front_is_what_no_other_design_beats(big: Table, rng: np.random.Generator) -> None:
    designs = drawable(big)
    costs = designs.costs[rng.choice(len(designs.costs), 400, replace=False)]
    beaten = [any((other <= mine).all() and (other < mine).any() for other in costs) for mine in costs]
    mine = front(costs)
    assert 5 < mine.sum() < 100
    assert not (mine & np.array(beaten)).any()
    assert {tuple(c) for c in costs[mine]} == {tuple(c) for c, lost in zip(costs, beaten, strict=True) if not lost}


@pytest.mark.parametrize("columns", [(0, 1), (0, 2), (1, 2)])
def test_knee_is_farthest_from_the_line_through_the_ends(big: Table, columns: tuple[int, int]) -> None:
    costs = drawable(big).costs[:, list(columns)]
    points = costs[front(costs)]
    logs = np.log(points)
    logs = (logs - logs.min(axis=0)) / np.ptp(logs, axis=0)
    first, last = logs[np.argmin(logs[:, 0])], logs[np.argmin(logs[:, 1])]
    along = (last - first) / np.linalg.norm(last - first)
    away = (logs - first) - np.outer((logs - first) @ along, along)
    below = np.linalg.norm(away, axis=1) * np.sign(-away.sum(axis=1))
    assert below[knee(points)] == pytest.approx(below.max())


def test_knee_of_objectives_that_touch_zero() -> None:
    points = np.array([[-1.0, 1.0], [-0.9, 0.1], [0.0, 0.0]])
    assert knee(points) == 1


def test_chosen_designs_are_the_best_of_each_objective(big: Table) -> None:
    designs = drawable(big)
    chosen = extremes_and_knee(designs)
    assert [each.letter for each in chosen] == ["A", "B", "C", "D"]
    for each, column in zip(chosen, ("latency_s", "energy_j", "area_mm2"), strict=False):
        assert designs.frame[column][each.row] == designs.frame[column].min()
        assert designs.front[each.row]
    assert chosen[-1].role == "knee"


def test_a_design_that_is_best_in_all_is_chosen_once(small: Callable[..., Table]) -> None:
    table = small({"p": [1, 2, 3], "latency_s": [1.0, 2.0, 3.0], "accuracy": [0.9, 0.8, 0.7]}, ("p",),
                  ("latency_s", "min"), ("accuracy", "max"))  # fmt: skip
    (only,) = extremes_and_knee(drawable(table))
    assert (only.row, only.role) == (0, "least latency, most accuracy, knee")


def test_keys_may_be_cut_short(big: Table) -> None:
    designs = drawable(big)
    key = designs.frame["design"][7]
    assert [each.row for each in chosen_by_key(designs, [key, designs.frame["design"][3], key])] == [7, 3]
    with pytest.raises(AnalysisError, match="'fffff': no such design"):
        chosen_by_key(designs, ["fffff"])
    with pytest.raises(AnalysisError, match=r"'0000': .* give more digits"):
        chosen_by_key(designs, ["0000"])


def test_designs_without_a_value_are_left_out_and_said(small: Callable[..., Table]) -> None:
    nan = float("nan")
    table = small(
        {"p": [1, 2, 3, 4], "latency_s": [1.0, nan, 3.0, float("inf")], "area_mm2": [nan] * 4},
        ("p",), ("latency_s", "min"), ("area_mm2", "min"), ("dsp", "min"),
    )  # fmt: skip
    designs = drawable(table)
    assert designs.frame["p"].tolist() == [1, 3]
    assert designs.source.tolist() == [0, 2]
    assert [objective.name for objective in designs.objectives] == ["latency_s"]
    assert designs.notes == (
        "objective area_mm2 is left out: no design has a value of it",
        "objective dsp is left out: no design has a value of it",
        "2 of 4 designs are left out: they miss a value of an objective",
    )


def test_a_table_without_an_ok_design_says_why(big: Table) -> None:
    frame = big.frame[big.frame["status"] == "infeasible"].copy()
    frame.loc[frame.index[:9], "reason"] = "breaks dsp <= 4 (dsp = 7); breaks area_mm2 < 30 (area_mm2 = 31)"
    table = replace(big, frame=frame)
    assert reasons_of(table) == [("breaks area_mm2 < 30", len(frame)), ("breaks dsp <= 4", 9)]
    with pytest.raises(
        AnalysisError, match=r"no design to draw: 1,239 infeasible\. Most often: breaks area_mm2 < 30 \(1,239\)"
    ):
        drawable(table)
    with pytest.raises(AnalysisError, match="no design to draw: it is empty"):
        drawable(replace(big, frame=frame.iloc[:0]))


def test_objectives_that_exclude_each_other(small: Callable[..., Table]) -> None:
    nan = float("nan")
    table = small(
        {"p": [1, 2], "latency_s": [1.0, nan], "area_mm2": [nan, 1.0]},
        ("p",),
        ("latency_s", "min"),
        ("area_mm2", "min"),
    )
    with pytest.raises(AnalysisError, match="no design has a value of all its objectives"):
        drawable(table)


@pytest.mark.parametrize("gone", ["status", "compute.rows"])
def test_a_missing_column_is_named(big: Table, gone: str) -> None:
    with pytest.raises(AnalysisError, match=f"has no column {gone}"):
        drawable(replace(big, frame=big.frame.drop(columns=gone)))


def test_levels_are_in_order_whatever_their_type() -> None:
    column = pandas.Series([4, "off", None, 1.0, float("nan"), True, 16], dtype=object)
    levels = levels_of("queue", column)
    assert levels.values == (1.0, 4.0, 16.0, "off", "True", None)
    assert levels.codes.tolist() == [1, 3, 5, 0, 5, 4, 2]
    assert not levels.numeric
    assert len(set(levels_of("technology.clock_hz", pandas.Series([1e8, 1e8 + 1e-3])).labels)) == 2


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("latency_s", 0.00123456, "1.23 ms"), ("technology.clock_hz", 1.5e8, "150 MHz"), ("compute.rows", 128, "128"),
        ("technology.clock_hz", 123456789.0, "123.457 MHz"), ("memories.b.capacity_bytes", 65536, "64 KiB"),
        ("memories.b.capacity_bytes", 3 * 2**20, "3 MiB"), ("memories.b.capacity_bytes", 3 * 2**19, "1536 KiB"),
        ("area_mm2", 12.3456, "12.35 mm²"), ("dsp", 1536.0, "1536"), ("skipping.queue", None, "–"), ("x", "a b", "a b"),
        ("flag", True, "True"), ("macs", 4.1e9, "4.10 G"), ("workload.batch", 16, "16"),
    ],
)  # fmt: skip
def test_values_for_people(name: str, value: object, text: str) -> None:
    assert value_text(name, value) == text


def test_names_and_units() -> None:
    assert words_of("memories.input_buffer.capacity_bytes") == "input_buffer.capacity_bytes"
    assert axis_title("latency_s", "m") == "latency [ms]"
    assert axis_title("compute.rows") == "compute.rows"
    assert axis_title("macs", "G") == "MACs [G]"
    assert unit_of("memories.dram.bandwidth_bytes_per_s") == "B/s"
    assert spans_decades(np.array([1.0, 10.0])) and not spans_decades(np.array([1.0, 9.9]))
    assert not spans_decades(np.array([-1.0, 100.0]))

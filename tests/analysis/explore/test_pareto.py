"""Fronts against brute force, volumes against closed forms and random points."""

import numpy as np
import pytest
from hypervolume import hypervolume
from hypothesis import given
from hypothesis import strategies as st

from zerocast.analysis.explore.search.pareto import crowding, front, losses

POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=25)


@given(POINTS)
def test_the_front_is_what_nothing_beats(points: list[tuple[int, ...]]) -> None:
    values = np.array(points, dtype=float)
    found = front(values)
    beaten = [any((a <= b).all() and (a < b).any() for a in values) for b in values]
    truth = {tuple(v) for v, lost in zip(values, beaten, strict=True) if not lost}
    assert {tuple(v) for v in values[found]} == truth
    assert len(found) == len(truth)  # of equal ones the first
    assert all(n == next(m for m, v in enumerate(values) if (v == values[n]).all()) for n in found)


def test_designs_without_a_value_are_no_candidates() -> None:
    assert list(front(np.array([[np.nan, 0.0], [1.0, 1.0]]))) == [1]
    assert len(front(np.empty((0, 2)))) == 0


def test_volumes_of_boxes() -> None:
    assert hypervolume(np.array([[1.0, 1.0]]), [3.0, 4.0]) == 6
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), [3.0, 3.0]) == 3
    assert hypervolume(np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]]), [3.0, 3.0, 3.0]) == 8 + 1
    assert hypervolume(np.array([[3.0, 0.0]]), [3.0, 3.0]) == 0
    assert hypervolume(losses(np.array([[1.0, 5.0]]), ["min", "max"]), [2.0, 0.0]) == 5


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_volumes_against_random_points(dimensions: int) -> None:
    random = np.random.default_rng(dimensions)
    points = random.random((40, dimensions)) ** 0.5
    thrown = random.random((100_000, dimensions))
    share = np.zeros(len(thrown), dtype=bool)
    for point in points:
        share |= (point <= thrown).all(axis=1)
    error = 4 * np.sqrt(share.mean() * (1 - share.mean()) / len(thrown))
    assert hypervolume(points, [1.0] * dimensions) == pytest.approx(share.mean(), abs=error)


def test_lonely_places_weigh_more() -> None:
    weights = crowding(np.array([[0.0, 10.0], [1.0, 9.0], [1.5, 8.5], [7.0, 3.0], [10.0, 0.0]]))
    assert weights[0] == weights[-1] == 4
    assert weights[1] < weights[2] < weights[3] < 4

"""The per-channel law against masks drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from zerocast.workloads import WorkloadError
from zerocast.workloads.patterns import Mask, PerChannel, Uniform

SHARES = (0.1, 0.9, 0.5, 0.0, 1.0, 0.3, 0.7, 0.2, 0.6, 0.4)


@pytest.mark.parametrize("tile", [{"c": 1, "h": 4}, {"c": 2, "h": 1}, {"c": 5, "h": 8}, {"c": 10, "h": 2}, {"h": 8}])
def test_mean_and_variance_are_those_of_drawn_tiles(tile: dict[str, int]) -> None:
    """40,000 positions of 10 channels: standard errors below 1 %; the tolerance is 5 of them."""
    rng = np.random.default_rng(0)
    bits = rng.random((len(SHARES), 40_000)) < np.array(SHARES)[:, None]
    law, drawn = PerChannel("c", SHARES).occupancy(tile), Mask.of(bits, ("c", "h")).occupancy(tile)
    assert law.mean == pytest.approx(drawn.mean, rel=0.01)
    assert law.variance == pytest.approx(drawn.variance, rel=0.05)
    assert drawn.maximum <= law.maximum == tile.get("c", 1) * tile["h"]


def test_an_exact_case_by_hand() -> None:
    """Tiles of two channels, one element each: sums of shares 0.5 and 1.5."""
    law = PerChannel("c", (0.0, 0.5, 1.0, 0.5)).occupancy({"c": 2})
    assert (law.mean, law.variance) == (1.0, 0.25 + 0.25)


def test_equal_shares_are_the_uniform_law() -> None:
    tile = {"c": np.array([1, 2, 4, 4]), "h": np.array([3, 3, 5, 7])}
    a, b = PerChannel("c", (0.25,) * 8).occupancy(tile), Uniform(0.25).occupancy(tile)
    np.testing.assert_allclose(a.mean, b.mean)
    np.testing.assert_allclose(a.variance, b.variance)


def test_extents_broadcast() -> None:
    pattern = PerChannel("c", SHARES)
    grid = pattern.occupancy({"c": np.array([[1], [3], [10]]), "h": np.array([1, 6])})
    assert grid.variance.shape == (3, 2)
    for i, c in enumerate((1, 3, 10)):
        for j, h in enumerate((1, 6)):
            single = pattern.occupancy({"c": c, "h": h})
            assert (grid.mean[i, j], grid.variance[i, j]) == pytest.approx((single.mean, single.variance))


def test_shares_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"density 1\.5 is outside \[0, 1\]"):
        PerChannel("c", (0.5, 1.5))
    with pytest.raises(WorkloadError, match="at least one density"):
        PerChannel("c", ())

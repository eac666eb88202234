"""The suite of training with 2:4 weights that are selected at run time."""

from __future__ import annotations

import pytest

from zerocast.analysis.validate.suites.gpu.networks import two_four_training


def test_the_speedup_is_the_published_one_with_the_selections_of_both_passes() -> None:
    dense, sparse, speedup = two_four_training.compare(lambda message: None)
    assert dense.ok and sparse.ok and speedup.ok
    assert speedup.reference == pytest.approx(11534 / 9205, abs=5e-4)
    assert abs(speedup.error) < 0.02

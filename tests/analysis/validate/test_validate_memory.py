"""The suite of memory: its references, by plain arithmetic, and one of its rows."""

from __future__ import annotations

import pytest

from zerocast.analysis.validate.comparison import reference_rows
from zerocast.analysis.validate.suites.gpu.networks import memory

SIZES = {"60M": 58.1, "130M": 134.1, "350M": 367.9, "1B": 1339.0, "7B": 6738.0}
"""Published parameters in millions."""


@pytest.mark.parametrize("size", SIZES)
def test_states_are_six_bytes_of_each_published_parameter(size: str) -> None:
    (row,) = (row for row in reference_rows("gpu/memory.csv") if row["label"] == f"LLaMA {size}")
    assert float(row["gigabytes"]) == pytest.approx(6e-3 * SIZES[size], rel=1e-3)


def test_a_row_holds() -> None:
    pytest.importorskip("transformers")
    (row,) = (row for row in reference_rows("gpu/memory.csv") if row["label"] == "LLaMA 60M")
    (compared,) = memory._compared(row)
    assert compared.ok
    assert compared.predicted == pytest.approx(6 * 58_073_600 / 1e9)

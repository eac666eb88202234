"""Images per second on FPGA boards: what the suite compares, on its quickest network."""

from __future__ import annotations

import pytest

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import reference_rows
from zerocast.analysis.validate.suites.arrays import dpu
from zerocast.simulator import simulate

TABLE = reference_rows("dpu.csv")


def rows(**wanted: str) -> list[dpu.Row]:
    return [row for row in TABLE if all(row[name] == value for name, value in wanted.items())]


def test_every_row_has_a_board_a_source_and_a_licence() -> None:
    assert {row["board"] for row in TABLE} == set(dpu.BOARDS)
    assert all(row["licence"] == "Apache-2.0" and row["source"].startswith("github:") for row in TABLE)
    assert all(rows(board=row["board"], model=row["model"], arguments=row["arguments"], recipe="") for row in TABLE)


def test_mobilenet_v1_holds_on_every_board() -> None:
    found = rows(model="mobilenet_v1", arguments="", recipe="")
    assert {row["board"] for row in found} == set(dpu.BOARDS)
    for row in found:
        assert dpu.giga_ops(row) == pytest.approx(float(row["giga_ops"]), rel=0.01)
        assert abs(dpu.frames(row).error or 1.0) < 0.08


@pytest.mark.slow
def test_every_network_has_the_operations_that_were_published() -> None:
    for row in rows(board="zcu104"):
        assert dpu.giga_ops(row) == pytest.approx(float(row["giga_ops"]), rel=0.035)


def test_mechanisms_are_worth_what_they_skip() -> None:
    """Without lanes of their own, depthwise layers take the array one group at a time, its idle lanes three taps."""
    network = dpu.workload("mobilenet_v1", "", "")
    beside, on_array = (simulate(network, load("dpu-b4096", {"compute.depthwise": lanes})).rows
                        for lanes in ({"out_cols": 4, "groups": 16}, {}))  # fmt: skip
    sizes = [(32, 112), (64, 56), (128, 56), (128, 28), (256, 28), (256, 14), *[(512, 14)] * 5, (512, 7), (1024, 7)]
    saved = sum(out * (3 * c * -(-out // 8) - 9 * c // 16 * -(-out // 4)) for c, out in sizes)
    assert sum(row.cycles for row in on_array) - sum(row.cycles for row in beside) == pytest.approx(saved)

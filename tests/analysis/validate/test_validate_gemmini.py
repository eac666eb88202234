"""The suite of RTL runs, and the notation of their mappings."""

from __future__ import annotations

import pytest

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.products.timeloop import given_entry
from zerocast.analysis.validate.comparison import reference_rows
from zerocast.analysis.validate.suites.arrays import gemmini

SIZES = {"N": 1, "K": 768, "C": 768, "P": 128, "Q": 1, "R": 1, "S": 1}


def test_the_outermost_level_says_how_many_tiles_there_are() -> None:
    text = "L3[WIO] C4 K48 - L2[WI] N1 K16X - L1[O] C12 P16 C16X - L0[W] P8"
    (level,) = given_entry(text, SIZES, "mnk")["levels"]
    assert level["order"] == "mnk"
    assert level["tile"] == {"samples": 1, "n": 16, "in_channels": 192, "out_cols": 128, "out_rows": 1,
                             "kernel_cols": 1, "kernel_rows": 1}  # fmt: skip


@pytest.mark.parametrize("text", ["K48 - L2[WI] N1", "L3[WIO] X4", "", "L3[WIO] K48 L2[WI] N1"])
def test_another_notation_is_refused(text: str) -> None:
    with pytest.raises(AnalysisError, match="is no mapping; the form is"):
        given_entry(text, SIZES, "mnk")


def test_loops_that_do_not_divide_their_rank_are_refused() -> None:
    with pytest.raises(AnalysisError, match="5 tiles do not divide K 768"):
        given_entry("L3[WIO] K5 - L2[WI] N1", SIZES, "mnk")


def test_one_tile_is_its_loads_its_instructions_and_its_store() -> None:
    """128 x 64 x 64 int8 in one tile: 4 x 4 folds of 128 rows, one skew of 30 cycles, all bytes at 10.4 a cycle."""
    sizes = dict(zip("nkcpqrs", ("1", "64", "64", "128", "1", "1", "1"), strict=True)) | {"stride": "1"}
    memories = {"accumulator_bytes": "32768", "scratchpad_bytes": "16384"}
    row = sizes | memories | {"mapping": "L3[WIO] N1 - L2[WI] K16X"}
    moved = 128 * 64 + 64 * 64 + 128 * 64
    assert gemmini.given_cycles(row) == pytest.approx(16 * 128 + 30 + moved / 10.4)


def test_the_means_hold_and_no_layer_calibrates_the_others() -> None:
    found = {row.what: row for row in gemmini.compare(lambda message: None)}
    means = {what: row for what, row in found.items() if what.startswith("mean error")}
    assert len(means) == 3 and all(row.ok for row in means.values())
    table = reference_rows("gemmini.csv")
    assert len(found) == 2 * len(table) + 3
    timeloop = [abs(float(row["timeloop_cycles"]) / float(row["given_cycles"]) - 1) for row in table]
    assert max(row.predicted for row in means.values()) < sum(timeloop) / len(timeloop)

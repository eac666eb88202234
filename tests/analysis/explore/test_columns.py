"""What a run prints: tables that keep their cells whole, counts and paces."""

import re

import pytest

from zerocast.analysis.explore.show.columns import Column, fit, short_names
from zerocast.analysis.explore.show.words import design_count, pace

KEYS = [Column("number", ("7", "12"), is_key=True), Column("design", ("0123456789ab",) * 2, True, is_key=True)]
WIDE = [Column("weight_buffer.capacity_bytes", ("1", "2")), Column("technology.clock_hz", ("1e+08", "4e+08"))]
SAME = [Column("dram.bandwidth_bytes_per_s", ("5", "5"), may_go=True)]


def test_names_are_shortened_as_far_as_they_stay_unique() -> None:
    names = ("number", "workload.prune", "memories.sram.bytes", "a.b.sram.size", "c.b.sram.size", "sram.size")
    assert short_names(names) == {
        "number": "number", "workload.prune": "workload.prune", "memories.sram.bytes": "sram.bytes",
        "a.b.sram.size": "a.b.sram.size", "c.b.sram.size": "c.b.sram.size", "sram.size": "sram.size",
    }  # fmt: skip


@pytest.mark.parametrize("width", range(20, 130))
def test_a_table_of_any_width_cuts_no_cell_and_no_word(width: int) -> None:
    columns = [*KEYS, *WIDE, *SAME]
    lines, dropped = fit(columns, width)
    shown = [column for column in columns if not (dropped and column.may_go)]
    words = " ".join(lines).split()
    for column in shown:
        assert set(column.cells) <= set(words)
    pieces = {piece for column in shown for piece in re.findall(r"[a-z]+", column.title)}
    assert pieces <= {piece for word in words for piece in re.findall(r"[a-z]+", word)}
    # number (6), design (12) and a header of 14 stand beside each other in 36 characters
    assert width < 36 or max(map(len, lines)) <= width


def test_columns_go_only_where_the_width_does_not_suffice() -> None:
    columns = [*KEYS, *WIDE, *SAME]
    assert [fit(columns, width)[1] for width in (130, 70, 50)] == [False, False, True]


@pytest.mark.parametrize(("number", "said"), [(0, "0 designs"), (1, "1 design"), (2304, "2,304 designs")])
def test_counts(number: int, said: str) -> None:
    assert design_count(number) == said


@pytest.mark.parametrize(
    ("priced", "seconds", "said"),
    [(0, 3.0, ""), (1000, 4.0, "250.0 designs/s"), (2, 25.0, "12.5 s a design"), (3, 3.0, "1.0 designs/s")],
)
def test_paces(priced: int, seconds: float, said: str) -> None:
    assert pace(priced, seconds) == said

"""The gate of `zerocast validate`: tolerances, known misses with bounds, and the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zerocast.accelerators import library
from zerocast.accelerators.tables import energy
from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate import SUITES
from zerocast.analysis.validate import record as files
from zerocast.analysis.validate.comparison import Comparison, against, at_least, at_most, below, information
from zerocast.analysis.validate.page import page
from zerocast.analysis.validate.record import Miss, key_of, known_misses, merged, off, record_text, recorded
from zerocast.analysis.validate.verdict import judge, missing
from zerocast.simulator.laws import array as compute


def verdict(row: Comparison, before: float | None, bound: float | None = None) -> tuple[str, str, str]:
    record = {} if before is None else {key_of(row): replace(row, predicted=before)}
    misses = {} if bound is None else {key_of(row): Miss("s", "w", "a cause", bound)}
    (found,) = judge([row], record, misses)
    return found.status, found.why, found.remark


def target(value: float, tolerance: float = 0.2) -> Comparison:
    return against("s", "w", value, 100.0, "x", tolerance, "source")


@pytest.mark.parametrize(
    ("value", "before", "status"),
    [
        (105, 105, "holds"), (105.4, 105, "holds"), (105.6, 105, "FAIL"), (95.6, 105, "holds"), (94.4, 105, "FAIL"),
        (90, 95.1, "FAIL"), (99, 90, "holds"), (105, None, "holds"), (121, 121, "FAIL"),
    ],
)  # fmt: skip
def test_a_target_falls_by_half_a_point_more_error(value: float, before: float | None, status: str) -> None:
    assert verdict(target(value), before)[0] == status


def test_a_row_that_is_better_is_remarked() -> None:
    assert "better than the recorded 90" in verdict(target(99), 90)[2]


def test_a_known_miss_holds_up_to_its_bound() -> None:
    assert verdict(target(140), 140, 0.4) == ("known miss", "a cause", "")
    assert verdict(target(140.1), 140, 0.4)[0] == "FAIL"
    assert verdict(target(141), 140, 0.5)[0] == "FAIL", "worse than recorded, though within its bound"
    assert "remove it" in verdict(target(110), 110, 0.4)[2]


def test_limits_and_shares_fall_on_their_wrong_side_only() -> None:
    """An error of 5 % under a limit of 6 %: half a point of the limit is 0.0003."""
    assert verdict(at_most("s", "w", 0.0502, 0.06, "source"), 0.05)[0] == "holds"
    assert verdict(at_most("s", "w", 0.0504, 0.06, "source"), 0.05)[0] == "FAIL"
    assert verdict(at_most("s", "w", 0.03, 0.06, "source"), 0.05)[0] == "holds"
    assert verdict(at_least("s", "w", 0.95, 0.9, "source"), 0.94)[0] == "holds"
    assert verdict(at_least("s", "w", 0.93, 0.9, "source"), 0.94)[0] == "FAIL"
    assert off(at_least("s", "w", 0.45, 0.9, "source")) == pytest.approx(0.5)


def test_figures_and_ceilings_must_not_move() -> None:
    """Neither more nor less of them is better, so that a move either way is one that nobody meant."""
    for row in (information("s", "w", 2.0, "x"), below("s", "w", 2.0, 3.0, "x", "source")):
        assert verdict(row, 2.009)[0] != "FAIL"
        assert verdict(row, 2.02)[0] == verdict(row, 1.98)[0] == "FAIL"
    assert verdict(below("s", "w", 3.1, 3.0, "x", "source"), 3.1)[0] == "FAIL"


def test_rows_that_do_not_come_fail_unless_they_need_an_extra() -> None:
    row, extra = target(100), replace(target(100), what="other", needs="real")
    record = {key_of(each): each for each in (row, extra)}
    wrong, remarks = missing([], record, {("s", "third"): Miss("s", "third", "c", 1.0)}, ["s"])
    assert len(wrong) == 2 and "third" in wrong[1] and len(remarks) == 1 and "real" in remarks[0]
    assert missing([], record, {}, []) == ([], [])


def test_recording_one_suite_keeps_the_others_and_forgets_its_own_rows() -> None:
    old = {key_of(row): row for row in (target(1), replace(target(2), what="gone"), replace(target(3), suite="t"))}
    kept = merged(old, [target(9)], ["s"], ["t", "s"])
    assert [(row.suite, row.what, row.predicted) for row in kept] == [("t", "w", 3), ("s", "w", 9)]


def test_the_record_reads_back_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [target(1 / 3), at_most("s", "limit", 0.07, 0.06, "x, y"), information("s", "figure", 2.5, "x")]
    (tmp_path / files.RECORD).write_text(record_text(rows))
    monkeypatch.setattr(files, "reference_rows", lambda name: _rows(tmp_path / name))
    again = list(recorded().values())
    assert [(row.what, row.nature, row.ok) for row in again] == [(row.what, row.nature, row.ok) for row in rows]
    assert again[0].predicted == 0.333333 and record_text(again) == record_text(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    import csv

    return list(csv.DictReader(path.read_text().splitlines()))


# --- what is shipped ----------------------------------------------------------------------------------------------


def test_the_shipped_page_is_that_of_the_shipped_record_and_no_row_of_it_fails() -> None:
    rows = list(recorded().values())
    text = (Path(__file__).parents[3] / "analysis" / "references" / files.PAGE).read_text(encoding="utf-8")
    assert text == page(rows, known_misses())
    assert ", 0 failed." in text
    assert {row.suite for row in rows} == set(SUITES)


def test_every_known_miss_is_a_row_of_the_record_that_misses() -> None:
    rows = recorded()
    for key, miss in known_misses().items():
        assert rows[key].ok is False and off(rows[key]) <= miss.bound
        assert off(rows[key]) > 0.8 * miss.bound or miss.bound <= 0.1, "a bound is near what it bounds"


def test_a_known_miss_without_a_cause_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "reference_rows", lambda _: [{"suite": "s", "row": "w", "cause": " ", "bound": "0.1"}])
    with pytest.raises(AnalysisError, match="write the cause"):
        known_misses()


# --- a constant that changes by a fifth ----------------------------------------------------------------------------

CHANGES: dict[str, dict[str, str]] = {
    "eyeriss-v1": {"clock": "technology.clock_hz", "link": "memories.dram.bandwidth_bytes_per_s",
                   "fold": "row_stationary.ifmap_bus_bytes_per_cycle"},
    "eie": {"clock": "technology.clock_hz", "link": "memories.dram.bandwidth_bytes_per_s",
            "fold": "skipping.fill_cycles"},
    "mcbbs-arria10": {"clock": "technology.clock_hz", "link": "memories.dram.bandwidth_bytes_per_s", "fold": ""},
    "systolic-32x32": {"clock": "technology.clock_hz", "link": "memories.dram.bandwidth_bytes_per_s", "fold": ""},
    "tpu-like-128": {"clock": "technology.clock_hz", "link": "memories.dram.bandwidth_bytes_per_s", "fold": ""},
}  # fmt: skip
"""Where templates that have published rows say their clock, their link and a constant of a fold, round or start; ""
stands for the skew of a systolic fold, which is a formula."""


def changed(monkeypatch: pytest.MonkeyPatch, template: str, path: str, factor: float) -> None:
    """Let the template's YAML say another value."""
    read = library._read

    def other(name: str) -> dict[str, object]:
        description = read(name)
        if name == template:
            here = description
            *outer, last = path.split(".")
            for key in outer:
                here = here[key] if isinstance(here, dict) else next(part for part in here if part["name"] == key)
            here[last] = here[last] * factor
        return description

    monkeypatch.setattr(library, "_read", other)


def dearer(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Let every multiply-accumulate cost more energy."""
    known = energy.EnergyTable.mac_j
    monkeypatch.setattr(energy.EnergyTable, "mac_j", lambda table, dtype: factor * known(table, dtype))


def change(monkeypatch: pytest.MonkeyPatch, template: str, constant: str, factor: float) -> None:
    """Let one constant of a template differ by a factor."""
    if constant == "MAC energy":
        dearer(monkeypatch, factor)
    elif path := CHANGES[template][constant]:
        changed(monkeypatch, template, path, factor)
    else:
        skew = compute._skew
        monkeypatch.setattr(compute, "_skew", lambda *arguments: factor * skew(*arguments))


@pytest.mark.parametrize("template", CHANGES)
def test_a_template_as_shipped_holds(template: str) -> None:
    assert main(["validate", f"templates:{template}"]) == 0


@pytest.mark.parametrize("factor", [1.2, pytest.param(0.8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("constant", ["clock", "link", "MAC energy", "fold"])
@pytest.mark.parametrize("template", CHANGES)
def test_a_constant_that_changes_by_a_fifth_fails(
    template: str, constant: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch, template, constant, factor)
    assert main(["validate", f"templates:{template}"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["clock", "link", "MAC energy", "fold"])
def test_published_rows_of_a_chip_see_it_too(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eyeriss v1 on silicon: a constant that is a fifth worse takes some row further from its measurement."""
    change(monkeypatch, "eyeriss-v1", constant, 1.2 if constant == "MAC energy" else 0.8)
    assert main(["validate", "zeroskip:eyeriss_v1"]) == 1


def test_a_part_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "zeroskip:tpu"]) == 2
    assert "choose eyeriss_v1" in capsys.readouterr().err
    assert main(["validate", "energy:chips"]) == 2
    assert "has none" in capsys.readouterr().err


def test_the_page_that_a_run_writes(tmp_path: Path) -> None:
    assert main(["validate", "dense:tpu", "--write", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "| tpu-like-128 M2048-N1-K128 | 2304 | 2304 [1] | cycles | +0.0% | within 0.0% |" in text
    assert main(["validate", "gpu", "--measured", "x.csv", "--record"]) == 2

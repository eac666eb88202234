"""`zerocast plot`: what it writes, what it leaves out, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.show.table import Table
from zerocast.analysis.reports.pictures import style
from zerocast.analysis.reports.pictures.command import Pictures, plot_table

COARSE = 40
"""Dots per inch: the resolution is another test's."""


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", COARSE)


class Page(HTMLParser):
    """Links, captions and list items."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [unquote(value or "") for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def drawn(hostile: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pictures, list[str]]:
    """All pictures of a table, and what was said meanwhile."""
    said: list[str] = []
    out = tmp_path_factory.mktemp("drawn") / "a" / "pictures"
    keys = [str(key) for key in hostile.frame["design"][5:8]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", COARSE)
        done = plot_table(hostile, out, x="technology.clock_hz", y="workload.prune", keys=keys, say=said.append)
    return done, said


def test_everything_is_written_and_linked(drawn: tuple[Pictures, list[str]]) -> None:
    done, said = drawn
    assert list(done.figures) == [
        "front_latency_s_energy_j", "front_latency_s_area_mm2", "front_energy_j_area_mm2",
        "front_latency_s_energy_j_area_mm2", "heat_technology.clock_hz_workload.prune", "parallel", "sensitivity",
        "roofline", "energy",
    ]  # fmt: skip
    assert not done.left_out and len(said) == 10
    written = {path.name for path in done.folder.iterdir()}
    assert written == {f"{name}.{end}" for name in done.figures for end in ("png", "svg")} | {
        "index.html",
        "explore.html",
    }
    assert {path.name for path in done.files} == written
    page = Page((done.folder / "index.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert set(page.links) == written - {"index.html"}
    assert "179 ok, 60 infeasible, 1 error. " in "".join(page.words)


def test_methods_stand_in_the_captions(drawn: tuple[Pictures, list[str]]) -> None:
    captions = drawn[0].figures
    assert "one at a time" in captions["sensitivity"] and "Var(E[Y|X]) / Var(Y)" in captions["sensitivity"]
    assert "epsilon squared (Kelley, 1935)" in captions["sensitivity"] and "exact" not in captions["sensitivity"]
    assert "Das, 1999" in captions["front_latency_s_energy_j"]
    assert "its own roofs" in captions["roofline"]


def test_the_caption_of_a_whole_grid_says_that_shares_are_exact(
    big: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", COARSE)
    one = big.frame[(big.frame["skipping.wait"] == "off") & (big.frame["compute.rows"] <= 16)]
    one = one[(one["memories.input_buffer.capacity_bytes"] < 2**20) & (one["compute.cols"] <= 32)]
    caption = plot_table(replace(big, frame=one.reset_index(drop=True)), tmp_path).figures["sensitivity"]
    assert "exact" in caption and "interactions of parameters" in caption and "epsilon" not in caption


def test_a_run_that_is_not_complete_is_said(big: Table, tmp_path: Path) -> None:
    words = "9 of 2,304 designs: <stopped>"
    done = plot_table(replace(big, frame=big.frame.iloc[:9], note=words), tmp_path)
    assert done.left_out[0] == f"the rest of the run, which is not complete: {words}"
    for name in ("index.html", "explore.html"):
        page = Page((tmp_path / name).read_text(encoding="utf-8"))
        assert f"not complete: {words}" in "".join(page.words).replace("Not", "not")
    whole = plot_table(replace(big, frame=big.frame.iloc[:9]), tmp_path)
    assert not any("complete" in text for text in whole.left_out)
    assert "ot complete" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_one_objective_is_drawn_against_the_parameters(big: Table, tmp_path: Path) -> None:
    done = plot_table(replace(big, objectives=big.objectives[:1], frame=big.frame.iloc[::9]), tmp_path)
    assert next(iter(done.figures)) == "parameters"
    assert not any(name.startswith("front") for name in done.figures)
    assert done.left_out == ["Pareto front: it takes two objectives, and there is one"]


def test_what_cannot_be_drawn_is_said(small: Callable[..., Table], tmp_path: Path) -> None:
    table = small(
        {"p": [1, 1], "latency_s": [1.0, 2.0], "energy_j": [2.0, 1.0]},
        ("p",),
        ("latency_s", "min"),
        ("energy_j", "min"),
    )
    done = plot_table(table, tmp_path)
    assert list(done.figures) == ["front_latency_s_energy_j"]
    assert done.left_out == [
        "heat map: it takes two parameters that vary",
        "parallel coordinates and sensitivity: no parameter takes two values",
        "roofline: no design has effectual_macs, dram_bytes, peak_macs_per_s, dram_bytes_per_s",
        "energy breakdown: no design has mac_j, register_j, buffer_j, dram_j, vector_j, static_j",
    ]
    assert all(text in (tmp_path / "index.html").read_text() for text in done.left_out)


def test_one_design_is_drawn(big: Table, tmp_path: Path) -> None:
    done = plot_table(replace(big, frame=big.frame.iloc[:1]), tmp_path)
    assert "roofline" in done.figures and "front_latency_s_energy_j" in done.figures


def test_columns_that_are_no_parameters_are_points(hostile: Table, tmp_path: Path) -> None:
    done = plot_table(replace(hostile, objectives=hostile.objectives[:1]), tmp_path, x="dram_bytes", y="latency_s")
    assert list(done.figures)[:2] == ["parameters", "pair_dram_bytes_latency_s"]
    assert any(name.startswith("heat_") for name in done.figures)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": "latency_s"}, "--x and --y belong together"),
        ({"x": "latency_s", "y": "reason"}, "--y 'reason': no such column"),
        ({"x": "lat", "y": "energy_j"}, "--x 'lat': no such column; choose from workload.prune"),
        ({"x": "energy_j", "y": "energy_j"}, "both 'energy_j'"),
        ({"x": "lut", "y": "energy_j"}, "'lut': no design has a value"),
        ({"keys": ["zz"]}, "--designs 'zz': no such design among the 179 that can be drawn"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_anything_is_written(
    hostile: Table, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(AnalysisError, match=words):
        plot_table(hostile, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_command_line(
    hostile: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Path, str | None]] = []

    def read(folder: Path, run: str | None) -> Table:
        asked.append((folder, run))
        return replace(hostile, objectives=hostile.objectives[:1])

    monkeypatch.setattr("zerocast.analysis.explore.show.table.read_table", read)
    assert (
        main(
            [
                "plot",
                str(tmp_path),
                "--run",
                "4b1",
                "--designs",
                f"{hostile.frame['design'][5]}, {hostile.frame['design'][6]}",
            ]
        )
        == 0
    )
    assert asked == [(tmp_path, "4b1")]
    said = capsys.readouterr()
    assert f"6 figures as PNG and SVG, all of them in {tmp_path / 'pictures' / 'index.html'}" in said.out
    assert "left out: Pareto front: it takes two objectives, and there is one" in said.out
    assert "roofline ..." in said.err
    assert main(["plot", str(tmp_path), "--designs", "a,,b"]) == 2
    assert "--designs 'a,,b': name designs by their keys" in capsys.readouterr().err


def test_a_folder_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "zerocast explore" in error and error.count("\n") == 1

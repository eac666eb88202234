"""Reports, tables and pictures of results made by hand, so that every figure is known."""

import base64
import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from zerocast.accelerators import load
from zerocast.analysis import gain, report
from zerocast.analysis.reports.plots.costs import peak_rate, roofline_figure
from zerocast.analysis.reports.plots.times import LAYERS_SHOWN, layers_figure, shorten, timeline_figure
from zerocast.analysis.reports.tables import layer_rows, slowest
from zerocast.analysis.units import scale_of, si
from zerocast.simulator.cost import OpRow
from zerocast.simulator.result import Footprint, Result

PNG = b"\x89PNG\r\n\x1a\n"


def op(name: str, phase: str = "FF", **values: object) -> OpRow:
    standard = {"layer": name.partition(":")[0], "kind": "einsum", "function": "linear", "resource": "array",
                "macs": 1000, "effectual_macs": 1000.0, "cycles": 10.0, "ideal_cycles": 8.0, "latency_s": 1e-6,
                "end_s": 1e-6, "utilisation": 0.8, "bound": "compute", "dram_read_bytes": 100.0, "mac_j": 2e-9,
                "dram_j": 1e-9, "energy_j": 3e-9}  # fmt: skip
    return OpRow(op=name, phase=phase, **{**standard, **values})  # type: ignore[arg-type]


def result(*rows: OpRow, latency_s: float = 1e-5, **values: object) -> Result:
    standard = {"workload": "net", "accelerator": "machine", "fidelity": "analytic", "clock_hz": 1e9,
                "peak_macs_per_s": 1e12, "dram_bytes_per_s": 1e10, "static_j": 0.0,
                "footprint": Footprint(1, 2, 3, 4, 5),
                "meta": {"batch": 2, "recipe": "nm:2:4", "objective": "latency"}}  # fmt: skip
    return Result(rows=rows, latency_s=latency_s, **{**standard, **values})  # type: ignore[arg-type]


@pytest.fixture
def pair() -> tuple[Result, Result]:
    """A network of 60 layers in three passes, and its dense baseline at twice the time."""
    rows = [
        op(
            f"block.{i}.conv{':' + p if p != 'FF' else ''}",
            p,
            latency_s=(i + 1) * 1e-7,
            bound=("compute", "dram")[i % 2],
        )
        for p in ("FF", "BP", "WU")
        for i in range(60)
    ]
    rows = [replace(r, start_s=r.latency_s - 1e-7, end_s=r.latency_s, effectual_macs=500.0) for r in rows]
    unit = op("norm", kind="vector", resource="vector_unit", macs=0, effectual_macs=0.0, bound="unit")
    dense = [replace(row, latency_s=2 * row.latency_s, effectual_macs=1000.0) for row in rows]
    layers = {"a": "first layer", "b": "", "c": "classifier", "d": "classifier"}
    return result(*rows, unit, layers=layers, notes=("<b>careful</b>",)), result(*dense, unit, latency_s=2e-5)


class Links(HTMLParser):
    """Every attribute that could make a browser fetch something, and the ids of images."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.images: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attributes)
        self.targets += [found[name] or "" for name in ("src", "href", "srcset", "data", "action") if name in found]
        if tag == "img":
            self.images.append(found["id"] or "")


def test_page_stands_alone(pair: tuple[Result, Result], tmp_path: Path) -> None:
    page = report(*pair, out=tmp_path, accelerator=load("sat-vcu1525"))
    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert links.images == ["layers", "waterfall", "roofline", "energy", "traffic", "timeline"]
    for target in links.targets:
        kind, _, data = target.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(PNG)
    assert not links.tags & {"script", "link", "iframe", "object"}
    prose = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", prose)
    assert "&lt;b&gt;careful" in prose
    assert "2.00x" in prose
    assert "block.59.conv" in prose
    assert "not published; 200 MHz" in prose


def test_files_hold_the_same_numbers(pair: tuple[Result, Result], tmp_path: Path) -> None:
    ours, dense = pair
    report(ours, dense, out=tmp_path)
    with (tmp_path / "ops.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(ours.rows)
    assert sum(float(row["latency_s"]) for row in rows) == pytest.approx(ours.total("latency_s"))
    assert {float(row["speedup"]) for row in rows if row["op"] != "norm"} == {2.0}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["gain"] == {"speedup": 2.0, "energy_ratio": 1.0, "dram_ratio": 1.0, "mac_ceiling": 2.0,
                               "explanation": ""}  # fmt: skip
    assert summary["dense_reasons"] == {"classifier": 2, "first layer": 1}
    assert summary["samples_per_s"] == pytest.approx(2e5)
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == len(ours.rows)
    for name in ("layers", "waterfall", "roofline", "energy", "traffic", "timeline"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)


def test_area_is_reported_where_it_is_known(tmp_path: Path) -> None:
    small = result(op("a"), area={"multipliers": 1.0, "buffers": 3.0, "die": 0.0})
    text = report(small, out=tmp_path / "known").read_text(encoding="utf-8")
    assert "4 mm2: buffers 75%, multipliers 25%" in text
    facts = json.loads((tmp_path / "known" / "summary.json").read_text())
    assert facts["area_mm2"] == 4.0 and facts["area_mm2_by_component"]["buffers"] == 3.0
    assert "814.5 mm2" in report(result(op("a"), area={"die": 814.5}), out=tmp_path / "die").read_text(encoding="utf-8")
    assert " mm2" not in report(result(op("a")), out=tmp_path / "none").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "none" / "summary.json").read_text())["area_mm2"] is None


def test_report_without_a_baseline(pair: tuple[Result, Result], tmp_path: Path) -> None:
    text = report(pair[0], out=tmp_path).read_text()
    assert "MAC ceiling" not in text
    assert "gain" not in json.loads((tmp_path / "summary.json").read_text())


def test_empty_and_uncosted_results_can_be_reported(tmp_path: Path) -> None:
    assert report(result(latency_s=0.0), out=tmp_path / "empty").is_file()
    lost = op("sort", kind="index", resource="none", macs=0, effectual_macs=0.0, latency_s=0.0, end_s=0.0,
              bound="uncosted", costed=False, energy_j=0.0)  # fmt: skip
    report(result(lost), result(lost), out=tmp_path / "lost")
    assert json.loads((tmp_path / "lost" / "summary.json").read_text())["uncosted_ops"] == ["sort"]


def test_rows_are_summed_by_layer_and_pass() -> None:
    ours = result(
        op("conv", latency_s=3e-6, utilisation=0.9, bound="compute"),
        op("conv:bias", kind="vector", latency_s=1e-6, utilisation=0.1, bound="unit"),
        op("conv:WU", "WU"),
        op("other", layer=""),
        op("conv:BP", "BP"),
    )
    dense = result(op("conv", latency_s=6e-6))
    rows = layer_rows(ours, dense)
    assert [(row.layer, row.phase) for row in rows] == [
        ("conv", "FF"),
        ("conv", "BP"),
        ("conv", "WU"),
        ("(model)", "FF"),
    ]
    first = rows[0]
    assert first.latency_s == pytest.approx(4e-6)
    assert first.speedup == pytest.approx(1.5)
    assert (first.utilisation, first.bound) == (pytest.approx(0.9), "compute")
    assert rows[1].speedup is None


def test_shortened_table_keeps_whole_layers() -> None:
    rows = layer_rows(result(*(op(f"l{i}:{p}", p, latency_s=i) for i in range(9) for p in ("FF", "BP", "WU"))))
    kept = slowest(rows, 7)
    assert [(row.layer, row.phase) for row in kept] == [(f"l{i}", p) for i in (7, 8) for p in ("FF", "BP", "WU")]
    assert slowest(rows, 100) == rows


def test_speedup_above_the_ceiling_is_explained() -> None:
    dense = result(op("a", latency_s=8e-6, bound="dram"), op("b", latency_s=2e-6, bound="compute"))
    ours = result(op("a", latency_s=2e-6, effectual_macs=500.0), op("b", latency_s=1e-6, effectual_macs=500.0),
                  latency_s=3e-6)  # fmt: skip
    better = gain(ours, dense)
    assert better.mac_ceiling == 2.0
    assert better.speedup == pytest.approx(10 / 3)
    assert "86% of the saved time" in better.explanation  # 6 of 7 us
    assert "DRAM" in better.explanation


def test_ceiling_without_work_left_is_infinite() -> None:
    better = gain(result(op("a", effectual_macs=0.0)), result(op("a")))
    assert better.mac_ceiling == float("inf")
    assert better.explanation == ""


def labels(figure: object) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]  # type: ignore[attr-defined]


def test_layers_figure_shows_the_slowest_and_adds_up(pair: tuple[Result, Result]) -> None:
    figure = layers_figure(*pair)
    names = labels(figure)
    assert len(names) <= LAYERS_SHOWN + 1
    assert names[-1].endswith("others")
    axes = figure.axes[0]
    assert axes.get_xlabel().endswith("[µs]")
    drawn = sum(bar.get_width() for container in axes.containers for bar in container)
    assert drawn * 1e-6 == pytest.approx(pair[0].total("latency_s") + pair[1].total("latency_s"))


def test_many_small_layers_are_taken_together_by_path() -> None:
    rows = [op(f"net.stage{s}.{b}.conv{i}") for s in range(4) for b in range(5) for i in range(10)]
    names = labels(layers_figure(result(*rows), None))
    assert names == [f"net.stage{s}.{b}.*" for s in range(4) for b in range(5)]


@pytest.mark.parametrize("draw", [layers_figure, roofline_figure, lambda ours, dense: timeline_figure(ours)])
def test_no_two_texts_overlap(draw: object, pair: tuple[Result, Result]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw(*pair)  # type: ignore[operator]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    texts = [*axes.get_yticklabels(), *axes.get_xticklabels(), *axes.texts, *axes.get_legend().get_texts()]
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts if text.get_text().strip()
    ]
    shown = [(name, box) for name, box in boxes if figure.bbox.overlaps(box)]
    for number, (name, box) in enumerate(shown):
        for other, second in shown[number + 1 :]:
            assert not box.shrunk(0.98, 0.9).overlaps(second.shrunk(0.98, 0.9)), (name, other)


def test_peak_follows_the_data_type() -> None:
    # 1000 MACs in 0.5 ideal cycles at 1 GHz: an array at twice the rate of the machine's 1e12 MAC/s
    assert peak_rate(result(op("a", ideal_cycles=0.5))) == pytest.approx(2e12)
    assert peak_rate(result(op("a", ideal_cycles=0.5, skipped="weight"))) == 1e12


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (1.0, "1.00 s"), (0.00123, "1.23 ms"), (12.34, "12.3 s"), (999.6, "1.00 ks"), (123456.0, "123 ks"),
     (9.999e-10, "1.00 ns"), (1e-9, "1.00 ns"), (-0.5, "-500 ms"), (float("inf"), "inf s")],
)  # fmt: skip
def test_si(value: float, text: str) -> None:
    assert si(value, "s") == text


def test_scale_puts_the_largest_value_between_1_and_1000() -> None:
    for value, prefix in ((1e-7, "n"), (0.02, "m"), (3.0, ""), (5e10, "G")):
        divisor, found = scale_of(value)
        assert found == prefix
        assert 1 <= value / divisor < 1000
    assert scale_of(0.0) == (1.0, "")


def test_long_names_keep_their_ends() -> None:
    assert shorten("short", 10) == "short"
    cut = shorten("model.encoder.layers.11.attention.query", 20)
    assert len(cut) == 20
    assert cut.startswith("model")
    assert cut.endswith("query")

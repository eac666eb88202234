"""The interactive page: its contents, and its behaviour in a real browser without a screen.

Without a Chromium the browser's tests are skipped; with ZEROCAST_NEEDS_CHROMIUM=1 they fail.
"""

import base64
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zerocast.analysis.explore.show.table import Table
from zerocast.analysis.reports.pictures import page
from zerocast.analysis.reports.pictures.designs import drawable, extremes_and_knee
from zerocast.analysis.reports.pictures.page import payload, write_page

WAIT_MS = 30_000
SPY = "navigator.clipboard.writeText = async words => { window.copied = words; }"
"""Hears what is copied: a page without a screen may not read the clipboard back."""
AXES = """const g = document.getElementById('scatter'), {xaxis, yaxis} = g._fullLayout, r = g.getBoundingClientRect();
    const x0 = r.left + xaxis._offset, y0 = r.top + yaxis._offset;"""
"""Axes of the scatter plot, and its corner on the screen."""


def written(table: Table, path: Path) -> Path:
    designs = drawable(table)
    return write_page(designs, extremes_and_knee(designs), path)


def as_listed(table: Table) -> list[int]:
    """Rows of the table that are ok in the order of the page: the front first, then by the first objective."""
    designs = drawable(table)
    order = np.lexsort((designs.source, designs.costs[:, 0], ~designs.front))
    return [int(row) for row in designs.source[order]]


def inside(path: Path, name: str) -> Any:
    found = re.search(f'<script type="text/plain" id="{name}">([^<]*)</script>', path.read_text(encoding="utf-8"))
    assert found is not None
    return gzip.decompress(base64.b64decode(found[1]))


# --- without a browser ------------------------------------------------------------------------------------------------


def test_page_holds_the_table(hostile: Table, tmp_path: Path) -> None:
    file = written(hostile, tmp_path / "explore.html")
    data = json.loads(inside(file, "data"))
    assert inside(file, "library").startswith(b"/**\n* plotly.js")
    assert data["command"] == hostile.frame["command"].tolist()
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["latency_s"]["values"] == pytest.approx(hostile.frame["latency_s"].tolist(), rel=1e-6)
    clock = columns["technology.clock_hz"]
    assert [clock["levels"][code] for code in clock["codes"]][:2] == ["100 MHz", "100 MHz"]
    assert not {"lut", "dsp", "macs"} & set(columns)
    assert ["MACs", "4.10 G"] in data["fixed"]
    ok = drawable(hostile)
    assert data["front"] == hostile.frame.index[ok.source[ok.front]].tolist()
    assert [data["design"][each["row"]] for each in data["chosen"]] == [
        ok.frame["design"][each.row] for each in extremes_and_knee(ok)
    ]


def test_nothing_of_the_user_s_ends_a_script(hostile: Table, tmp_path: Path) -> None:
    text = written(hostile, tmp_path / "explore.html").read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 3
    assert "window.hacked=1</script>" not in text
    assert "&lt;/script&gt;" in text  # the title


def test_ten_thousand_designs_stay_below_six_megabytes(big: Table, tmp_path: Path) -> None:
    import pandas

    frame = pandas.concat([big.frame] * 4, ignore_index=True).iloc[:10_000]
    noise = np.random.default_rng(0)
    floats = frame.select_dtypes("float").columns
    frame[floats] = frame[floats] * noise.uniform(1, 1.001, (len(frame), len(floats)))  # no digits repeat
    file = written(replace(big, frame=frame), tmp_path / "explore.html")
    assert len(json.loads(inside(file, "data"))["design"]) == 10_000
    assert file.stat().st_size < 6e6


def test_a_larger_table_is_thinned_and_keeps_its_front(big: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "CELLS", 500 * big.frame.shape[1])
    designs = drawable(big)
    chosen = extremes_and_knee(designs)
    data = payload(designs, chosen)
    assert len(data["design"]) == 500 and data["of"] == 3240
    assert {data["design"][row] for row in data["front"]} == set(designs.frame["design"][designs.front])
    assert [data["design"][each["row"]] for each in data["chosen"]] == [designs.frame["design"][c.row] for c in chosen]
    statuses = np.array(data["status"]["codes"])
    assert 0.25 < (statuses == data["status"]["levels"].index("infeasible")).mean() < 0.5


# --- in the browser ---------------------------------------------------------------------------------------------------


@dataclass
class Opened:
    """A page in the browser, with all that it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def count(self) -> int:
        return int(self.page.inner_text("#shown").replace(",", ""))

    def wait_for_count(self, condition: str) -> int:
        shown = "Number(document.getElementById('shown').textContent.replace(',', ''))"
        self.page.wait_for_function(f"(n => {condition})({shown})", timeout=WAIT_MS)
        return self.count()

    def place_of(self, row: int) -> tuple[float, float]:
        """Where a design's point is on the screen, in CSS pixels."""
        x, y = self.page.evaluate(
            f"""row => {{ {AXES} const t = g.data[1], i = t.customdata.indexOf(row);
            return [x0 + xaxis.d2p(t.x[i]), y0 + yaxis.d2p(t.y[i])]; }}""",
            row,
        )
        return x, y


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    contexts = []

    def open_table(table: Table, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
        contexts.append(context)
        view = Opened(context.new_page())
        view.page.on("request", lambda request: view.requests.append(request.url))
        # software rendering warns that it is slow to read back
        view.page.on("console", lambda m: m.type == "error" and view.complaints.append(m.text))
        view.page.on("pageerror", lambda error: view.complaints.append(str(error)))
        view.page.goto(written(table, tmp_path / "explore.html").as_uri())
        view.page.wait_for_function("document.documentElement.dataset.ready === 'yes'", timeout=WAIT_MS)
        return view

    yield open_table
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def some(big: Table) -> Table:
    """Every fourth design: all parameters still vary."""
    return replace(big, frame=big.frame.iloc[::4].reset_index(drop=True))


def pixels(view: Opened) -> Any:
    from matplotlib.image import imread

    return imread(BytesIO(view.page.screenshot()))[..., :3]


def lone_design(fine: Any) -> int:
    """The design farthest from all others on the first picture."""
    logs = np.log(fine[["latency_s", "energy_j"]].to_numpy())
    logs /= np.ptp(logs, axis=0)
    away = np.abs(logs[:, None] - logs[None]).max(axis=2) + 9 * np.eye(len(logs))
    return int(fine.index[away.min(axis=1).argmax()])


def test_points_are_drawn_hovered_and_copied(opened: Callable[..., Opened], big: Table) -> None:
    view = opened(big)
    page, fine = view.page, big.frame[big.frame["status"] == "ok"]
    assert view.count() == len(fine)
    assert page.evaluate("document.getElementById('scatter').data[1].type") == "scattergl"
    assert page.evaluate("document.getElementById('scatter').data[1].x.length") == len(fine)
    row = lone_design(fine)
    x, y = view.place_of(row)
    assert pixels(view)[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].min() < 0.6  # of a white page

    page.mouse.move(x - 4, y)
    page.mouse.move(x, y)
    page.wait_for_selector("#hover:visible", timeout=WAIT_MS)
    hover, command = page.inner_text("#hover"), big.frame["command"][row]
    assert command in " ".join(hover.split())
    assert big.frame["design"][row] in hover
    page.evaluate(SPY)
    page.mouse.click(x, y)
    page.wait_for_function("words => window.copied === words", arg=command, timeout=WAIT_MS)
    assert command in page.inner_text("#card")
    assert view.requests == [page.url] and page.url.startswith("file:")
    assert view.complaints == []


def test_a_box_filters_the_table_and_the_lines(opened: Callable[..., Opened], some: Table) -> None:
    view = opened(some)
    page, fine = view.page, some.frame[some.frame["status"] == "ok"]
    left, top, right, bottom = page.evaluate(f"(() => {{ {AXES} return [x0 + 60, y0 + 90, x0 + 240, y0 + 210]; }})()")
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=6)
    page.mouse.up()
    brushed = view.wait_for_count(f"n < {len(fine)}")
    ends = "[xaxis.p2d(b[0] - x0), xaxis.p2d(b[2] - x0), yaxis.p2d(b[3] - y0), yaxis.p2d(b[1] - y0)]"
    bounds = page.evaluate(f"b => {{ {AXES} return {ends}; }}", [left, top, right, bottom])
    within = (fine["latency_s"] * 1e3).between(*bounds[:2]) & (fine["energy_j"] * 1e3).between(*bounds[2:])
    assert 0 < brushed == int(within.sum())
    assert f"of {brushed:,}" in page.inner_text("#pages")
    listed = page.evaluate("[...document.querySelectorAll('tbody tr')].map(line => Number(line.dataset.row))")
    assert listed == [row for row in as_listed(some) if row in fine.index[within]][:50]
    lines = "document.getElementById('parallel').data[0].dimensions[0].values.length"
    page.wait_for_function(f"{lines} === {min(brushed, 1000)}", timeout=WAIT_MS)

    page.click("nav label:has-text('nm:2:4')")
    both = view.wait_for_count(f"n < {brushed}")
    assert both == int((within & (fine["workload.prune"] != "nm:2:4")).sum())
    page.focus("#scatter")
    page.keyboard.press("Escape")
    assert view.wait_for_count(f"n > {both}") == int((fine["workload.prune"] != "nm:2:4").sum())
    page.click("#reset")
    assert view.wait_for_count(f"n === {len(fine)}") == len(fine)
    page.click("nav label:has-text('infeasible')")
    assert view.wait_for_count(f"n === {len(some.frame)}") == len(some.frame)
    assert view.requests == [page.url] and view.complaints == []


def test_by_keyboard_alone(opened: Callable[..., Opened], some: Table) -> None:
    view = opened(some)
    page, fine = view.page, some.frame[some.frame["status"] == "ok"]
    page.evaluate(SPY)
    page.focus("nav label:has-text('400 MHz') input")
    page.keyboard.press("Space")
    rest = fine[fine["technology.clock_hz"] != 4e8]
    assert view.wait_for_count(f"n === {len(rest)}") == len(rest)
    page.focus("#scatter")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    second = rest.sort_values(["latency_s", "energy_j"]).iloc[1]
    page.wait_for_function("words => window.copied === words", arg=second["command"], timeout=WAIT_MS)
    fourth = rest.loc[[row for row in as_listed(some) if row in rest.index][3]]
    page.focus("tbody tr:nth-child(3)")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("words => window.copied === words", arg=fourth["command"], timeout=WAIT_MS)
    assert page.inner_text("thead th:nth-child(3)") == "front"
    assert page.inner_text("tbody tr:first-child td:nth-child(3)") == "front"
    page.focus("thead th:nth-child(2) button")  # by key, growing and falling
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.inner_text("tbody tr:first-child td:nth-child(2)") == rest["design"].max()


def test_other_axes_themes_and_brushes(opened: Callable[..., Opened], some: Table) -> None:
    view = opened(some, color_scheme="dark")
    page, whole = view.page, view.count()
    assert pixels(view)[-3, 700].max() < 0.3
    page.click("#theme")
    page.wait_for_function("!document.documentElement.classList.contains('dark')")
    page.select_option("#x", "compute.rows")
    page.select_option("#y", "area_mm2")
    page.select_option("#colour", "workload.prune")
    page.wait_for_function(
        "document.getElementById('scatter')._fullLayout.xaxis.title.text === 'compute.rows'", timeout=WAIT_MS
    )
    page.wait_for_function(
        "document.getElementById('legend').innerText.split(/\\s+/).join() === 'none,nm:2:4,nm:2:8'", timeout=WAIT_MS
    )
    page.wait_for_function(
        "document.getElementById('scatter')._fullLayout.yaxis.title.text === 'area [mm²]'", timeout=WAIT_MS
    )

    # along the axis of the latency, from its middle down
    page.locator("#parallel").scroll_into_view_if_needed()
    box = page.locator("#parallel .axis-brush").nth(7).bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.9 * box["height"], steps=6)
    page.mouse.up()
    brushed = view.wait_for_count(f"n < {whole}")
    # a redrawing that was under way is followed by one with the brush
    own = "document.getElementById('parallel').data[0].dimensions[7].constraintrange"
    page.wait_for_function(f"{own} !== undefined", timeout=WAIT_MS)
    low, high = page.evaluate(own)
    fine = some.frame[some.frame["status"] == "ok"]
    assert brushed == int(np.log10(fine["latency_s"]).between(low, high).sum()) > 0
    ends = np.log10(fine["latency_s"].agg(["min", "max"]).to_numpy())
    assert (np.array([low, high]) - ends[0]) / np.ptp(ends) == pytest.approx([0.1, 0.5], abs=0.05)
    assert page.locator("legend.active").inner_text().startswith("latency")

    # the slider's upper end takes it back
    stop = "(input, stop) => { input.value = input[stop]; input.dispatchEvent(new Event('input')); }"
    least, most = page.locator("fieldset:has(legend.active) input[type=range]").all()
    least.evaluate(stop, "min")
    most.evaluate(stop, "max")
    assert view.wait_for_count(f"n === {whole}") == whole
    names = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map(button => button.dataset.title)")
    assert names == ["Box Select", "Pan", "Zoom", "Reset axes", "Download plot as a PNG"]
    assert view.complaints == []


def test_a_hostile_table_stays_text(opened: Callable[..., Opened], hostile: Table) -> None:
    view = opened(hostile)
    page = view.page
    assert page.evaluate("window.hacked") is None
    assert page.inner_text("h1") == f"{hostile.name} on sat-vcu1525"
    page.click("nav label:has-text('error')")
    view.wait_for_count("n === 180")
    assert hostile.name in page.inner_text("#notes")
    page.locator("tbody tr[data-row='0']").click()
    page.wait_for_function("document.querySelector('#card code') !== null")
    assert page.inner_text("#card code") == hostile.frame["command"][0]
    page.select_option("#colour", "workload.prune")
    page.select_option("#x", "workload.prune")
    page.wait_for_function(
        "document.getElementById('scatter')._fullLayout.xaxis.title.text === 'workload.prune'", timeout=WAIT_MS
    )
    assert page.evaluate("window.hacked") is None
    assert view.complaints == [] and view.requests == [page.url]


def test_one_design_and_one_objective(opened: Callable[..., Opened], big: Table) -> None:
    view = opened(replace(big, frame=big.frame.iloc[:1], objectives=big.objectives[:1]))
    assert view.count() == 1
    assert view.complaints == []

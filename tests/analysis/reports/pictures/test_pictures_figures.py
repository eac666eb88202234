"""What the figures draw, read back from their artists and files."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zerocast.analysis.explore.show.table import Objective, Table
from zerocast.analysis.reports.pictures.designs import drawable, extremes_and_knee, front
from zerocast.analysis.reports.pictures.figures.energies import energy_figure
from zerocast.analysis.reports.pictures.figures.fronts import front_figure, pair_figure, parameter_figure, three_figure
from zerocast.analysis.reports.pictures.figures.heat import heat_figure
from zerocast.analysis.reports.pictures.figures.letters import HALF, RADII, offsets
from zerocast.analysis.reports.pictures.figures.parallel import coordinates, parallel_figure
from zerocast.analysis.reports.pictures.figures.rooflines import roofline_figure
from zerocast.analysis.reports.pictures.figures.sensitivity import sensitivity_figure
from zerocast.analysis.reports.pictures.style import COLUMN, DPI, FRONT, paper_style, scale, short_number, write_figure

NONE = float("nan")


@pytest.mark.parametrize(
    ("x", "y"), [("latency_s", "energy_j"), ("throughput_per_s", "energy_j"), ("latency_s", "throughput_per_w")]
)
def test_stairs_have_no_design_on_their_better_side(big: Table, x: str, y: str) -> None:
    better = {"throughput_per_s": "max", "throughput_per_w": "max"}
    objectives = tuple(Objective(name, better.get(name, "min")) for name in (x, y))  # type: ignore[arg-type]
    designs = drawable(replace(big, objectives=objectives))
    with paper_style():
        axes = front_figure(designs, 0, 1).axes[0]
    (stairs,) = [line for line in axes.lines if line.get_color() == FRONT]
    corners = np.column_stack(stairs.get_data())[1:-1]
    drawn = np.column_stack([designs.numbers(name) / scale(name, designs.numbers(name))[0] for name in (x, y)])
    signs = np.array([-1.0 if o.direction == "max" else 1.0 for o in objectives])
    members = drawn[front(drawn * signs)]
    assert {tuple(c) for c in corners} == {tuple(m) for m in members}
    assert (np.diff(corners[:, 0] * signs[0]) > 0).all() and (np.diff(corners[:, 1] * signs[1]) < 0).all()
    # both ends run off to the worse sides, inside the axes
    assert stairs.get_xdata()[-1] == axes.get_xlim()[0 if objectives[0].direction == "max" else 1]
    assert stairs.get_ydata()[0] == axes.get_ylim()[0 if objectives[1].direction == "max" else 1]
    assert stairs.get_drawstyle() == "steps-post"


def test_axes_are_labelled_in_scaled_units(big: Table) -> None:
    designs = drawable(big)
    with paper_style():
        axes = front_figure(designs, 0, 1).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latency [ms]", "energy [mJ]")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert scale("latency_s", np.array([1e-3, 1.0])) == (1e-3, "m")  # the middle of decades
    assert scale("latency_s", np.array([0.5, 1.0])) == (1.0, "")
    assert scale("area_mm2", np.array([1e-6, 1e9])) == (1.0, "")
    assert [short_number(v) for v in (3.5, 12, 999.6, 5376, 0.793, 0, -2.5)] == [
        "3.50",
        "12.0",
        "1,000",
        "5,376",
        "0.793",
        "0",
        "-2.50",
    ]


def test_files_hold_pixels_for_points_and_curves_for_the_rest(big: Table, tmp_path: Path) -> None:
    designs = drawable(big)
    with paper_style():
        png, svg = write_figure(front_figure(designs, 0, 1), tmp_path / "front")
        again = write_figure(front_figure(designs, 0, 1), tmp_path / "again")[1]
    head = png.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20], "big") == round(COLUMN * DPI)
    text = svg.read_text()
    assert "data:image/png;base64" in text
    # 2,001 grey designs are pixels: what is left are ticks, letters and the few designs of the front
    assert len(re.findall("<use ", text)) < 300
    assert text == again.read_text()


def test_three_objectives_are_drawn_twice(big: Table) -> None:
    designs = drawable(big)
    with paper_style():
        figure = three_figure(designs, (0, 1, 2), extremes_and_knee(designs))
        figure.canvas.draw()
    space, flat, bar = figure.axes
    assert (space.name, bar.get_ylabel()) == ("3d", "area [mm²]")
    assert (space.get_xlabel(), flat.get_xlabel()) == ("latency [ms]", "latency [ms]")
    assert {text.get_text() for text in flat.texts} == {"A", "B", "C", "D"}
    assert flat.get_title(loc="left") == (
        f"black ring: front of all three ({designs.front.sum()} designs)\norange ring: A–D, the front's ends and knee"
    )


def test_the_knee_of_two_of_three_objectives_has_a_name_of_its_own(big: Table) -> None:
    def names(table: Table) -> set[str]:
        return {text.get_text() for text in front_figure(drawable(table), 0, 1).axes[0].get_legend().get_texts()}

    assert "knee of these two" in names(big) and "knee" not in names(big)
    assert "knee" in names(replace(big, objectives=big.objectives[:2]))


def test_letters_hide_no_point_where_there_is_room() -> None:
    crowd = np.array([[100.0 + 4 * i, 100.0 + 4 * j] for i in range(-6, 7) for j in range(-6, 3)])
    points = np.array([[100.0, 100.0], [103.0, 100.0], [296.0, 196.0], *crowd])
    frame = np.array([[0.0, 0.0], [300.0, 200.0]])
    found = offsets(points, [0, 1, 2], np.ones(len(points)), frame)
    places = np.array([points[row] + found[row] for row in (0, 1, 2)])
    apart = np.abs(places[:, None] - points).max(axis=2)
    assert apart.min() >= HALF
    assert np.abs(places[0] - places[1]).max() >= 2 * HALF
    assert ((places > frame[0]) & (places < frame[1])).all()
    assert np.hypot(*found[2]) == pytest.approx(RADII[0])  # a lone point has its letter beside it


def test_a_panel_of_one_value_has_no_scale(small: Callable[..., Table]) -> None:
    columns = {"p": [1, 1, 2, 2], "q": [1, 2, 1, 2], "latency_s": [1.0, 2.0, 3.0, 4.0], "area_mm2": [814.0] * 4}
    designs = drawable(small(columns, ("p", "q"), ("latency_s", "min"), ("area_mm2", "min")))
    with paper_style():
        figure = heat_figure(designs, "p", "q")
        figure.canvas.draw()
    assert len(figure.axes) == 3  # two maps, one scale
    assert "area [mm²]: all 814" in {text.get_text() for text in figure.axes[1].texts}
    assert not any("all" in text.get_text() for text in figure.axes[0].texts)


def test_heat_map_says_what_was_optimised_away(big: Table) -> None:
    designs = drawable(big)
    with paper_style():
        figure = heat_figure(designs, "compute.rows", "compute.cols")
        figure.canvas.draw()
    title = figure.get_suptitle().replace("\n", " ")
    assert (
        title
        == "best over workload.prune, input_buffer.capacity_bytes, technology.clock_hz, skipping.wait, skipping.queue; "
        "each panel takes its own best design"
    )
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["8", "16", "32", "64", "96", "128"]
    cells = designs.frame.pivot_table("latency_s", "compute.cols", "compute.rows", "min").to_numpy() * 1e3
    written = {text.get_position(): text.get_text() for text in panel.texts}
    assert len(written) == 24
    assert all(written[c, r] == ("none" if np.isnan(v) else short_number(v)) for (r, c), v in np.ndenumerate(cells))


def test_parallel_axes_have_the_better_end_at_the_bottom(small: Callable[..., Table]) -> None:
    table = small({"p": ["a", "b", "c"], "latency_s": [1.0, 10.0, 100.0], "accuracy": [0.9, 0.8, 0.5]}, ("p",),
                  ("latency_s", "min"), ("accuracy", "max"))  # fmt: skip
    p, latency, accuracy = coordinates(drawable(table))
    assert p.places.tolist() == [0, 0.5, 1]
    assert p.ticks == [(0.0, "a"), (0.5, "b"), (1.0, "c")]
    assert latency.places == pytest.approx([0, 0.5, 1])
    assert accuracy.places == pytest.approx([0, 0.25, 1])
    assert (accuracy.ticks[0], accuracy.ticks[-1]) == ((1.0, "0.500"), (0.0, "0.900"))


def test_parallel_lines_are_pixels(big: Table, tmp_path: Path) -> None:
    with paper_style():
        svg = write_figure(parallel_figure(drawable(big)), tmp_path / "parallel")[1]
    assert svg.stat().st_size < 2e6
    assert svg.read_text().count("<path") < 1000


def test_roofs_are_each_design_s_own(big: Table) -> None:
    designs = drawable(big)
    chosen = extremes_and_knee(designs)
    with paper_style():
        figure = roofline_figure(designs, chosen)
    assert figure is not None
    axes = figure.axes[0]
    assert "[GMAC/s]" in axes.get_ylabel()
    for line, each in zip(axes.lines, chosen, strict=True):
        row = designs.frame.iloc[each.row]
        (_, ridge, _), (foot, top, flat) = line.get_data()
        assert top * 1e9 == flat * 1e9 == pytest.approx(row["peak_macs_per_s"])
        left = axes.get_xlim()[0]  # a decade left of the designs at most: a roof may be flat from there
        assert ridge == pytest.approx(max(row["peak_macs_per_s"] / row["dram_bytes_per_s"], left))
        assert foot * 1e9 == pytest.approx(min(left * row["dram_bytes_per_s"], row["peak_macs_per_s"]))


def test_a_far_ridge_does_not_stretch_the_roofline(big: Table) -> None:
    frame = big.frame.copy()
    frame["dram_bytes_per_s"] *= 1e4
    designs = drawable(replace(big, frame=frame))
    chosen = extremes_and_knee(designs)
    with paper_style():
        figure = roofline_figure(designs, chosen)
    assert figure is not None
    axes = figure.axes[0]
    intensity = designs.numbers("effectual_macs") / designs.numbers("dram_bytes")
    assert axes.get_xlim()[0] == pytest.approx(intensity.min() / 10)
    for line, each in zip(axes.lines, chosen, strict=True):
        assert line.get_xdata().min() == axes.get_xlim()[0]
        assert line.get_ydata() * 1e9 == pytest.approx(designs.frame["peak_macs_per_s"][each.row])  # the flat part


def test_energy_bars_end_at_the_whole_energy(big: Table) -> None:
    designs = drawable(big)
    chosen = extremes_and_knee(designs)
    with paper_style():
        axes = energy_figure(designs, chosen).axes[0]
    ends = [
        max(bar.get_x() + bar.get_width() for bar in axes.patches if round(bar.get_y() + 0.21) == at) for at in range(4)
    ]
    assert np.array(ends) * 1e-3 == pytest.approx(designs.frame["energy_j"][[each.row for each in chosen]])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "A: least latency",
        "B: least energy",
        "C: least area",
        "D: knee",
    ]


def test_energies_of_nothing_are_not_in_the_legend_and_thin_ones_say_so(big: Table) -> None:
    frame = big.frame.assign(vector_j=1e-4 * big.frame["dram_j"], static_j=0.0)
    designs = drawable(replace(big, frame=frame))
    with paper_style():
        axes = energy_figure(designs, extremes_and_knee(designs)).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["multiply-add", "registers", "buffers", "DRAM", "vector work (< 0.1%)"]


def test_one_objective_against_each_parameter(big: Table) -> None:
    designs = drawable(replace(big, objectives=big.objectives[:1]))
    with paper_style():
        figure = parameter_figure(designs)
        assert figure is not None
        figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == len(big.parameters)
    best = designs.frame.groupby("compute.rows")["latency_s"].min()
    line = shown[1].lines[0]
    assert line.get_ydata() == pytest.approx(best.to_numpy() * 1e3)
    levels = designs.levels("compute.rows")
    assert [levels.labels[int(x)] for x in line.get_xdata()] == [f"{value:g}" for value in best.index]


def test_every_figure_of_a_continuous_space(rng: np.random.Generator, small: Callable[..., Table]) -> None:
    """Random search: no two designs share a value, none is another's neighbour, one value of a metric is missing."""
    x, y = rng.uniform(1, 1000, 300), rng.uniform(-1, 1, 300)
    area = np.where(np.arange(300) == 7, NONE, x)
    table = small(
        {"x": x, "y": y, "latency_s": 1e-6 * x, "edp_js": y, "area_mm2": area},
        ("x", "y"),
        ("latency_s", "min"),
        ("edp_js", "min"),
    )
    designs = drawable(table)
    with paper_style():
        one = sensitivity_figure(designs)
        figures = [front_figure(designs, 0, 1), heat_figure(designs, "x", "y"), parallel_figure(designs), one,
                   parameter_figure(designs), pair_figure(designs, "x", "area_mm2")]  # fmt: skip
        for figure in figures:
            assert figure is not None
            figure.canvas.draw()
    assert one is not None
    assert [text.get_text() for text in one.axes[0].texts] == ["no design differs in it alone"] * 2
    assert one.axes[1].get_xlabel() == "share of the variance of log latency"
    assert one.axes[3].get_xlabel() == "share of the variance of energy-delay product"  # some are negative


def test_every_figure_of_two_equal_designs(small: Callable[..., Table]) -> None:
    table = small({"p": ["$a$", "b"], "latency_s": [0.0, 0.0], "energy_j": [1.0, 1.0], "area_mm2": [5.0, 5.0]}, ("p",),
                  ("latency_s", "min"), ("energy_j", "min"), ("area_mm2", "min"))  # fmt: skip
    designs = drawable(table)
    chosen = extremes_and_knee(designs)
    with paper_style():
        for figure in (front_figure(designs, 0, 1), three_figure(designs, (0, 1, 2), chosen), parallel_figure(designs),
                       sensitivity_figure(designs), parameter_figure(designs)):  # fmt: skip
            assert figure is not None
            figure.canvas.draw()

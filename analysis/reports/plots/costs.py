"""Pictures of what bounds a result: roofline, energy breakdown, off-chip traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerocast.analysis.reports.plots.times import (
    BASELINE_ALPHA,
    COLOURS,
    new_figure,
    phase_legend,
    phases_of,
    shorten,
    tidy,
)
from zerocast.analysis.reports.tables import PHASES
from zerocast.analysis.units import scale_of, si
from zerocast.simulator.cost import OpRow
from zerocast.simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENERGY = {"mac_j": "multiply-add", "register_j": "registers", "buffer_j": "buffers", "dram_j": "DRAM",
          "vector_j": "vector work"}  # fmt: skip
NAMED = 6
"""Ops of the roofline that are named: the slowest."""


def roofline_figure(result: Result, baseline: Result | None) -> Figure:
    """Multiply-accumulates with both operands nonzero, per off-chip byte and per second, under the roofs.

    The area of a point is the op's share of the latency, rings are the baseline's ops.
    """
    figure = new_figure(9, 5.2)
    axes = figure.subplots()
    points = _points(result)
    rings = _points(baseline) if baseline is not None else []
    spread = [x for x, _, _ in (*points, *rings)] or [1.0]
    heights = [y for _, y, _ in (*points, *rings)] or [result.peak_macs_per_s]
    _roofs(axes, result, min(spread) / 3, max(spread) * 3, min(heights) / 3)
    longest = max((row.latency_s for _, _, row in points), default=1.0)
    if rings:
        axes.scatter([x for x, _, _ in rings], [y for _, y, _ in rings], s=36, facecolors="none",
                     edgecolors="#999999", linewidths=0.8)  # fmt: skip
    for phase in phases_of(result):
        mine = [(x, y, 14 + 160 * row.latency_s / longest) for x, y, row in points if row.phase == phase]
        if mine:
            x, y, size = zip(*mine, strict=True)
            axes.scatter(x, y, s=size, color=COLOURS[phase], alpha=0.75, linewidths=0.4, edgecolors="white")
    key = _number_slowest(axes, points)
    axes.set_xlabel("effectual MACs per DRAM byte [MAC/B]")
    axes.set_ylabel("effectual MACs per second [MAC/s]")
    tidy(axes, "both")
    _roofline_legend(axes, result, baseline, key)
    return figure


def _points(result: Result) -> list[tuple[float, float, OpRow]]:
    """Intensity, rate and row of each product that moves bytes and has work left."""
    found = []
    for row in result.rows:
        moved = row.dram_read_bytes + row.dram_write_bytes
        if row.kind == "einsum" and moved > 0 and row.latency_s > 0 and row.effectual_macs > 0:
            found.append((row.effectual_macs / moved, row.effectual_macs / row.latency_s, row))
    return found


def peak_rate(result: Result) -> float:
    """Peak of the array in MAC/s at the data type used; at rate 1 where nothing ran dense."""
    rates = [row.macs / row.ideal_cycles * result.clock_hz for row in result.rows
             if row.kind == "einsum" and not row.skipped and row.ideal_cycles > 0]  # fmt: skip
    return max(rates, default=result.peak_macs_per_s)


def _roofs(axes: Axes, result: Result, left: float, right: float, bottom: float) -> None:
    """Axes and both roofs, wide enough to show the ridge between them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    peak = peak_rate(result)
    ridge = peak / result.dram_bytes_per_s
    left, right = min(left, ridge / 10), max(right, ridge * 10)
    axes.plot([left, ridge, right], [left * result.dram_bytes_per_s, peak, peak], color="#333333", linewidth=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(min(bottom, peak / 30), peak * 3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.annotate(f"array {si(peak, 'MAC/s')}", (right, peak), xytext=(-4, 9), textcoords="offset points",
                  ha="right", va="bottom", fontsize=8)  # fmt: skip
    axes.annotate(f"DRAM {si(result.dram_bytes_per_s, 'B/s')}", (ridge, peak), xytext=(-10, 9),
                  textcoords="offset points", ha="right", va="bottom", fontsize=8)  # fmt: skip


def _tick(value: float) -> str:
    divisor, prefix = scale_of(value) if value >= 1e4 else (1.0, "")
    return f"{value / divisor:g} {prefix}".rstrip()


def _number_slowest(axes: Axes, points: list[tuple[float, float, OpRow]]) -> list[str]:
    """Number the slowest ops and return the key. Points too close for their own number join the slower one."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="white")]
    found: list[tuple[tuple[float, float], str]] = []
    joined: list[int] = []
    x_limits, y_limits = axes.get_xlim(), axes.get_ylim()
    for x, y, row in sorted(points, key=lambda point: -point[2].latency_s):
        place = (_share(x, x_limits), _share(y, y_limits))
        near = next((i for i, (other, _) in enumerate(found) if _touch(place, other)), None)
        if near is not None:
            joined[near] += 1
        elif len(found) < NAMED:
            found.append((place, f"{shorten(row.op, 30)}, {row.bound}"))
            joined.append(0)
            axes.annotate(str(len(found)), (x, y), ha="center", va="center", fontsize=8, path_effects=halo)
    more = [f" (+{count} near it)" if count else "" for count in joined]
    return [f"{number}  {text}{rest}" for number, ((_, text), rest) in enumerate(zip(found, more, strict=True), 1)]


def _touch(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two places, in shares of the axes, are too close for two numbers."""
    return abs(one[0] - other[0]) < 0.03 and abs(one[1] - other[1]) < 0.04


def _share(value: float, limits: tuple[float, float]) -> float:
    from math import log

    return log(value / limits[0]) / log(limits[1] / limits[0])


def _roofline_legend(axes: Axes, result: Result, baseline: Result | None, key: list[str]) -> None:
    """Passes, the rings, and the numbered ops, beside the picture."""
    from matplotlib.lines import Line2D

    present = phases_of(result)
    dots = [Line2D([], [], marker="o", linestyle="", color=COLOURS[p], label=p) for p in present if p != "UPDATE"]
    if baseline is not None:
        dots.append(Line2D([], [], marker="o", linestyle="", markerfacecolor="none", color="#999999", label="baseline"))
    blank = [
        Line2D([], [], linestyle="", label=" "),
        Line2D([], [], linestyle="", label="slowest ops, what bounds them"),
    ]
    names = [Line2D([], [], linestyle="", label=text) for text in key]
    axes.legend(handles=[*dots, *(blank if names else []), *names], frameon=False, fontsize=8, loc="upper left",
                bbox_to_anchor=(1.0, 1.0), handletextpad=0.4)  # fmt: skip


def energy_figure(result: Result, baseline: Result | None) -> Figure:
    """Energy by component, stacked by pass, the baseline's beside it."""
    labels = [*ENERGY.values(), "static"]
    columns = [[*(_by_phase(r, column) for column in ENERGY), {"": r.static_j}] for r in (result, baseline) if r]
    return _grouped(columns, labels, "J", "energy", phases_of(result, baseline))


def traffic_figure(result: Result, baseline: Result | None) -> Figure:
    """Off-chip bytes by operand, stacked by pass, the baseline's beside it."""
    labels = ["array input", "array weight", "array output", "units beside\nthe array"]
    columns = []
    for each in (result, baseline):
        if each is not None:
            sides = [_by_phase(each, f"dram_{side}_bytes") for side in ("input", "weight", "output")]
            beside = [r for r in each.rows if r.kind != "einsum"]
            others = dict.fromkeys(PHASES, 0.0)
            for row in beside:
                others[row.phase] += row.dram_read_bytes + row.dram_write_bytes
            columns.append([*sides, others])
    return _grouped(columns, labels, "B", "DRAM traffic, reads and writes", phases_of(result, baseline))


def _by_phase(result: Result, column: str) -> dict[str, float]:
    return {phase: sum(getattr(r, column) for r in result.rows if r.phase == phase) for phase in PHASES}


def _grouped(
    columns: list[list[dict[str, float]]], labels: list[str], unit: str, what: str, phases: list[str]
) -> Figure:
    """Horizontal bars per label, one per result, the total written at the end."""
    compared = len(columns) > 1
    largest = max((sum(stack.values()) for column in columns for stack in column), default=0.0)
    divisor, prefix = scale_of(largest)
    figure = new_figure(9, 1.3 + 0.42 * len(labels) * (1.5 if compared else 1.0))
    axes = figure.subplots()
    height, step = (0.38, 0.4) if compared else (0.7, 0.0)
    for number, column in enumerate(columns):
        alpha, ink = (BASELINE_ALPHA, "#666666") if number else (1.0, "black")
        for at, stack in enumerate(column):
            place, left = at + (number - 0.5) * step, 0.0
            for phase in (*PHASES, ""):
                width = stack.get(phase, 0.0) / divisor
                axes.barh(place, width, height, left=left, color=COLOURS.get(phase, "#777777"), alpha=alpha)
                left += width
            axes.annotate(si(left * divisor, unit), (left, place), xytext=(4, 0), textcoords="offset points",
                          va="center", fontsize=7, color=ink)  # fmt: skip
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, max(largest / divisor, 1e-9) * 1.14)
    axes.set_xlabel(f"{what} [{prefix}{unit}]")
    tidy(axes)
    phase_legend(axes, phases, compared)
    return figure

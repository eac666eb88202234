"""Parallel coordinates: all parameters and objectives of all designs, the front in colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.columns import axis_title, spans_decades, words_of
from zerocast.analysis.reports.pictures.designs import Designs
from zerocast.analysis.reports.pictures.figures.fronts import colour_bar, norm_of
from zerocast.analysis.reports.pictures.style import GREY, PAGE, SEQUENCE, scale, short_number, shown_levels
from zerocast.analysis.reports.plots.times import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS_DRAWN = 24
"""Values above which a parameter's axis is a number line and not a row of levels."""


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One upright axis. places: each design's height from 0 to 1. ticks: heights and their text."""

    title: str
    places: NDArray[np.float64]
    ticks: list[tuple[float, str]]


def coordinates(designs: Designs) -> list[Coordinate]:
    """The parameters that vary, then the objectives, the better end of each objective at the bottom."""
    return [_coordinate(designs, name) for name in (*designs.varied, *(o.name for o in designs.objectives))]


def _coordinate(designs: Designs, name: str) -> Coordinate:
    levels = designs.levels(name)
    if name in designs.table.parameters and (not levels.numeric or len(levels) <= LEVELS_DRAWN):
        top = len(levels) - 1
        shown = [(code / top, levels.labels[code]) for code in shown_levels(levels)]
        return Coordinate(shorten(words_of(name), 40), levels.codes / top, shown)
    values = designs.numbers(name)
    divisor, prefix = scale(name, values)
    low, high = float(values.min()) / divisor, float(values.max()) / divisor
    drawn = values / divisor
    if spans_decades(drawn):
        drawn, low, high = np.log(drawn), float(np.log(low)), float(np.log(high))
        marks = [(share, float(np.exp(low + share * (high - low)))) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    else:
        marks = [(share, low + share * (high - low)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    places = (drawn - low) / (high - low) if high > low else np.full(len(drawn), 0.5)
    flip = any(o.name == name and o.direction == "max" for o in designs.objectives)
    return Coordinate(
        axis_title(name, prefix),
        1 - places if flip else places,
        [(1 - share if flip else share, short_number(value)) for share, value in (marks if high > low else marks[:1])],
    )


def parallel_figure(designs: Designs) -> Figure:
    """A line for each design, grey, and coloured by the first objective where it is on the front."""
    from matplotlib.collections import LineCollection

    axes_found = coordinates(designs)
    figure = new_figure(PAGE, 3.0)
    axes = figure.subplots()
    places = np.column_stack([each.places for each in axes_found])
    _pale_lines(axes, places[~designs.front])
    lines = np.stack([np.broadcast_to(np.arange(len(axes_found)), places.shape), places], axis=2)
    objective = designs.objectives[0].name
    values = designs.numbers(objective)
    divisor, prefix = scale(objective, values[designs.front])
    bright = LineCollection(list(lines[designs.front]), cmap=SEQUENCE, linewidths=0.9, alpha=0.9, rasterized=True,
                            norm=norm_of(values[designs.front] / divisor))  # fmt: skip
    bright.set_array(values[designs.front] / divisor)
    axes.add_collection(bright, autolim=False)
    _uprights(axes, axes_found)
    axes.set_title(f"all {len(places):,} designs (grey) and the {np.count_nonzero(designs.front)} of the front; "
                   "the better end of an objective is at the bottom", loc="left", pad=8)  # fmt: skip
    colour_bar(figure, bright, axes, axis_title(objective, prefix))
    return figure


def _pale_lines(axes: Axes, places: NDArray[np.float64]) -> None:
    """Thin grey lines, shape (designs, axes); where many designs share a segment it is drawn once, darker."""
    from matplotlib.collections import LineCollection

    alpha = float(np.clip(60 / max(len(places), 1), 0.02, 0.4))
    for left in range(places.shape[1] - 1 if len(places) else 0):
        ends, counts = np.unique(places[:, left : left + 2].round(4), axis=0, return_counts=True)
        segments = np.stack([np.broadcast_to([left, left + 1], ends.shape), ends], axis=2)
        axes.add_collection(
            LineCollection(
                list(segments), colors=GREY, linewidths=0.4, alpha=list(1 - (1 - alpha) ** counts), rasterized=True
            ),
            autolim=False,
        )


def _uprights(axes: Axes, found: list[Coordinate]) -> None:
    """The axes with their ticks; titles stand askew where they would touch."""
    plate = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
    for at, each in enumerate(found):
        axes.axvline(at, color="#333333", linewidth=0.7)
        for height, text in each.ticks:
            axes.plot([at - 0.015, at + 0.015], [height, height], color="#333333", linewidth=0.7)
            axes.annotate(text, (at, height), xytext=(3, 0), textcoords="offset points", fontsize=6, va="center",
                          bbox=plate)  # fmt: skip
    titles = [each.title for each in found]
    askew = max(map(len, titles)) * len(titles) > 110
    axes.set_xticks(range(len(found)), titles, rotation=22 if askew else 0, ha="right" if askew else "center",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(found) - 1 + 0.35)
    axes.set_ylim(-0.03, 1.03)
    axes.spines[:].set_visible(False)
    axes.tick_params(size=0)

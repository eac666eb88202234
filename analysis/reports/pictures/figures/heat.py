"""The best objective for each pair of values of two parameters."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.columns import Levels, axis_title, words_of
from zerocast.analysis.reports.pictures.designs import Designs
from zerocast.analysis.reports.pictures.figures.fronts import colour_bar, norm_of
from zerocast.analysis.reports.pictures.style import COLUMN, PAGE, SEQUENCE, level_axis, scale, short_number
from zerocast.analysis.reports.plots.times import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELLS = 24
"""Values of a parameter that get a column or row of their own; more are taken together in classes."""
CLASSES = 10
"""How many classes those are."""
ROOM = 0.78
"""Share of the figure's width that the cells take; a cell of 0.27 inches carries its number."""
PANELS = 3


def heat_figure(designs: Designs, x_name: str, y_name: str) -> Figure:
    """A map for each of the first three objectives: the best design of each cell, over all other parameters."""
    x, y = gathered(designs.levels(x_name)), gathered(designs.levels(y_name))
    objectives = designs.objectives[:PANELS]
    wide = min(COLUMN * len(objectives), PAGE)
    height = min(0.95 + 0.17 * max(len(y), 6) + (0.3 if len(objectives) < 3 else 0), 4.5)
    figure = new_figure(wide, height)
    panels = figure.subplots(1, len(objectives), squeeze=False)[0]
    written = wide * ROOM / (len(x) * len(objectives)) >= 0.27
    for number, axes in enumerate(panels):
        _map(figure, axes, best_cells(designs, number, x, y), x, y, objectives[number].name,
             direction=objectives[number].direction, written=written)  # fmt: skip
        if number:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)
    others = [words_of(name) for name in designs.varied if name not in (x_name, y_name)]
    title = f"best over {', '.join(shorten(name, 40) for name in others)}" if others else "no other parameter varies"
    if others and len(objectives) > 1:
        title += "; each panel takes its own best design"
    figure.get_layout_engine().set(w_pad=0.08)  # type: ignore[union-attr, call-arg]
    figure.suptitle(fill(title, int(wide * 16)), fontsize=7.5)
    return figure


def gathered(levels: Levels) -> Levels:
    """The levels, or as many classes of neighbouring numbers as there are cells, named by their bounds."""
    if len(levels) <= CELLS:
        return levels
    bounds = np.array_split(np.arange(len(levels)), CLASSES)
    codes = np.searchsorted([part[-1] for part in bounds], levels.codes)
    labels = tuple(f"{levels.labels[part[0]]} to {levels.labels[part[-1]]}" for part in bounds)
    return Levels(levels.name, tuple(levels.values[part[0]] for part in bounds), labels, codes, levels.numeric)


def best_cells(designs: Designs, objective: int, x: Levels, y: Levels) -> NDArray[np.float64]:
    """The best value of an objective for each level of y and of x, shape (y, x); NaN where there is no design."""
    cells = np.full((len(y), len(x)), np.inf)
    np.minimum.at(cells, (y.codes, x.codes), designs.costs[:, objective])
    cells[np.isinf(cells)] = np.nan
    return -cells if designs.objectives[objective].direction == "max" else cells


def _map(
    figure: Figure,
    axes: Axes,
    cells: NDArray[np.float64],
    x: Levels,
    y: Levels,
    name: str,
    *,
    direction: str,
    written: bool,
) -> None:
    divisor, prefix = scale(name, cells)
    cells = cells / divisor
    axes.set_facecolor("#ececec")
    # light is best, so that the eye goes there
    colours = SEQUENCE if direction == "max" else f"{SEQUENCE}_r"
    drawn = axes.imshow(
        cells, origin="lower", aspect="auto", cmap=colours, norm=norm_of(cells), interpolation="nearest"
    )
    level_axis(axes.xaxis, x)
    level_axis(axes.yaxis, y)
    axes.set_xlabel(shorten(axes.get_xlabel(), 36))
    axes.set_ylabel(shorten(axes.get_ylabel(), 36))
    axes.tick_params(size=0)
    axes.spines[:].set_visible(False)
    colour_bar(figure, drawn, axes, axis_title(name, prefix))
    if written:
        shades = drawn.to_rgba(cells)[..., :3].sum(axis=2)  # 0 black, 3 white
        for (row, column), value in np.ndenumerate(cells):
            text, light = ("none", True) if np.isnan(value) else (short_number(value), shades[row, column] > 1.5)
            axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color="black" if light else "white")

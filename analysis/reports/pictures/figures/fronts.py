"""Pareto fronts: of two objectives, of three, and one objective against each parameter where there is no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.columns import Levels, axis_title, spans_decades
from zerocast.analysis.reports.pictures.designs import Chosen, Designs, front, knee
from zerocast.analysis.reports.pictures.figures import letters
from zerocast.analysis.reports.pictures.style import (
    COLUMN,
    FRONT,
    GREY,
    INK,
    KNEE,
    PAGE,
    SEQUENCE,
    level_axis,
    log_ticks,
    number_axis,
    scale,
    short_number,
    tidy,
)
from zerocast.analysis.reports.plots.times import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zerocast.analysis.explore.show.table import Objective

PANELS_ACROSS = 3
PAD_PER_LETTER = 2.3
"""Padding in space, where a unit is some 1.75 points on paper, for a letter of a tick label, which is 4 points wide."""
LEVELS_DRAWN = 60
"""Levels above which a numeric parameter's axis is a number line and not a row of levels."""
KNEE_OF_TWO, KNEE_OF_ALL = "knee of these two", "knee"
"""Labels of the star."""


def front_figure(designs: Designs, first: int, second: int) -> Figure:
    """All designs over two objectives, the front of these two as a stepped line, its knee marked.

    Where there are more objectives, the designs of the front of all of them are dots of their own.
    """
    names = [designs.objectives[i] for i in (first, second)]
    costs = designs.costs[:, [first, second]]
    members = np.flatnonzero(front(costs))
    figure = new_figure(COLUMN, 2.75)
    axes = figure.subplots()
    x, y = _two_axes(axes, designs, names)
    axes.scatter(x, y, s=3, color=GREY, linewidths=0, rasterized=True, label=f"all {len(x):,} designs")
    if len(designs.objectives) > 2:
        others = designs.front
        axes.scatter(x[others], y[others], s=5, color="#56b4e9", linewidths=0, rasterized=True,
                     label=f"front of all {len(designs.objectives)} objectives")  # fmt: skip
    order = members[np.lexsort((costs[members, 1], costs[members, 0]))]
    _staircase(axes, x[order], y[order], names)
    axes.scatter(x[order], y[order], s=10, color=FRONT, linewidths=0.4, edgecolors="white", zorder=3,
                 label=f"front ({len(set(zip(x[order], y[order], strict=True)))})")  # fmt: skip
    if len(order) > 2:
        at = order[knee(costs[order])]
        label = KNEE_OF_TWO if len(designs.objectives) > 2 else KNEE_OF_ALL
        axes.scatter(
            x[at], y[at], s=60, marker="*", color=KNEE, edgecolors="white", linewidths=0.5, zorder=4, label=label
        )
    _legend_above(axes, 2 if len(designs.objectives) > 2 else 3)
    tidy(axes)
    return figure


def _two_axes(axes: Axes, designs: Designs, names: list[Objective]) -> list[NDArray[np.float64]]:
    """Label both axes; the values that are drawn on them."""
    drawn = []
    for axis, objective in zip((axes.xaxis, axes.yaxis), names, strict=True):
        values = designs.numbers(objective.name)
        drawn.append(values / number_axis(axis, objective.name, values))
    return drawn


def _staircase(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], names: list[Objective]) -> None:
    """The border of what the front dominates, up to the edges of the axes; designs ordered by the first objective.

    Between two neighbours it takes the worse of both in each objective: what is dominated, not what is reached.
    """
    steps = "steps-post"  # from one design on to the next along x at the height of the first
    xs, ys = list(x), list(y)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    worst_x = left if names[0].direction == "max" else right
    worst_y = bottom if names[1].direction == "max" else top
    axes.plot([xs[0], *xs, worst_x], [worst_y, *ys, ys[-1]], drawstyle=steps, color=FRONT, linewidth=1.1, zorder=2)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _legend_above(axes: Axes, columns: int) -> None:
    legend = axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderpad=0.1)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([30.0 if handle.get_label() in (KNEE_OF_TWO, KNEE_OF_ALL) else 14.0])


def three_figure(designs: Designs, which: tuple[int, int, int], chosen: list[Chosen]) -> Figure:
    """Three objectives: in space, and the first two with the third as colour; the front of all of them stands out."""
    figure = new_figure(PAGE, 3.1)
    figure.get_layout_engine().set(wspace=0.1)  # type: ignore[union-attr, call-arg]  # for the title of the upright axis
    space = figure.add_subplot(1, 2, 1, projection="3d")
    flat = figure.add_subplot(1, 2, 2)
    _space(space, designs, which)
    names = [designs.objectives[i] for i in which]
    x, y = _two_axes(flat, designs, names[:2])
    members = front(designs.costs[:, list(which)])
    colour = designs.numbers(names[2].name)
    divisor, prefix = scale(names[2].name, colour)
    norm = norm_of(colour / divisor)
    flat.scatter(x[~members], y[~members], c=colour[~members] / divisor, norm=norm, cmap=SEQUENCE, s=4, alpha=0.45,
                 linewidths=0, rasterized=True)  # fmt: skip
    dots = flat.scatter(x[members], y[members], c=colour[members] / divisor, norm=norm, cmap=SEQUENCE, s=16,
                        edgecolors="black", linewidths=0.4, rasterized=True)  # fmt: skip
    colour_bar(figure, dots, flat, axis_title(names[2].name, prefix))
    named = [each for each in chosen if members[each.row]]
    flat.set_title(_rings(designs, int(members.sum()), named), loc="left", color=INK)
    tidy(flat)
    for each in named:
        flat.scatter(x[each.row], y[each.row], s=34, facecolors="none", edgecolors=KNEE, linewidths=1.0, zorder=4)
    letters.put(flat, x, y, {each.row: each.letter for each in named}, weights=np.where(members, 3.0, 1.0))
    return figure


def _space(axes: Any, designs: Designs, which: tuple[int, int, int]) -> None:
    """The scatter in space. Its axes know no logarithmic scale: logarithms are drawn, and labelled with numbers."""
    from matplotlib.ticker import MaxNLocator

    places = []
    for number, axis in zip(which, (axes.xaxis, axes.yaxis, axes.zaxis), strict=True):
        name = designs.objectives[number].name
        values = designs.numbers(name)
        divisor, prefix = scale(name, values)
        values = values / divisor
        if spans_decades(values):
            ticks = [
                t for t in _plain_ticks(values.min(), values.max()) if values.min() * 0.9 <= t <= values.max() * 1.1
            ]
            axis.set_ticks([float(np.log10(t)) for t in ticks], [f"{t:g}" for t in ticks])
            values = np.log10(values)
        else:
            axis.set_major_locator(MaxNLocator(3 if axis is axes.zaxis else 4))
        axis.set_label_text(axis_title(name, prefix))
        axis.labelpad = -5
        axis.set_tick_params(pad=1 if axis is axes.zaxis else -3)
        axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
        axis._axinfo["grid"].update(color="#e3e3e3", linewidth=0.5)
        places.append(values)
    members = front(designs.costs[:, list(which)])
    x, y, z = places
    axes.scatter(
        x[~members],
        y[~members],
        z[~members],
        s=2.5,
        color=GREY,
        alpha=0.35,
        linewidths=0,
        depthshade=False,
        rasterized=True,
    )
    best = {"s": 9, "color": FRONT, "linewidths": 0.3, "edgecolors": "white"}
    axes.scatter(x[members], y[members], z[members], depthshade=False, rasterized=True, **best)
    _clear_of_ticks(axes)
    axes.view_init(elev=24, azim=-50 if designs.objectives[which[0]].direction == "min" else -130)
    axes.set_box_aspect(None, zoom=0.95)


def _clear_of_ticks(axes: Any) -> None:
    """Push the upright axis's title out by the length of its numbers, which it would overprint."""
    texts = axes.zaxis.get_major_formatter().format_ticks(axes.zaxis.get_majorticklocs())
    axes.zaxis.labelpad = PAD_PER_LETTER * max(map(len, texts), default=0) - 11.0


def _rings(designs: Designs, count: int, named: list[Chosen]) -> str:
    """What black and orange rings are."""
    text = f"black ring: front of all three ({count:,} designs)"
    if not named:
        return text
    asked = all(each.role == str(designs.frame["design"].iloc[each.row]) for each in named)
    names = [each.letter for each in named]
    in_turn = len(named) > 2 and ord(names[-1][-1]) - ord(names[0][-1]) == len(names) - 1
    span = f"{names[0]}–{names[-1]}" if in_turn else ", ".join(names)
    return f"{text}\norange ring: {span}, " + ("as asked for" if asked else "the front's ends and knee")


def _plain_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 in each decade; powers of ten alone over more than two decades."""
    steps = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    return [step * 10.0**decade for decade in range(first, last + 1) for step in steps]


def norm_of(values: NDArray[np.float64]) -> Any:
    """Colours by size, by its logarithm over more than a decade; one colour where all values are the same."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    same = high - low <= 1e-9 * max(abs(low), abs(high))  # but for rounding
    return (LogNorm if spans_decades(values) else Normalize)(low, low if same else high)


def colour_bar(figure: Figure, drawn: Any, axes: Any, title: str) -> None:
    """A thin bar beside the axes, plain numbers on it; where all values are the same a line that says so."""
    from matplotlib.colors import LogNorm

    if drawn.norm.vmin == drawn.norm.vmax:
        text = f"{title}: all {short_number(drawn.norm.vmin)}"
        axes.text(1.03, 0.5, text, transform=axes.transAxes, rotation=90, va="center", ha="left")
        return
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=30)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    if isinstance(drawn.norm, LogNorm):
        log_ticks(bar.ax.yaxis, np.array([drawn.norm.vmin, drawn.norm.vmax]))
    bar.ax.yaxis.set_tick_params(which="minor", size=0)
    bar.set_label(title)


def parameter_figure(designs: Designs) -> Figure | None:
    """The first objective against each parameter, the best at each value as a line; None where nothing varies."""
    parameters = designs.varied
    if not parameters:
        return None
    objective = designs.objectives[0]
    rows = -(-len(parameters) // PANELS_ACROSS)
    across = min(len(parameters), PANELS_ACROSS)
    figure = new_figure(COLUMN if across == 1 else PAGE, 0.3 + 2.0 * rows)
    panels = figure.subplots(rows, across, squeeze=False, sharey=True)
    values = designs.numbers(objective.name)
    divisor = 1.0
    for number, axes in enumerate(panels.flat):
        if number >= len(parameters):
            axes.set_visible(False)
            continue
        divisor = number_axis(axes.yaxis, objective.name, values)
        _against(axes, designs.levels(parameters[number]), values / divisor, objective.direction)
        if number % across:
            axes.set_ylabel("")
        axes.set_xlabel(shorten(axes.get_xlabel(), 38))
        tidy(axes)
    return figure


def _against(axes: Axes, levels: Levels, values: NDArray[np.float64], direction: str) -> None:
    """One panel: designs spread sideways within their level, or along a line of numbers where there are many."""
    best = np.fmax if direction == "max" else np.fmin
    if levels.numeric and len(levels) > LEVELS_DRAWN:
        along = np.array(levels.values, dtype=float)[levels.codes]
        divisor = number_axis(axes.xaxis, levels.name, along)
        axes.scatter(along / divisor, values, s=3, color=GREY, linewidths=0, rasterized=True)
        edges = np.quantile(along, np.linspace(0, 1, 21))
        bins = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, 19)
        used = np.unique(bins)
        line = [best.reduce(values[bins == each]) for each in used]
        axes.plot([np.median(along[bins == each]) / divisor for each in used], line, color=FRONT)
        return
    # spread by the row's number in low-discrepancy steps: no randomness, no pattern
    spread = (np.arange(len(values)) * 0.618034 % 1.0 - 0.5) * 0.6
    axes.scatter(levels.codes + spread, values, s=3, color=GREY, linewidths=0, rasterized=True)
    line = [best.reduce(values[levels.codes == code]) for code in range(len(levels))]
    axes.plot(range(len(levels)), line, color=FRONT, marker="o", markersize=3)
    level_axis(axes.xaxis, levels, room=26)


def pair_figure(designs: Designs, x_name: str, y_name: str) -> Figure:
    """Any two columns, coloured by the first objective; of columns that are no numbers the levels."""
    figure = new_figure(COLUMN, 2.75)
    axes = figure.subplots()
    x, y = _column_on(axes.xaxis, designs, x_name), _column_on(axes.yaxis, designs, y_name)
    objective = designs.objectives[0].name
    colour = designs.numbers(objective)
    divisor, prefix = scale(objective, colour)
    dots = axes.scatter(
        x, y, c=colour / divisor, norm=norm_of(colour / divisor), cmap=SEQUENCE, s=4, linewidths=0, rasterized=True
    )
    colour_bar(figure, dots, axes, axis_title(objective, prefix))
    tidy(axes)
    return figure


def _column_on(axis: Any, designs: Designs, name: str) -> NDArray[np.float64]:
    """Label an axis for a column; its values as they are drawn."""
    levels = designs.levels(name)
    if levels.numeric and (name not in designs.table.parameters or len(levels) > LEVELS_DRAWN):
        values = designs.numbers(name)
        return values / number_axis(axis, name, values)
    level_axis(axis, levels)
    return levels.codes.astype(float)

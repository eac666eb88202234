"""How much each parameter matters: one at a time around the best design, and main effects over all designs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.columns import Levels, words_of
from zerocast.analysis.reports.pictures.designs import Designs
from zerocast.analysis.reports.pictures.style import FRONT, PAGE, SEQUENCE, tidy
from zerocast.analysis.reports.plots.times import new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10
"""Classes of equal size into which a numeric parameter of more than `LEVELS` values is cut."""
LEVELS = 20


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The designs that differ from the best one in one parameter alone, and the best one.

    ratios: their objective over the best one's; none where that is 0. places: their level among the parameter's, 0 at
    the lowest, 1 at the highest. active: False for a conditional parameter that the best design does not have.
    """

    name: str
    ratios: NDArray[np.float64]
    places: NDArray[np.float64]
    active: bool


def one_at_a_time(designs: Designs, objective: int) -> list[Neighbours]:
    """Neighbours of the best design of an objective along each parameter that varies.

    A parameter that one of two designs does not have, since its condition does not hold there, is no difference.
    """
    levels = [designs.levels(name) for name in designs.varied]
    values = designs.numbers(designs.objectives[objective].name)
    best = int(np.argmin(designs.costs[:, objective]))
    codes = np.column_stack([each.codes for each in levels]) if levels else np.zeros((len(values), 0), dtype=int)
    absent = np.column_stack([_absent(each) for each in levels]) if levels else np.zeros(codes.shape, dtype=bool)
    same = (codes == codes[best]) | absent | absent[best]
    found = []
    for number, each in enumerate(levels):
        rows = np.flatnonzero(np.delete(same, number, axis=1).all(axis=1))
        rows = rows if values[best] else rows[:0]
        found.append(Neighbours(each.name, values[rows] / values[best] if len(rows) else values[rows],
                                each.codes[rows] / (len(each) - 1), not absent[best, number]))  # fmt: skip
    return found


def _absent(levels: Levels) -> NDArray[np.bool_]:
    """Rows that have no value of a conditional parameter."""
    return np.array([value is None for value in levels.values])[levels.codes]


def main_effect(codes: NDArray[np.intp], values: NDArray[np.float64]) -> float:
    """Share of the variance of `values` that their group means explain, groups given by `codes`, shape (rows,) each.

    The first-order index Var(E[Y|X]) / Var(Y) (Saltelli et al., "Global Sensitivity Analysis", 2008, eq. 1.20), exact
    where the rows are a whole grid: there the spread within a group is the other parameters' work and no chance. NaN
    where nothing varies.
    """
    between, total, _ = _sums_of_squares(codes, values)
    return between / total if total else float("nan")


def estimated_effect(codes: NDArray[np.intp], values: NDArray[np.float64]) -> float:
    """`main_effect` of the space that the rows are a sample of, by epsilon squared (Kelley, PNAS 21, 1935).

    (between - (k - 1) within / (n - k)) / total, with k groups of n values: 0 on average where a parameter has no
    effect, so that an effect below the sample's noise may read 0. Never below 0; NaN where nothing varies and where
    each row is a group.
    """
    between, total, groups = _sums_of_squares(codes, values)
    free = len(values) - groups
    if not total or free <= 0:
        return float("nan")
    return max((between - (groups - 1) * (total - between) / free) / total, 0.0)


def _sums_of_squares(codes: NDArray[np.intp], values: NDArray[np.float64]) -> tuple[float, float, int]:
    """Sum of squares between groups, that of all rows (0 where only rounding varies), and the number of groups."""
    groups, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    means = np.bincount(index, values) / counts
    between = float((counts * (means - values.mean()) ** 2).sum())
    total = float(((values - values.mean()) ** 2).sum())
    rounding = 1e-24 * len(values) * max(float(np.abs(values).max()) ** 2, 1e-300)
    return between, total if total > rounding else 0.0, len(groups)


def whole_grid(designs: Designs) -> bool:
    """Whether the drawn designs are every combination of their parameters' levels, each once."""
    levels = [designs.levels(name) for name in designs.varied]
    if prod(len(each) for each in levels) != len(designs.frame):
        return False
    codes = np.column_stack([each.codes for each in levels]) if levels else np.zeros((len(designs.frame), 0), dtype=int)
    return len(np.unique(codes, axis=0)) == len(codes)


def main_effects(designs: Designs, objective: int) -> dict[str, float]:
    """The effect of each parameter that varies on an objective, on its logarithm where it is positive.

    `main_effect` by level on a whole grid, else `estimated_effect` by `classes`.
    """
    values = designs.numbers(designs.objectives[objective].name)
    values = np.log(values) if _positive(designs, objective) else values
    if whole_grid(designs):
        return {name: main_effect(designs.levels(name).codes, values) for name in designs.varied}
    return {name: estimated_effect(classes(designs.levels(name)), values) for name in designs.varied}


def _positive(designs: Designs, objective: int) -> bool:
    return bool((designs.numbers(designs.objectives[objective].name) > 0).all())


def classes(levels: Levels) -> NDArray[np.intp]:
    """The level of each row; for a number line of many values the class of equal size that it falls into."""
    if not levels.numeric or len(levels) <= LEVELS:
        return levels.codes
    ranks = np.argsort(np.argsort(levels.codes, kind="stable"), kind="stable")
    return (ranks * BINS // len(ranks)).astype(np.intp)


def by_importance(designs: Designs) -> list[str]:
    """Parameters that vary, the one with the largest main effect on the first objective first."""
    effects = main_effects(designs, 0)
    return sorted(effects, key=lambda name: -np.nan_to_num(effects[name], nan=-1.0))


def sensitivity_figure(designs: Designs) -> Figure | None:
    """For each objective: ratios to its best design one parameter at a time, and the main effects of all designs."""
    names = by_importance(designs)
    if not names:
        return None
    count = len(designs.objectives)
    figure = new_figure(PAGE, 0.75 + count * (0.55 + 0.17 * len(names)))
    panels = figure.subplots(count, 2, squeeze=False, sharey="row")
    for number, (left, right) in enumerate(panels):
        words = words_of(designs.objectives[number].name)
        _ratios(left, {each.name: each for each in one_at_a_time(designs, number)}, names, words)
        _effects(right, main_effects(designs, number), names, f"log {words}" if _positive(designs, number) else words)
        left.set_yticks(range(len(names)), [shorten(words_of(name), 40) for name in names])
        left.set_ylim(len(names) - 0.4, -0.6)
    panels[0, 0].set_title("one parameter at a time around the best design", loc="left")
    how = "exact: the designs are a whole grid" if whole_grid(designs) else "estimated: the designs are no whole grid"
    panels[0, 1].set_title(f"main effects, {how}", loc="left")
    _level_key(figure, panels[0, 0])
    return figure


def _ratios(axes: Axes, found: dict[str, Neighbours], names: list[str], words: str) -> None:
    """Each neighbour's ratio as a dot, dark at the parameter's lowest level and light at its highest."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for at, name in enumerate(names):
        ratios, places = found[name].ratios, found[name].places
        if len(ratios) < 2 or not found[name].active:
            text = "no design differs in it alone" if found[name].active else "not in use in the best design"
            axes.text(0.08, at, text, transform=axes.get_yaxis_transform(), fontsize=6,
                      va="center", color="#777777")  # fmt: skip
            continue
        axes.plot([ratios.min(), ratios.max()], [at, at], color="#999999", linewidth=0.9, zorder=1)
        axes.scatter(ratios, np.full(len(ratios), at), c=places, cmap=SEQUENCE, vmin=0, vmax=1, s=14, zorder=2,
                     edgecolors="black", linewidths=0.3)  # fmt: skip
    spread = np.concatenate([each.ratios for each in found.values()])
    if spread.size and spread.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        low, high = float(spread.min()), float(spread.max())
        ticks = _ratio_ticks(low, high)
        axes.set_xticks(ticks, minor=False)
        axes.set_xlim(low / (high / low) ** 0.06 / 1.005, high * (high / low) ** 0.06 * 1.005)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axvline(1.0, color="#333333", linewidth=0.6)
    axes.set_xlabel(f"{words}, ratio to the best design [1]")
    tidy(axes, "x")


def _ratio_ticks(low: float, high: float) -> list[float]:
    """A few round ratios between low and high, 1 among them."""
    from matplotlib.ticker import MaxNLocator

    if high < 3 * low:
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [1.0]
    grid = [step * 10.0**decade for decade in range(-6, 9) for step in (1.0, 2.0, 5.0)]
    inside = [tick for tick in grid if low * 0.999 <= tick <= high * 1.001]
    return inside if len(inside) <= 8 else [tick for tick in inside if f"{tick:e}".startswith("1")]


def _effects(axes: Axes, effects: dict[str, float], names: list[str], words: str) -> None:
    """Bars of the main effects, the number at each."""
    for at, name in enumerate(names):
        share = effects[name]
        axes.barh(at, np.nan_to_num(share), 0.62, color=FRONT)
        axes.annotate(
            share_text(share),
            (np.nan_to_num(share), at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )
    axes.set_xlim(0, max(0.05, 1.18 * float(np.nanmax([*effects.values(), 0.0]))))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(f"share of the variance of {words}")
    axes.tick_params(labelleft=False)
    tidy(axes, "x")


def share_text(share: float) -> str:
    """A share in percent; what would round to none is not written as none."""
    if np.isnan(share):
        return "–"
    if share < 1e-12:  # rounding of the sums of squares
        return "0%"
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def _level_key(figure: Figure, axes: Axes) -> None:
    """What the shade of a dot says."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    shades = [(0.0, "lowest value"), (0.5, "middle"), (1.0, "highest value of the parameter")]
    handles = [Line2D([], [], linestyle="", marker="o", markersize=3.6, markerfacecolor=colormaps[SEQUENCE](share),
                      markeredgecolor="black", markeredgewidth=0.3, label=text) for share, text in shades]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3)

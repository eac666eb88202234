"""Where the energy of the chosen designs goes."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from zerocast.analysis.reports.pictures.columns import value_text, words_of
from zerocast.analysis.reports.pictures.designs import Chosen, Designs
from zerocast.analysis.reports.pictures.style import PAGE, scale, tidy
from zerocast.analysis.reports.plots.times import new_figure, shorten
from zerocast.analysis.units import si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {
    "mac_j": ("multiply-add", "#0072b2"), "register_j": ("registers", "#56b4e9"), "buffer_j": ("buffers", "#009e73"),
    "dram_j": ("DRAM", "#d55e00"), "vector_j": ("vector work", "#cc79a7"), "static_j": ("static", "#999999"),
}  # fmt: skip
"""Components of the energy, in the order of the stack."""
DRAWN = 12
THIN = 1e-3
"""Share of a bar below which a component is too thin to be seen: the legend says so. One that is 0 is not in it."""


def energy_figure(designs: Designs, chosen: list[Chosen]) -> Figure:
    """A bar for each chosen design, stacked by component, its whole energy at the end and its parameters beside it."""
    parts = {name: designs.numbers(name) for name in PARTS if name in designs.frame}
    rows = [each.row for each in chosen[:DRAWN]]
    wholes = np.nansum([values[rows] for values in parts.values()], axis=0)
    divisor, prefix = scale("energy_j", wholes)
    texts = [_parameters(designs, each.row) for each in chosen[:DRAWN]]
    figure = new_figure(PAGE, 0.7 + (0.3 + 0.1 * max(text.count("\n") + 1 for text in texts)) * len(texts))
    axes = figure.subplots()
    left = np.zeros(len(rows))
    for name, values in parts.items():
        widths = np.nan_to_num(values[rows]) / divisor
        if widths.any():
            words, colour = PARTS[name]
            label = words if (widths * divisor > THIN * wholes).any() else f"{words} (< {THIN:.1%})"
            axes.barh(range(len(rows)), widths, 0.42, left=left, color=colour, label=label)
            left = left + widths
    for at, width in enumerate(left):
        axes.annotate(
            texts[at],
            (0, at + 0.21),
            xytext=(2, -2),
            textcoords="offset points",
            va="top",
            fontsize=5.5,
            color="#555555",
        )
        axes.annotate(
            si(width * divisor, "J"), (width, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6.5
        )
    axes.set_yticks(range(len(rows)), [f"{each.letter}: {fill(each.role, 24)}" for each in chosen[:DRAWN]])
    axes.set_ylim(len(rows) - 0.25, -0.35)
    axes.set_xlim(0, (float(left.max()) or 1.0) * 1.12)
    axes.set_xlabel(f"energy [{prefix}J]")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=6, borderpad=0.1)
    tidy(axes, "x")
    return figure


def _parameters(designs: Designs, row: int) -> str:
    """What tells the design from others, broken into lines between parameters alone."""
    values = {name: designs.frame[name].iloc[row] for name in designs.varied}
    words = (f"{shorten(words_of(name), 40)} {value_text(name, value)}" for name, value in values.items())
    return fill(",  ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words), 120, break_on_hyphens=False)


def missing_columns(designs: Designs) -> list[str]:
    """The energies that the table has not; the picture needs one of them."""
    missing = [name for name in PARTS if name not in designs.frame or np.isnan(designs.numbers(name)).all()]
    return missing if len(missing) == len(PARTS) else []

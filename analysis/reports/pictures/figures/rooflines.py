"""Roofline of all designs, with the roofs of the chosen ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.designs import Chosen, Designs
from zerocast.analysis.reports.pictures.figures import letters
from zerocast.analysis.reports.pictures.style import COLUMN, GREY, MARKERS, PALETTE, log_ticks, tidy
from zerocast.analysis.reports.plots.times import new_figure
from zerocast.analysis.units import scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("effectual_macs", "latency_s", "dram_bytes", "peak_macs_per_s", "dram_bytes_per_s")
DRAWN = 8
"""Chosen designs that get roofs of their own."""


def roofline_figure(designs: Designs, chosen: list[Chosen]) -> Figure | None:
    """Effectual MACs per second against effectual MACs per DRAM byte; None where no design moves bytes.

    A chosen design stands under its own roofs: the slope of its link and the flat peak of its array.
    """
    work, seconds, moved, peak, link = (designs.numbers(name) for name in NEEDS)
    with np.errstate(divide="ignore", invalid="ignore"):
        intensity, rate = work / moved, work / seconds
    good = np.isfinite(intensity) & np.isfinite(rate) & (intensity > 0) & (rate > 0)
    if not good.any():
        return None
    figure = new_figure(COLUMN, 2.9)
    axes = figure.subplots()
    shown = [each for each in chosen[:DRAWN] if good[each.row] and peak[each.row] > 0 and link[each.row] > 0]
    tops = [float(peak[each.row]) for each in shown]
    divisor, prefix = scale_of(float(np.sqrt(rate[good].min() * max([*tops, rate[good].max()]))))
    rest = good & ~designs.front
    axes.scatter(intensity[rest], rate[rest] / divisor, s=3, color=GREY, linewidths=0, rasterized=True, label="designs")
    best = good & designs.front
    axes.scatter(
        intensity[best], rate[best] / divisor, s=5, color="#777777", linewidths=0, rasterized=True, label="front"
    )
    left, right = _span(intensity[good], [float(peak[each.row] / link[each.row]) for each in shown])
    for number, each in enumerate(shown):
        colour, row = PALETTE[number % len(PALETTE)], each.row
        ridge = float(np.clip(peak[row] / link[row], left, right))
        roof = np.minimum(np.array([left, ridge, right]) * link[row], peak[row])
        axes.plot([left, ridge, right], roof / divisor, color=colour,
                  linewidth=0.9, linestyle=("-", "--", ":", "-.")[number % 4], zorder=2)  # fmt: skip
        axes.scatter(intensity[row], rate[row] / divisor, s=28, color=colour, marker=MARKERS[number % len(MARKERS)],
                     edgecolors="white", linewidths=0.5, zorder=3, label=f"{each.letter}: {each.role}")  # fmt: skip
    low = float(rate[good].min()) / divisor
    high = (
        max([float(rate[good].max()), *(min(float(peak[e.row]), right * float(link[e.row])) for e in shown)]) / divisor
    )
    log_ticks(axes.xaxis, np.array([left, right]))
    log_ticks(axes.yaxis, np.array([low / 2, high * 2]))
    axes.set_xlim(left, right)
    axes.set_ylim(low / 1.6, high * 1.6)
    axes.set_xlabel("effectual MACs per DRAM byte [MAC/B]")
    axes.set_ylabel(f"effectual MACs per second [{prefix}MAC/s]")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderpad=0.1)
    tidy(axes)
    letters.put(axes, np.where(good, intensity, np.nan), rate / divisor, {each.row: each.letter for each in shown},
                colours={each.row: PALETTE[number % len(PALETTE)] for number, each in enumerate(shown)})  # fmt: skip
    return figure


def _span(intensity: NDArray[np.float64], ridges: list[float]) -> tuple[float, float]:
    """Ends of the axis: all designs, and each ridge with some of the flat roof, but a decade beyond them at most."""
    low, high = float(intensity.min()), float(intensity.max())
    return max(min([low, *ridges]) / 2, low / 10), min(max([high, *ridges]) * 2, high * 10)


def missing_columns(designs: Designs) -> list[str]:
    """Columns that the picture needs and the table has not, or has without a value."""
    return [name for name in NEEDS if name not in designs.frame or np.isnan(designs.numbers(name)).all()]

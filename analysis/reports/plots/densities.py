"""Speedup over the dense kernel against density, with each kernel's break-even."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zerocast.analysis.products.densities import Densities, shown
from zerocast.analysis.reports.pictures.style import GREY, INK, MARKERS, PAGE, PALETTE, log_ticks, tidy
from zerocast.analysis.reports.plots.times import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def densities_figure(found: Densities) -> Figure:
    """Both axes logarithmic; kernels cross the line of the dense one where they break even."""
    figure = new_figure(PAGE, 3.4)
    axes = figure.subplots()
    curves = shown(found.curves)
    for number, curve in enumerate(curves):
        colour = PALETTE[number % len(PALETTE)]
        label, marker = f"{curve.kernel}, zeros {curve.structure}", MARKERS[number % len(MARKERS)]
        axes.plot(found.densities, curve.speedup, color=colour, marker=marker, ms=3, label=label)
        if curve.break_even is not None and found.densities[0] <= curve.break_even <= found.densities[-1]:
            axes.plot([curve.break_even], [1.0], "|", color=colour, ms=9, mew=1.5)
            axes.annotate(f"{curve.break_even:.2g}", (curve.break_even, 1.0), (0, -10), textcoords="offset points",
                          ha="center", fontsize=6, color=colour)  # fmt: skip
    if not np.isnan(found.two_of_four):
        axes.plot([0.5], [found.two_of_four], "*", color=INK, ms=7, linestyle="none", label="2:4 tensor cores")
    axes.axhline(1.0, color=GREY, linewidth=0.9, zorder=0)
    drawn = np.concatenate([[1.0], *(curve.speedup for curve in curves)])
    log_ticks(axes.xaxis, found.densities)
    log_ticks(axes.yaxis, drawn[~np.isnan(drawn)])
    p = found.product
    title = f"{p.m} x {p.n} x {p.k} in {p.dtype} on {found.accelerator}, dense {found.dense_s * 1e6:.4g} us"
    axes.set(xlabel="share of nonzeros", ylabel="speedup over the dense kernel", title=title)
    tidy(axes)
    axes.legend(loc="upper right")
    return figure

"""What lies off chip while a workload runs, by class."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.reports.plots.times import new_figure, tidy
from zerocast.analysis.units import scale_of, si
from zerocast.simulator.result import CLASSES, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = dict(zip(CLASSES, (
    "#3b6ea8", "#7da3cc", "#9a6fb0", "#5f9e6e", "#d98c3f", "#e8c07d", "#56b4e9", "#cc79a7", "#999999", "#cccccc",
), strict=True))  # fmt: skip
"""One colour per class."""


def memory_figure(result: Result, accelerator: Accelerator | None = None) -> Figure | None:
    """Bytes of each class over the time of the run, one on the other, and what the memory holds where that is near;
    None where nothing is known of them."""
    held = result.footprint.over_time
    if not held or not result.rows:
        return None
    divisor, prefix = scale_of(result.latency_s)
    size, size_prefix = scale_of(result.footprint.peak_bytes)
    times = [start / divisor for start in accumulate((row.start_s for row in result.rows), max)]
    times.append(max(result.latency_s / divisor, times[-1]))
    figure = new_figure(9, 3.4)
    axes = figure.subplots()
    layers = [[each / size for each in (*sizes, sizes[-1])] for sizes in held.values()]
    axes.stackplot(times, *layers, colors=[COLOURS[name] for name in held], labels=list(held), step="post")
    capacity = accelerator.dram.capacity_bytes if accelerator is not None else None
    if capacity is not None and capacity < 2 * result.footprint.peak_bytes:
        axes.axhline(capacity / size, color="#b03030", linestyle="--", linewidth=1.2)
        axes.annotate(f"holds {si(capacity, 'B')}", (times[0], capacity / size), xytext=(4, 3),
                      textcoords="offset points", fontsize=8, color="#b03030")  # fmt: skip
    axes.set_xlim(0, times[-1] or 1.0)
    axes.set_xlabel(f"time [{prefix}s]")
    axes.set_ylabel(f"alive off chip [{size_prefix}B]")
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    tidy(axes, "y")
    return figure

"""A run over its steps: time and energy of a step, nonzero weights, memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zerocast.analysis.reports.plots.times import new_figure, png, tidy
from zerocast.analysis.train.trained import Trained
from zerocast.analysis.units import scale_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DRAWN = (
    ("latency_s", "time of a step", "s"), ("energy_j", "energy of a step", "J"),
    ("flops", "operations of a step", "FLOP"), ("weights", "nonzero weights", ""),
    ("peak_bytes", "peak memory", "B"),
)  # fmt: skip
"""Column, words, unit."""


def figure_of(trained: Trained) -> Figure:
    """A panel for each column over the steps; a thin line is the dense network."""
    figure = new_figure(8, 1.5 * len(_DRAWN))
    panels = figure.subplots(len(_DRAWN), sharex=True)
    dense = {
        "latency_s": trained.dense.time_s / trained.steps, "energy_j": trained.dense.energy_j / trained.steps,
        "flops": trained.dense.flops / trained.steps, "weights": trained.parameters,
        "peak_bytes": trained.dense.peak_bytes,
    }  # fmt: skip
    for axes, (name, words, unit) in zip(panels, _DRAWN, strict=True):
        values = trained.curve.values[name]
        scale, prefix = scale_of(max([*values, dense[name]]))
        axes.axhline(dense[name] / scale, color="#999999", linewidth=0.8, linestyle="--")
        axes.plot(trained.curve.steps, [value / scale for value in values], color="#3b6ea8", linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"{words}\n[{prefix}{unit}]" if prefix or unit else words, fontsize=8)
        tidy(axes, "both")
    panels[-1].set_xlabel("step")
    panels[0].set_title(
        f"{trained.model}, {trained.schedule.text} on {trained.accelerator} (dashed: dense)", fontsize=9
    )
    return figure


def write_picture(trained: Trained, folder: Path) -> Path:
    """Write train.png into the folder; its path."""
    path = folder / "train.png"
    path.write_bytes(png(figure_of(trained)))
    return path

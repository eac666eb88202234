"""From the ideal time to the real one, cause by cause: of all ops, and of the layers that take the most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.reports.plots.losses import COLOURS
from zerocast.analysis.reports.plots.times import new_figure, shorten, tidy
from zerocast.analysis.reports.tables import OUTSIDE
from zerocast.analysis.units import scale_of, si
from zerocast.simulator.cost import OpRow
from zerocast.simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOWEST = 3
"""Layers that are drawn beside the whole."""
LEAST = 0.002
"""Share of the time below which a part is not drawn; what is left out is in no other bar, and is nearly nothing."""
OTHER = {"fold": "#7f7f7f", "unit": "#d9a679"}
"""Colours of the parts that engines do not have."""


def waterfall_figure(result: Result, accelerator: Accelerator | None) -> Figure | None:
    """Panels of bars that each begin where the one above ends, down to the sum; None where nothing takes time."""
    by_layer: dict[str, list[OpRow]] = {}
    for row in result.rows:
        by_layer.setdefault(row.layer or OUTSIDE, []).append(row)
    ranked = sorted(by_layer, key=lambda layer: -_seconds(by_layer[layer]))
    chosen = {"all ops, one after another": list(result.rows)} | {name: by_layer[name] for name in ranked[:SLOWEST]}
    if not _seconds(result.rows):
        return None
    launch_s = 0.0 if accelerator is None else accelerator.launch_s
    figure = new_figure(9, 2 * 2.4)
    for axes, (name, rows) in zip(figure.subplots(2, 2).flat, chosen.items(), strict=False):
        _panel(axes, name, rows, result.clock_hz, launch_s)
    for axes in figure.axes[len(chosen) :]:
        axes.set_visible(False)
    return figure


def _seconds(rows: list[OpRow] | tuple[OpRow, ...]) -> float:
    return sum(row.latency_s for row in rows)


def _panel(axes: Axes, name: str, rows: list[OpRow], clock_hz: float, launch_s: float) -> None:
    from zerocast.analysis.why.waterfall import waterfall

    total = _seconds(rows)
    divisor, prefix = scale_of(total)
    parts = {cause: s for cause, s in waterfall(rows, clock_hz, launch_s).items() if abs(s) >= LEAST * total}
    start = 0.0
    for place, (cause, seconds) in enumerate(parts.items()):
        colour = {**COLOURS, **OTHER}[cause]
        axes.barh(place, seconds / divisor, 0.7, left=start / divisor, color=colour)
        start += seconds
    axes.barh(len(parts), total / divisor, 0.7, color="#444444")
    axes.set_yticks(range(len(parts) + 1), [*parts, "latency"], fontsize=8)
    axes.set_ylim(len(parts) + 0.6, -0.6)
    axes.set_title(f"{shorten(name, 40)}: {si(total, 's')}", fontsize=9)
    axes.set_xlabel(f"[{prefix}s]", fontsize=8)
    tidy(axes)

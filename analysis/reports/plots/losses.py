"""Where an engine's cycles go: the ideal ones, and those lost to each cause."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zerocast.analysis.reports.plots.times import Stacks, by_layer, heaviest, new_figure, shorten, tidy, weights
from zerocast.analysis.reports.tables import OUTSIDE
from zerocast.analysis.units import scale_of
from zerocast.simulator.cost import OpRow
from zerocast.simulator.laws import EXPLAINED
from zerocast.simulator.laws.lanes.losses import CAUSES
from zerocast.simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = (*CAUSES, "port", "memory", "launch")
"""Why the array is not multiplying: `simulator.laws.lanes.losses`, waiting for the ports of the buffers and for the
off-chip link, and the host's overhead before an op."""

COLOURS = {
    "ideal": "#b9c2cb", "imbalance": "#d55e00", "fragmentation": "#e69f00", "padding": "#f0e442", "edge": "#0072b2",
    "conflict": "#cc79a7", "ramp": "#56b4e9", "wasted": "#6a3d9a", "port": "#8c564b", "memory": "#009e73",
    "launch": "#222222",
}  # fmt: skip
"""Apart for the colour-blind too (the palette of Okabe and Ito, with a brown and a grey more)."""

LEAST_SHARE = 0.005
"""A cause with less of the array's time is left out of the printed line."""

BAR_PIXELS = 800
"""Width of the longest bar, roughly; what takes less than one of them needs no place in the legend."""


def engine_rows(result: Result) -> list[OpRow]:
    """The rows that engines ran; none where the array is systolic."""
    return [row for row in result.rows if row.dataflow in EXPLAINED]


def losses_of(row: OpRow, clock_hz: float) -> dict[str, float]:
    """Cycles that a row of the array loses, by cause; with its ideal cycles they make up the row's latency.

    The engine explains its own cycles and not those in which it waits for a port, so port is what it leaves of the
    array's cycles; launch is what is left of the latency. What is no engine does not tell ports from folds: 0.
    """
    lost = {cause: float(getattr(row, f"lost_{cause}_cycles")) for cause in (*CAUSES, "memory")}
    explained = row.ideal_cycles + sum(lost[cause] for cause in CAUSES)
    lost["port"] = row.cycles - explained if row.dataflow in EXPLAINED else 0.0
    lost["launch"] = row.latency_s * clock_hz - row.cycles - lost["memory"]
    return {cause: lost[cause] for cause in LOSSES}


def lost_cycles(rows: Iterable[OpRow], clock_hz: float) -> dict[str, float]:
    """Cycles that rows of the array lose together, by cause."""
    total = dict.fromkeys(LOSSES, 0.0)
    for row in rows:
        for cause, cycles in losses_of(row, clock_hz).items():
            total[cause] += cycles
    return total


def losses_line(result: Result) -> str:
    """What the engine loses in words, largest first, as shares of the sum of its ops' latencies; "" without engine."""
    rows = engine_rows(result)
    whole = sum(row.latency_s for row in rows) * result.clock_hz
    if whole <= 0:
        return ""
    shares = {cause: cycles / whole for cause, cycles in lost_cycles(rows, result.clock_hz).items()}
    told = sorted((cause for cause in LOSSES if shares[cause] >= LEAST_SHARE), key=lambda cause: -shares[cause])
    if not told:
        return f"no cause takes {LEAST_SHARE * 100:g} % of the array's time"
    return ", ".join(f"{cause} {shares[cause] * 100:.0f} %" for cause in told) + " of the array's time"


def losses_figure(result: Result) -> Figure | None:
    """Latency of the array's ops by layer, split into ideal cycles and those lost to each cause.

    The slowest layers, the rest as one, chosen as in `layers_figure`. None for a result without an engine's rows.
    """
    rows = engine_rows(result)
    if not rows:
        return None
    table = _by_layer(rows, result.clock_hz)
    grouped, _ = by_layer(table, {})
    kept = heaviest(weights(grouped, {}))
    bars = {shorten(layer, 34): stack for layer, stack in grouped.items() if layer in kept}
    if rest := [stack for layer, stack in grouped.items() if layer not in kept]:
        bars[f"{len(rest)} others"] = _added(rest)
    figure = new_figure(9, 1.6 + 0.25 * len(bars))
    axes = figure.subplots()
    _stacked_bars(axes, list(bars.values()))
    axes.set_yticks(range(len(bars)), list(bars), fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    _legend(axes, list(bars.values()))
    return figure


def _by_layer(rows: list[OpRow], clock_hz: float) -> Stacks:
    """Seconds by layer, and by cause or `ideal`."""
    table: Stacks = {}
    for row in rows:
        stack = table.setdefault(row.layer or OUTSIDE, dict.fromkeys(COLOURS, 0.0))
        for name, cycles in {"ideal": row.ideal_cycles, **losses_of(row, clock_hz)}.items():
            stack[name] += cycles / clock_hz
    return table


def _added(stacks: Iterable[dict[str, float]]) -> dict[str, float]:
    total = dict.fromkeys(COLOURS, 0.0)
    for stack in stacks:
        for name, seconds in stack.items():
            total[name] += seconds
    return total


def _stacked_bars(axes: Axes, stacks: list[dict[str, float]]) -> None:
    """Horizontal bars at 0, 1, 2, ..., ideal first."""
    longest = max(sum(stack.values()) for stack in stacks)
    divisor, prefix = scale_of(longest)
    left = [0.0] * len(stacks)
    for name, colour in COLOURS.items():
        widths = [stack[name] / divisor for stack in stacks]
        axes.barh(range(len(stacks)), widths, 0.7, left=left, color=colour)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlim(0, max(longest / divisor, 1e-9) * 1.02)
    axes.set_xlabel(f"latency summed over the layer's ops on the array [{prefix}s]")
    tidy(axes)


def _legend(axes: Axes, stacks: list[dict[str, float]]) -> None:
    """Legend above the axes: what can be seen in some bar, with its share of the array's time."""
    from matplotlib.patches import Patch

    total = _added(stacks)
    whole = sum(total.values()) or 1.0
    pixel = max(sum(stack.values()) for stack in stacks) / BAR_PIXELS
    handles = [Patch(color=colour, label=f"{name} {_percent(total[name] / whole)}")
               for name, colour in COLOURS.items() if max(stack[name] for stack in stacks) >= pixel]  # fmt: skip
    axes.legend(handles=handles, frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= LEAST_SHARE else "< 1 %"

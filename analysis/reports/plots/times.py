"""Pictures of a result: where the time goes, by layer and over time."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from zerocast.analysis.reports.tables import PHASES, layer_rows, total_by
from zerocast.analysis.units import scale_of
from zerocast.simulator.cost import OpRow
from zerocast.simulator.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"FF": "#3b6ea8", "BP": "#d98c3f", "WU": "#5f9e6e", "UPDATE": "#9a6fb0"}
"""One colour per pass, in all pictures."""
LAYERS_SHOWN = 40
BASELINE_ALPHA = 0.4


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches. Not pyplot's: nothing global, and no window system."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure, dpi: int = 110) -> bytes:
    """The figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def tidy(axes: Axes, grid: str = "x") -> None:
    """Light grid behind the data, no box."""
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def phases_of(*results: Result | None) -> list[str]:
    """Passes that occur, in their order."""
    present = {row.phase for result in results if result is not None for row in result.rows}
    return [phase for phase in PHASES if phase in present]


def phase_legend(axes: Axes, phases: list[str], compared: bool) -> None:
    """Legend above the axes: the passes, and the pale bars where there is a baseline."""
    from matplotlib.patches import Patch

    handles = [Patch(color=COLOURS[phase], label=phase) for phase in phases]
    if compared:
        handles.append(Patch(color="#777777", alpha=BASELINE_ALPHA, label="baseline (pale)"))
    axes.legend(handles=handles, frameon=False, fontsize=8, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def layers_figure(result: Result, baseline: Result | None) -> Figure:
    """Latency of each layer, stacked by pass, the baseline's beside it; the slowest layers, the rest as one.

    Where the rest would be more than a tenth of the whole, layers are taken together by their module path.
    """
    ours, others = _by_layer(result), _by_layer(baseline) if baseline is not None else {}
    ours, others = by_layer(ours, others)
    weight = weights(ours, others)
    kept = heaviest(weight)
    order = [layer for layer in weight if layer in kept]
    rest = [layer for layer in weight if layer not in kept]
    names = [shorten(layer, 34) for layer in order]
    bars = [[table.get(layer, {}) for layer in order] for table in (ours, others)]
    if rest:
        names.append(f"{len(rest)} others")
        for table, column in zip((ours, others), bars, strict=True):
            column.append({p: sum(table.get(layer, {}).get(p, 0.0) for layer in rest) for p in PHASES})
    figure = new_figure(9, 1.4 + 0.25 * len(names) * (1.25 if baseline is not None else 1.0))
    axes = figure.subplots()
    _paired_bars(axes, bars if baseline is not None else bars[:1])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    phase_legend(axes, phases_of(result, baseline), baseline is not None)
    return figure


Stacks = dict[str, dict[str, float]]
"""Latency in s by layer and pass."""


def _by_layer(result: Result) -> Stacks:
    table: Stacks = {}
    for row in layer_rows(result):
        table.setdefault(row.layer, {})[row.phase] = row.latency_s
    return table


def weights(ours: Stacks, others: Stacks) -> dict[str, float]:
    """Height of each layer's bar, the higher of the two."""
    layers = dict.fromkeys((*ours, *others))
    return {layer: max(_sum(ours.get(layer)), _sum(others.get(layer))) for layer in layers}


def heaviest(weight: dict[str, float]) -> set[str]:
    """The layers that a figure shows."""
    return set(sorted(weight, key=lambda layer: -weight[layer])[:LAYERS_SHOWN])


def by_layer(ours: Stacks, others: Stacks) -> tuple[Stacks, Stacks]:
    """The layers, or their parents at the greatest depth at which the heaviest make up nearly all."""
    deepest = max((layer.count(".") + 1 for layer in (*ours, *others)), default=1)
    for depth in range(deepest, 0, -1):
        both = _cut(ours, depth), _cut(others, depth)
        weight = weights(*both)
        if sum(weight[layer] for layer in heaviest(weight)) >= 0.9 * sum(weight.values()):
            # a handful of groups says less than the heaviest layers and a large rest
            few = depth < deepest and len(weight) < 8
            return (_cut(ours, depth + 1), _cut(others, depth + 1)) if few else both
    return ours, others


def _cut(table: Stacks, depth: int) -> Stacks:
    """Sum over the layers whose paths agree in the first `depth` parts; such a group is named with `.*`."""
    prefix = {layer: ".".join(layer.split(".")[:depth]) for layer in table}
    parents = {short for layer, short in prefix.items() if layer != short}
    cut: Stacks = {}
    for layer, passes in table.items():
        sums = cut.setdefault(prefix[layer] + (".*" if prefix[layer] in parents else ""), {})
        for phase, seconds in passes.items():
            sums[phase] = sums.get(phase, 0.0) + seconds
    return cut


def _sum(passes: dict[str, float] | None) -> float:
    return sum(passes.values()) if passes else 0.0


def _paired_bars(axes: Axes, columns: list[list[dict[str, float]]]) -> None:
    """Horizontal bars stacked by pass at 0, 1, 2, ...; those of a second column pale, below the first's."""
    divisor, prefix = scale_of(max((sum(stack.values()) for column in columns for stack in column), default=0.0))
    height, step = (0.7, 0.0) if len(columns) == 1 else (0.38, 0.4)
    for number, column in enumerate(columns):
        places = [at + (number - 0.5) * step for at in range(len(column))]
        alpha = BASELINE_ALPHA if number else 1.0
        left = [0.0] * len(column)
        for phase in PHASES:
            widths = [stack.get(phase, 0.0) / divisor for stack in column]
            axes.barh(places, widths, height, left=left, color=COLOURS[phase], alpha=alpha)
            left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel(f"latency summed over the layer's ops [{prefix}s]")
    tidy(axes)


def timeline_figure(result: Result) -> Figure:
    """When each resource is busy, coloured by pass, and how much of the time."""
    busy = total_by([row for row in result.rows if row.end_s > row.start_s], "latency_s", "resource")
    tracks = sorted(busy, key=lambda name: -busy[name])
    divisor, prefix = scale_of(result.latency_s)
    figure = new_figure(9, 1.5 + 0.5 * max(len(tracks), 1))
    axes = figure.subplots()
    for at, track in enumerate(tracks):
        rows = [row for row in result.rows if row.resource == track and row.end_s > row.start_s]
        for phase in PHASES:
            spans = [(r.start_s / divisor, (r.end_s - r.start_s) / divisor) for r in rows if r.phase == phase]
            # a pale outline keeps neighbours apart without hiding short ones
            axes.broken_barh(spans, (at - 0.38, 0.76), facecolors=COLOURS[phase], edgecolors="white", linewidth=0.15)
    whole = result.latency_s or 1.0
    shares = [f"{track}\n{_occupied(result.rows, track) / whole:.0%} busy" for track in tracks]
    axes.set_yticks(range(len(tracks)), shares, fontsize=8)
    axes.set_ylim(len(tracks) - 0.4, -0.6)
    axes.set_xlim(0, max(result.latency_s / divisor, 1e-9))
    axes.set_xlabel(f"time [{prefix}s]")
    tidy(axes)
    phase_legend(axes, phases_of(result), False)
    return figure


def _occupied(rows: tuple[OpRow, ...], track: str) -> float:
    """Time in which a resource has an op, in s (ops that stream behind each other overlap)."""
    total = until = 0.0
    for row in sorted((row for row in rows if row.resource == track), key=lambda row: row.start_s):
        total += max(row.end_s - max(row.start_s, until), 0.0)
        until = max(until, row.end_s)
    return total


def shorten(name: str, width: int) -> str:
    """A layer path cut in its middle, where it says least."""
    if len(name) <= width:
        return name
    tail = (width - 1) * 2 // 3
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"

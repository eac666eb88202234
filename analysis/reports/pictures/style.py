"""House style of the figures for papers: sizes, type, colours, scales, files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.reports.pictures.columns import Levels, axis_title, spans_decades, takes_prefix
from zerocast.analysis.units import scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.16
"""Widths in inches of one column and of both, as most two-column papers have them."""
DPI = 300
GREY, FRONT, KNEE, INK = "#b8b8b8", "#0072b2", "#d55e00", "#333333"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b")
"""Colours that colour-blind readers tell apart (Okabe and Ito, "Color universal design", 2008, and a brown)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SEQUENCE = "viridis"
"""Colour map of numbers: even in lightness, which colour-blind readers see, and never the grey of the other designs."""
TICKS = 12
"""Levels that an axis labels one by one."""


@contextmanager
def paper_style() -> Iterator[None]:
    """Small type, thin lines, the same SVG for the same figure."""
    from matplotlib import rc_context

    with rc_context({
        "font.size": 7.5, "axes.labelsize": 7.5, "axes.titlesize": 7.5, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
        "legend.fontsize": 6.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4, "ytick.minor.width": 0.4, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5, "ytick.minor.size": 1.5, "lines.linewidth": 1.1, "legend.frameon": False,
        "legend.handletextpad": 0.4, "legend.columnspacing": 1.0, "svg.hashsalt": "zerocast", "savefig.dpi": DPI,
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    }):  # fmt: skip
        yield


def write_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg; artists marked as rasterised are pixels in both."""
    files = [stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")]
    figure.savefig(files[0], dpi=DPI)
    figure.set_layout_engine("none")  # it stands as it was laid out for the first file
    figure.savefig(files[1], dpi=DPI, metadata={"Date": None})
    return files


def scale(name: str, values: NDArray[np.float64]) -> tuple[float, str]:
    """Divisor and prefix of an axis for these values of a column: by the largest, or by the middle of decades."""
    sizes = np.abs(values[np.isfinite(values)])
    if not takes_prefix(name) or not sizes.size:
        return 1.0, ""
    typical = float(np.sqrt(sizes.min() * sizes.max())) if spans_decades(values) else float(sizes.max())
    return (1.0, "") if 0.1 <= typical < 1e4 else scale_of(typical)


def number_axis(axis: Axis, name: str, values: NDArray[np.float64], log: bool | None = None) -> float:
    """Label and scale an axis for the values of a column; the divisor of the values that are drawn on it."""
    divisor, prefix = scale(name, values)
    axis.set_label_text(axis_title(name, prefix))
    if spans_decades(values) if log is None else log:
        log_ticks(axis, values / divisor)
    return divisor


def log_ticks(axis: Axis, drawn: NDArray[np.float64]) -> None:
    """A logarithmic axis whose ticks are plain numbers: 1, 2, 5, 10 over few decades, powers of ten over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set(**{"xscale" if axis is axis.axes.xaxis else "yscale": "log"})
    decades = float(np.log10(np.nanmax(drawn) / np.nanmin(drawn)))
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def level_axis(axis: Axis, levels: Levels, room: int = 36) -> None:
    """Label an axis on which level i of a column stands at i; only some of many levels.

    room: letters that fit side by side under the axis; more stand upright.
    """
    shown = shown_levels(levels)
    long = axis is axis.axes.xaxis and max(len(levels.labels[i]) for i in shown) * len(shown) > room
    axis.set_ticks(list(shown), [levels.labels[i] for i in shown], rotation=90 if long else 0)
    axis.set_label_text(axis_title(levels.name) if not any(" " in label for label in levels.labels)
                        else axis_title(levels.name).partition(" [")[0])  # fmt: skip


def shown_levels(levels: Levels) -> list[int]:
    """The levels that an axis labels: all, or an even choice with both ends."""
    count = len(levels)
    return list(range(count)) if count <= TICKS else sorted({round(i) for i in np.linspace(0, count - 1, TICKS // 2)})


def tidy(axes: Axes, grid: Any = "both") -> None:
    """Light grid behind the data, no box."""
    axes.grid(axis=grid, color="#e3e3e3", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def short_number(value: float) -> str:
    """Three digits without a power of ten: 3.50, 12.0, 120, 5,376."""
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".removesuffix(".")

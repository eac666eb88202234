"""What compression formats cost at each density, and where one costs more than it saves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.reports.plots.times import COLOURS as PASSES
from zerocast.analysis.reports.plots.times import new_figure, tidy
from zerocast.simulator.cost import OpRow
from zerocast.simulator.products.gemm import Operand
from zerocast.simulator.products.traffic import element_bits
from zerocast.simulator.result import Result
from zerocast.workloads.formats import RUN_BITS, storage_bits
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns.uniform import Uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"bitmask": "#0072b2", "run_length": "#d55e00", "coordinate": "#009e73", "csr": "#cc79a7"}
SHADES = ("#d55e00", "#e69f00", "#8c564b", "#56b4e9")
"""Colours of run lengths of several widths, in order of the width."""
RUNS_SHOWN = (4, 5)
"""Widths of the run field that are drawn where the accelerator names none: those of EIE (Han et al., ISCA 2016,
section III-B) and Eyeriss (Chen et al., JSSC 2017)."""
SIDES = ("input", "weight")


@dataclass(frozen=True, slots=True)
class LosingOperand:
    """An operand that takes more bits per element in its format off chip than its plain words would."""

    layer: str
    phase: str
    operand: str
    density: float
    format: str
    bits: float
    plain_bits: int


def word_bits(result: Result) -> int | None:
    """Width of the words of the array's operands in bits; None where the workload does not name its data type."""
    return BITS.get(str(result.meta.get("dtype")))


def fiber_bits(fmt: str, densities: ArrayLike, length: int, word: int) -> NDArray[np.float64]:
    """Bits per element of a fiber of `length` elements of `word` bits in a format, for each density in [0, 1].

    Zeros are uniform at random; raises `WorkloadError` for a format that these do not have, or that is unknown.
    """
    flat = np.atleast_1d(np.asarray(densities, dtype=float))
    bits = [float(storage_bits(fmt, Uniform(float(density)), {"k": length}, word).bits) for density in flat]
    return np.asarray(bits) / length


def break_even(fmt: str, length: int, word: int) -> float | None:
    """Density at which a fiber in a format takes as many bits as uncompressed; None if it never takes fewer.

    Bits grow with density in every format, so that there is one such density.
    """
    from scipy.optimize import brentq

    def excess(density: float) -> float:
        return float(fiber_bits(fmt, density, length, word)[0]) - word

    if excess(0.0) >= 0:
        return None
    return float(brentq(excess, 0.0, 1.0)) if excess(1.0) > 0 else 1.0


def losing_operands(result: Result, accelerator: Accelerator) -> list[LosingOperand]:
    """Operands whose format off chip takes more bits than plain words, in the order of the rows.

    The format is the one that traffic is charged for: the smallest of those that the off-chip memory allows, so that
    only operands are found that may not be kept uncompressed. A row gives the density of an operand and not
    its pattern: zeros are taken as uniform, the fiber as one rank of K elements.
    """
    word = word_bits(result)
    if word is None:
        return []
    pairs = [(row, side) for row in _einsums(result) for side in SIDES]
    found = [_loss(row, side, accelerator, word) for row, side in pairs]
    return [loss for loss in found if loss is not None]


def _loss(row: OpRow, side: str, accelerator: Accelerator, word: int) -> LosingOperand | None:
    density = float(getattr(row, f"{side}_density"))
    operand = Operand(row.k, word, Uniform(density), (("k", row.k),))
    sizes = {
        name: element_bits(accelerator.dram.model_copy(update={"formats": {side: (name,)}}), side, operand)
        for name in accelerator.dram.formats.get(side, ("uncompressed",))  # type: ignore[call-overload]
    }
    name = min(sizes, key=lambda each: sizes[each])
    if sizes[name] <= word * (1 + 1e-9):  # rounding is no loss
        return None
    return LosingOperand(row.layer or row.op, row.phase, side, density, name, sizes[name], word)


def formats_figure(result: Result, accelerator: Accelerator | None) -> Figure | None:
    """Bits per element against density in each format, break-even densities, and the densities of the operands.

    The fiber is as long as the median reduction of the einsums. None where no operand has zeros, and where the
    workload does not name its data type.
    """
    word, rows = word_bits(result), _einsums(result)
    if word is None or not any(_has_zeros(row) for row in rows):
        return None
    length = median_low(row.k for row in rows)
    named = _named(accelerator)
    figure = new_figure(9, 5.4)
    curves, rug = figure.subplots(2, 1, sharex=True, height_ratios=(8, 1))
    drawn = _drawn(named)
    _curves(curves, drawn, named, length, word)
    _break_evens(curves, drawn, length, word)
    curves.set_ylabel(f"bits per element, fiber of {length:,}")
    _rug(rug, rows)
    return figure


def _einsums(result: Result) -> list[OpRow]:
    return [row for row in result.rows if row.kind == "einsum" and row.k > 0]


def _has_zeros(row: OpRow) -> bool:
    return row.input_density < 1 or row.weight_density < 1


def _named(accelerator: Accelerator | None) -> set[str]:
    """Formats that some memory of the accelerator allows, run lengths with their width."""
    memories = accelerator.memories if accelerator is not None else ()
    names = {name for memory in memories for allowed in memory.formats.values() for name in allowed}
    return {f"run_length:{RUN_BITS}" if name == "run_length" else name for name in names}


def _drawn(named: set[str]) -> dict[str, str]:
    """Formats of the figure with their colours. N:M offsets store no random zeros."""
    widths = sorted(int(name.partition(":")[2]) for name in named if name.partition(":")[0] == "run_length")
    runs = [f"run_length:{width}" for width in widths or RUNS_SHOWN]
    shades = {run: SHADES[number % len(SHADES)] for number, run in enumerate(runs)}
    return {"bitmask": COLOURS["bitmask"], **shades, "coordinate": COLOURS["coordinate"], "csr": COLOURS["csr"]}


def _curves(axes: Axes, drawn: dict[str, str], named: set[str], length: int, word: int) -> None:
    """A line per format; those of the accelerator are thick."""
    densities = np.linspace(0.0, 1.0, 201)
    axes.axhline(word, color="#777777", linewidth=1.2)
    axes.annotate(f"uncompressed, {word} bits", (0.01, word), xytext=(0, 3), textcoords="offset points",
                  fontsize=8, color="#555555")  # fmt: skip
    for name, colour in drawn.items():
        axes.plot(densities, fiber_bits(name, densities, length, word), color=colour, label=name,
                  linestyle="--" if name == "csr" else "-",  # often on top of coordinate
                  linewidth=2.6 if name in named else 1.1)  # fmt: skip
    axes.set_xlim(0, 1)
    tidy(axes, "both")


def _break_evens(axes: Axes, drawn: dict[str, str], length: int, word: int) -> None:
    """A point where each format crosses the plain width, and its name above, each name on a line of its own.

    Names go up with the density and to the left of their points, where no line of another format is.
    """
    crossings = {name: break_even(name, length, word) for name in drawn}
    height, step = float(word), 0.08 * word
    places = sorted((density, name) for name, density in crossings.items() if density is not None)
    for density, name in places:
        top = max(float(fiber_bits(each, density, length, word)[0]) for each in drawn)
        height = max(height, top) + step
        axes.plot([density, density], [word, height], color=drawn[name], linewidth=0.7)
        axes.plot(density, word, "o", color=drawn[name], markersize=5)
        left = density < 0.2
        axes.annotate(f"{name} saves below {density:.3f}", (density, height), xytext=(4 if left else -4, 0),
                      textcoords="offset points", ha="left" if left else "right", va="center", fontsize=8,
                      color="#333333")  # fmt: skip
    axes.set_ylim(0, max(height, axes.get_ylim()[1]) + step)


def _rug(axes: Axes, rows: Sequence[OpRow]) -> None:
    """The densities of the operands with zeros: a tick for each op, inputs above the line and weights below."""
    axes.axhline(0, color="#777777", linewidth=0.8)
    labels = []
    for side, low, high, colour in (("input", 0.1, 1.0, PASSES["FF"]), ("weight", -1.0, -0.1, PASSES["BP"])):
        found = [float(getattr(row, f"{side}_density")) for row in rows]
        sparse = [density for density in found if density < 1]
        axes.vlines(sparse, low, high, color=colour, linewidth=1.0, alpha=0.8)
        labels.append(f"{side}, zeros in\n{len(sparse)} of {len(found)} ops")
    axes.set_yticks([0.55, -0.55], labels, fontsize=7)
    axes.set_ylim(-1.1, 1.1)
    axes.set_xlabel("density")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)

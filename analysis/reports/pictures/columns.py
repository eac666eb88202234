"""What a column of the result table is called and measured in, and the values that a parameter takes."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zerocast.analysis.units import si
from zerocast.simulator.cost import TOTALS

if TYPE_CHECKING:
    from pandas import Series

METRICS = {
    **{column.name: (column.words, column.unit) for column in TOTALS},
    "edp_js": ("energy-delay product", "J s"), "dram_bytes": ("DRAM traffic", "B"),
    "throughput_per_s": ("throughput", "samples/s"), "throughput_per_w": ("throughput per watt", "samples/s/W"),
    "utilisation": ("utilisation", ""), "peak_macs_per_s": ("peak rate", "MAC/s"),
    "dram_bytes_per_s": ("DRAM bandwidth", "B/s"), "area_mm2": ("area", "mm²"), "lut": ("LUTs", ""),
    "ff": ("flip-flops", ""), "dsp": ("DSP slices", ""), "bram36": ("BRAM36", ""), "uram": ("URAM", ""),
    "accuracy": ("accuracy", ""), "uncosted_ops": ("ops that no unit runs", ""),
}  # fmt: skip
"""Words and unit of each metric."""
_SUFFIXES = (("_bytes_per_cycle", "B/cycle"), ("_bytes_per_s", "B/s"), ("_macs_per_s", "MAC/s"), ("_bytes", "B"),
             ("_cycles", "cycles"), ("_bits", "bit"), ("_mm2", "mm²"), ("_nm", "nm"), ("_hz", "Hz"), ("_s", "s"),
             ("_j", "J"), ("_w", "W"), ("_v", "V"))  # fmt: skip
_UNSCALED = {"mm²", "nm", "cycles", "bit", "J s", "samples/s/W"}
"""Units that take no prefix: squared, compound or counted ones."""
BOOKKEEPING = ("number", "design", "status", "reason", "command")
"""Columns that are neither a parameter nor a metric."""
NOTHING = "–"
"""Level of a conditional parameter where its condition does not hold."""


def unit_of(name: str) -> str:
    """The unit of a metric or of a parameter's path, "" where it has none."""
    if name in METRICS:
        return METRICS[name][1]
    return next((unit for suffix, unit in _SUFFIXES if name.endswith(suffix)), "")


def words_of(name: str) -> str:
    """A metric in words; the last two parts of a parameter's dotted path."""
    return METRICS[name][0] if name in METRICS else ".".join(name.split(".")[-2:])


def takes_prefix(name: str) -> bool:
    """Whether the column's axis is scaled by an SI prefix: counts are (k, M), areas and shares are not."""
    unit = unit_of(name)
    return unit not in _UNSCALED and name not in ("utilisation", "accuracy")


def axis_title(name: str, prefix: str = "") -> str:
    """E.g. "latency [ms]"; a prefix without a unit stands alone, as in "MACs [G]"."""
    unit = f"{prefix}{unit_of(name)}"
    return f"{words_of(name)} [{unit}]" if unit else words_of(name)


def value_text(name: str, value: Any) -> str:
    """A value for people: SI prefixes, binary ones for whole KiB, short numbers, other values as they are."""
    if _missing(value):
        return NOTHING
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        return str(value)
    number, unit = float(value), unit_of(name)
    if unit == "B" and number >= 1024 and number % 1024 == 0:
        steps = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
        return next(f"{number / size:g} {word}" for word, size in steps if number % size == 0 or word == "KiB")
    if not unit and abs(number) < 1e5:
        return f"{number:.6g}"
    if name in METRICS or (unit and takes_prefix(name) and number):
        text = si(number, unit) if takes_prefix(name) else f"{number:.4g} {unit}".rstrip()
        return text if name in METRICS else _exact(number, unit)
    return f"{number:g}"


def _exact(number: float, unit: str) -> str:
    """A parameter's value with a prefix, all digits that `%g` keeps."""
    if not math.isfinite(number):
        return str(number)
    head, _, tail = si(number, unit).partition(" ")
    scale = float(head) / number if number else 1.0
    step = round(math.log10(abs(scale)) / 3) * 3
    return f"{number * 10.0**step:g} {tail}".rstrip()


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class Levels:
    """The values that a column takes, in order: numbers by size, then words as the table brings them, then nothing.

    codes: for each row the index of its level, shape (rows,). labels: the levels for people, all different.
    numeric: all levels are numbers.
    """

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    codes: NDArray[np.intp]
    numeric: bool

    def __len__(self) -> int:
        return len(self.values)


def levels_of(name: str, column: Series) -> Levels:
    """The levels of a column of the table, of any type."""
    plain = [_plain(value) for value in column]
    values = sorted(dict.fromkeys(plain), key=_rank)
    index = {value: code for code, value in enumerate(values)}
    labels = [value_text(name, value) for value in values]
    if len(set(labels)) < len(labels):  # too few digits to tell them apart
        labels = [NOTHING if value is None else str(value) for value in values]
    codes = np.array([index[value] for value in plain], dtype=np.intp)
    numeric = all(isinstance(value, float) for value in values)
    return Levels(name, tuple(values), tuple(labels), codes, numeric)


def _plain(value: Any) -> Any:
    """Numbers as float, what is missing as None, all else as text: hashable and comparable."""
    if _missing(value):
        return None
    if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
        return float(value)
    return str(value)


def _rank(value: Any) -> tuple[int, float]:
    if value is None:
        return 2, 0.0
    return (0, value) if isinstance(value, float) else (1, 0.0)


def spans_decades(values: NDArray[np.float64]) -> bool:
    """Whether an axis of these values is logarithmic: all positive, the largest ten times the smallest or more."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() >= 10 * finite.min())

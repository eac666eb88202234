"""Whether measured times can be times of a card: neither beyond what it could do nor of another unit or machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zerocast.analysis.errors import AnalysisError
from zerocast.simulator.gpu.fit.calibration import Calibrated
from zerocast.simulator.gpu.fit.fitting import Measured
from zerocast.simulator.gpu.predict import predict, roofline_parts

# Of the 32,000 public times in the suite `gpu` none exceeds 0.91 of its card's peak rate or 1.6 times the bandwidth of
# its memory, none is below 2.4 us and none above 2.1 times its prediction.
PEAK_MARGIN = 1.25
"""How far a card may exceed the rate of its datasheet, whose clock is not its highest (H100 SXM: 1,980 MHz over the
1,830 behind its 989 TFLOP/s). Assumed for cards in general."""
CACHE_MARGIN = 8.0
"""How much faster than from memory operands may come from the cache. Assumed: on the cards described here the L2 has
2 to 5 times the bandwidth of the memory."""
LEAST_S = 0.2e-6
"""No kernel ends sooner (assumption; starting one takes about a microsecond)."""
SLOWEST = 100.0
"""Times longer than so many predictions belong to another unit or machine (assumption: a library's worst kernel, and a
launch from the host of a small product, are within a factor of 30)."""
SHOWN = 8
"""Rows that a message names."""


def implausible(measured: Measured, base: Calibrated) -> list[str]:
    """What is wrong with the time of each product, "" where nothing is."""
    p, seconds = measured.problem, measured.seconds
    compute, memory = roofline_parts(p)
    longest = SLOWEST * predict(p, base).seconds
    limits = (
        (f"multiply at {PEAK_MARGIN:g} times its peak rate", compute / PEAK_MARGIN),
        (f"read at {CACHE_MARGIN:g} times its memory's rate", memory / CACHE_MARGIN),
        ("start a kernel", np.full(len(seconds), LEAST_S)),
    )
    reasons = [""] * len(seconds)
    for does, least in limits:
        for i in np.flatnonzero(seconds < least):
            reasons[i] = reasons[i] or f"{_us(seconds[i])}, the card takes at least {_us(least[i])} to {does}"
    for i in np.flatnonzero(seconds > longest):
        reasons[i] = f"{_us(seconds[i])}, above {SLOWEST:g} times the predicted {_us(longest[i] / SLOWEST)}"
    return reasons


def _us(seconds: float) -> str:
    value = seconds * 1e6
    return f"{value:,.0f} us" if 100 <= value < 1e9 else f"{value:.3g} us"


def refuse(path: Path, wrong: Mapping[int, str], rows: int, what: str, remedy: str = "") -> None:
    """Raise `AnalysisError` with the count and the lines of wrong rows, if there are any.

    wrong: reason by number of the line. rows: rows in all.
    """
    if not wrong:
        return
    lines = sorted(wrong)
    shown = "; ".join(f"line {line}: {wrong[line]}" for line in lines[:SHOWN])
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    raise AnalysisError(f"{path}: {len(lines)} of {rows} rows {what}: {shown}{more}{remedy}")


IMPLAUSIBLE = "have times that are none of this card"
REMEDY = ". Times are in microseconds (us); name the card that was measured, or remove these rows"

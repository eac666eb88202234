"""Numbers for people: three digits and an SI prefix."""

from __future__ import annotations

import math

_PREFIXES = ("p", "n", "µ", "m", "", "k", "M", "G", "T", "P")
_ONE = _PREFIXES.index("")


def si(value: float, unit: str = "") -> str:
    """Three digits with an SI prefix: `si(0.00123, "s")` is "1.23 ms"; powers of 1000 for bytes too."""
    if not math.isfinite(value):
        return f"{value} {unit}".rstrip()
    if value == 0:
        return f"0 {unit}".rstrip()
    step = math.floor(math.log10(abs(value)) / 3)
    if abs(value) / 1000.0**step >= 999.5:  # would print as 1000
        step += 1
    step = min(max(step, -_ONE), len(_PREFIXES) - 1 - _ONE)
    scaled = value / 1000.0**step
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{digits}f} {_PREFIXES[step + _ONE]}{unit}".rstrip()


def scale_of(largest: float) -> tuple[float, str]:
    """Divisor and SI prefix under which the largest value of an axis lies between 1 and 1000."""
    if not largest > 0 or not math.isfinite(largest):
        return 1.0, ""
    step = min(max(math.floor(math.log10(largest) / 3), -_ONE), len(_PREFIXES) - 1 - _ONE)
    return 1000.0**step, _PREFIXES[step + _ONE]


def times(ratio: float | None) -> str:
    """A ratio as "1.85x", "" where there is none."""
    return "" if ratio is None else f"{ratio:.2f}x"


def several(number: int, noun: str, ending: str = "s") -> str:
    """A number of things: `several(1, "card")` is "1 card", `several(2, "batch", "es")` "2 batches"."""
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def duration(seconds: float) -> str:
    """A time from seconds to years: `duration(5400)` is "1.5 h"; shorter ones as `si` has them."""
    for unit, length in (("years", 365 * 86400.0), ("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or (unit == "h" and seconds >= length):
            return f"{seconds / length:.3g} {unit}"
    return si(seconds, "s")

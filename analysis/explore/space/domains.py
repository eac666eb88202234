"""What values a parameter may take: some, whole numbers of a range, or all numbers of a range."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from zerocast.analysis.errors import AnalysisError

MOST_VALUES = 100_000
"""Of one parameter that is listed value by value."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, in the order written."""

    values: tuple[Any, ...]

    @property
    def is_ordered(self) -> bool:
        """Whether neighbours in the list are neighbours in kind: numbers that only rise or only fall."""
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values):
            return False
        return list(self.values) in (sorted(self.values), sorted(self.values, reverse=True))

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to try on the accelerator: all of them."""
        return self.values

    def place(self, value: Any) -> int:
        """Where one of these very values stands. Equal ones may differ: true and 1, mappings in another order."""
        place = self.values.index(value)
        if self.values[place] is value:
            return place
        return next((n for n, other in enumerate(self.values) if other is value), place)

    @property
    def span(self) -> tuple[float, float] | None:
        """Least and greatest value, None for what is no number."""
        numbers = [v for v in self.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return (min(numbers), max(numbers)) if len(numbers) == len(self.values) else None


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from `low` to `high`, both included; whole ones where `whole`. log: each decade is as likely."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to try on the accelerator."""
        return (self.low, self.high)

    @property
    def span(self) -> tuple[float, float] | None:
        """Least and greatest value."""
        return self.low, self.high


Domain = Choices | Range


def choices(values: Iterable[Any]) -> Choices:
    """Some values; `AnalysisError` for none, or one that is there twice."""
    listed = tuple(values)
    if not listed:
        raise AnalysisError("has no values; list some, e.g. [16, 32, 64]")
    _refuse_text_among_numbers(listed)
    seen: set[str] = set()
    for value in listed:
        if isinstance(value, (int, float)) and not is_finite(value):
            raise AnalysisError(f"has the value {_short(value)}; numbers must be finite, at most 1.8e308")
        text = json.dumps(value, default=str)
        if isinstance(value, float) and value.is_integer():
            text = json.dumps(int(value))  # 1 and 1.0 are one design
        if text in seen:
            raise AnalysisError(f"has the value {value!r} twice; list each once")
        seen.add(text)
    return Choices(listed)


def is_finite(number: int | float) -> bool:
    """Whether a number is one, and no whole number beyond what a float holds."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    """A value as written; of one that fills lines, its beginning."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"


def _refuse_text_among_numbers(values: tuple[Any, ...]) -> None:
    """`[8, "8"]` would be one design twice; YAML takes 08 for text too."""
    if not any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return
    for value in values:
        if not isinstance(value, str):
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        raise AnalysisError(
            f"has the value {value!r}, which is text beside numbers; write {number:g} without quotes or leading zeros"
        )


def stretch(low: Any, high: Any, step: Any = None, steps: Any = None, log: bool = False) -> Domain:
    """Range from `low` to `high`: every `step`, `steps` values evenly spread (evenly by ratio with `log`), or
    continuous without either. Two whole ends give whole numbers. Raises `AnalysisError` for a range without values.
    """
    for name, value in (("from", low), ("to", high), ("step", step)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and is_finite(value)
        if value is not None and not number:
            raise AnalysisError(f"has {name}: {_short(value)}, which is no finite number")
    if low > high:
        raise AnalysisError(f"is an empty range: from {low!r} is above to {high!r}; swap them")
    if log and low <= 0:
        raise AnalysisError(f"has log: true and from {low!r}; a log range starts above 0")
    if step is not None and steps is not None:
        raise AnalysisError("has both step and steps; keep one")
    whole = isinstance(low, int) and isinstance(high, int)
    if step is not None:
        return choices(_every(low, high, step, log))
    if steps is not None:
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise AnalysisError(f"has steps: {steps!r}; an empty range. Give 1 or more")
        if steps > MOST_VALUES:
            raise AnalysisError(f"has {steps} steps; at most {MOST_VALUES:,}")
        return choices(_spread(low, high, steps, log, whole))
    if low == high:
        raise AnalysisError(f"is a range of the single value {low!r}; put it under `set`")
    return Range(low, high, log, whole)


def _every(low: Any, high: Any, step: Any, log: bool) -> Iterable[Any]:
    if log:
        raise AnalysisError("has step and log: true; a log range takes steps (how many values) instead")
    if step <= 0:
        raise AnalysisError(f"has step: {step!r}, which never reaches the end; give a number above 0")
    start, end, by = (Decimal(repr(value)) for value in (low, high, step))
    count = int((end - start) / by) + 1
    if count > MOST_VALUES:
        raise AnalysisError(f"has {count:,} values; at most {MOST_VALUES:,}, so take a larger step")
    whole = isinstance(low, int) and isinstance(step, int)
    # in decimals, so that 0.1 to 0.3 by 0.1 ends at 0.3 and not beside it
    return [int(start + n * by) if whole else float(start + n * by) for n in range(count)]


def _spread(low: Any, high: Any, steps: int, log: bool, whole: bool) -> Iterable[Any]:
    if steps == 1:
        return [low]
    values: list[Any] = []
    for n in range(steps):
        if log:
            value = low * (high / low) ** (n / (steps - 1)) if n < steps - 1 else high
        else:
            value = Fraction(low) + (Fraction(high) - Fraction(low)) * n / (steps - 1)
        values.append(round(value) if whole else float(value))
    return list(dict.fromkeys(values))

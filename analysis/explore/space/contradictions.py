"""Comparisons of one name with numbers that leave it no value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.space.expressions import Expression, bounds


@dataclass
class _Interval:
    """What is left of a name's values, and who said so."""

    low: float
    high: float
    low_by: str
    high_by: str
    low_open: bool = False
    high_open: bool = False

    @property
    def is_empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def narrow(self, sign: str, number: float, text: str) -> None:
        if sign in (">", ">=", "=="):
            is_open = sign == ">"
            if number > self.low or (number == self.low and is_open and not self.low_open):
                self.low, self.low_open, self.low_by = number, is_open, text
        if sign in ("<", "<=", "=="):
            is_open = sign == "<"
            if number < self.high or (number == self.high and is_open and not self.high_open):
                self.high, self.high_open, self.high_by = number, is_open, text


def refuse_contradictions(constraints: Iterable[Expression], spans: Mapping[str, tuple[float, float, str]]) -> None:
    """Raise `AnalysisError` where the simple comparisons on one name leave it no value.

    spans: least and greatest value of names that have them, and the words that say why.
    """
    left: dict[str, _Interval] = {}
    for constraint in constraints:
        for name, sign, number in bounds(constraint):
            if name not in left:
                low, high, why = spans.get(name, (-math.inf, math.inf, ""))
                left[name] = _Interval(low, high, why, why)
            interval = left[name]
            interval.narrow(sign, number, f"constraint {constraint.text!r}")
            if interval.is_empty:
                parties = list(dict.fromkeys([interval.low_by, interval.high_by]))
                both = " and ".join(part for part in parties if part)
                raise AnalysisError(f"no value of {name} satisfies {both}; loosen one of them")

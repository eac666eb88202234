"""Tables of text whose cells are never cut or folded; only their headers are, at dots and underscores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GAP = "  "
_LIMITS = (math.inf, 24, 18, 14, 10, 0)
"""Characters a header's line may have, the first that suffices; a single word may be longer."""
_STACKED = 14
"""The same where a table comes in several parts."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. is_key: it says which row it is, and stands first; may_go: whether it may be dropped where the width
    does not suffice."""

    title: str
    cells: tuple[str, ...]
    is_left: bool = False
    is_key: bool = False
    may_go: bool = False


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Dotted names by their last two words; where that is not one name's own, by as many words as make it so."""
    known = list(names)
    return {name: _shortest(name, known) for name in known}


def _shortest(name: str, known: Sequence[str]) -> str:
    words = name.split(".")
    for first in range(max(len(words) - 2, 0), 0, -1):
        short = ".".join(words[first:])
        if not any(other != name and f".{other}".endswith(f".{short}") for other in known):
            return short
    return name


def fit(columns: Sequence[Column], width: int) -> tuple[list[str], bool]:
    """Lines of a table, at most `width` characters wide if that is possible, and whether columns had to be dropped
    for it. What is too wide even then comes as several tables, one below the other, each with the key columns."""
    staying = [column for column in columns if not column.may_go]
    for limit in _LIMITS:
        if len((lines := _lines(columns, limit))[0]) <= width:
            return lines, False
    dropped = len(staying) < len(columns)
    for limit in _LIMITS:
        if len((lines := _lines(staying, limit))[0]) <= width:
            return lines, dropped
    return _below_each_other(staying, width), dropped


def _below_each_other(columns: Sequence[Column], width: int) -> list[str]:
    keys = [column for column in columns if column.is_key]
    parts = [keys]
    for column in columns:
        if column.is_key:
            continue
        if len(parts[-1]) > len(keys) and len(_lines([*parts[-1], column], _STACKED)[0]) > width:
            parts.append(keys)
        parts[-1] = [*parts[-1], column]
    return [line for place, part in enumerate(parts) for line in ([""] * bool(place) + _lines(part, _STACKED))]


def _lines(columns: Sequence[Column], limit: float) -> list[str]:
    """The table, all lines of one length; headers stand at its bottom line."""
    blocks = []
    heads = [_fold(column.title, max(limit, *map(len, column.cells))) for column in columns]
    tall = max(map(len, heads))
    for column, head in zip(columns, heads, strict=True):
        lines = [*[""] * (tall - len(head)), *head, *column.cells]
        wide = max(map(len, lines))
        blocks.append([line.ljust(wide) if column.is_left else line.rjust(wide) for line in lines])
    return [GAP.join(row) for row in zip(*blocks, strict=True)]


def _fold(title: str, wide: float) -> list[str]:
    """A title in lines of at most so many characters, broken behind dots and underscores alone."""
    lines = [""]
    for word in re.findall(r"[^._]*[._]|[^._]+", title):
        if lines[-1] and len(lines[-1] + word) > wide:
            lines.append("")
        lines[-1] += word
    return lines

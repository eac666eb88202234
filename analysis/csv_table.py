"""Tables that users write: CSV with a header in any case and order, each line known by its number. No pandas."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zerocast.analysis.errors import AnalysisError


@dataclass(frozen=True, slots=True)
class Row:
    """Cells of one line by lower-case column name, as they were (`raw`), and the place for error messages.

    names: how the header spells each column. line: the number of the line, from 1.
    """

    cells: dict[str, str]
    names: dict[str, str]
    raw: tuple[str, ...]
    path: Path
    line: int

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path} line {self.line}"

    def get(self, column: str) -> str:
        """A cell without the blanks around it; "" where the column is missing."""
        return self.cells.get(column, "").strip()

    def error(self, column: str, problem: str) -> AnalysisError:
        """A mistake in one cell."""
        return AnalysisError(f"{self.where}, column {self.names.get(column, column)}: {problem}")


def read_table(path: Path, required: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Header and rows of a CSV that has at least the `required` columns, in any case and order.

    Raises `AnalysisError` naming file and line: no UTF-8, no CSV, empty, a column missing or twice, a line with more
    or fewer cells than the header.
    """
    lines = _lines(path, required)
    at, header = lines[0]
    names = {name.strip().lower(): name.strip() for name in header}
    if missing := [name for name in required if name.lower() not in names]:
        lacks = " and no column ".join(missing)
        raise AnalysisError(f"{path} line {at}: no column {lacks}; the header has {', '.join(names.values())}")
    if len(names) < len(header):
        raise AnalysisError(f"{path} line {at}: a column stands twice in the header {', '.join(header)}")
    if len(lines) == 1:
        raise AnalysisError(f"{path} line {at}: the table has a header and no shapes")
    return header, [_row(path, number, names, cells) for number, cells in lines[1:]]


def _lines(path: Path, required: Sequence[str]) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnalysisError(f"{path}: not a text file in UTF-8 (byte {error.start}); save the table as CSV") from None
    reader = csv.reader(text.splitlines())
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise AnalysisError(f"{path} line {reader.line_num}: not CSV ({error})") from None
    lines = _without_last_comma(lines)
    if not lines:
        columns = ", ".join(required)
        raise AnalysisError(f"{path}: the table is empty; give a header with {columns} and a line per shape")
    return lines


def _without_last_comma(lines: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Lines without the empty cell behind a comma at their end, as SCALE-Sim's topology files have it: of the header,
    and of a line that has it beyond the header."""
    if not lines:
        return lines
    (at, header), *rest = lines
    columns = len(header) - (not header[-1].strip())
    return [(at, header[:columns])] + [
        (number, cells[:columns] if len(cells) == columns + 1 and not cells[-1].strip() else cells)
        for number, cells in rest
    ]


def _row(path: Path, number: int, names: dict[str, str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        raise AnalysisError(f"{path} line {number}: {len(cells)} cells, the header has {len(names)} columns")
    return Row(dict(zip(names, cells, strict=True)), names, tuple(cells), path, number)

"""Rows of the small CSV files that recipes and schedules name."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from zerocast.workloads.errors import WorkloadError


def read_rows(path: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of a CSV by column.

    Raises `WorkloadError`, which names the file, where it cannot be read, has no rows or lacks one of `columns`, and
    for a row of more or fewer cells than its header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header, *rows = [row for row in csv.reader(stream) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WorkloadError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no CSV'}") from None
    if not rows or not set(columns) <= set(header):
        raise WorkloadError(f"{path} needs rows of the columns {' and '.join(columns)}")
    if uneven := next((row for row in rows if len(row) != len(header)), None):
        raise WorkloadError(f"{path}: the row {','.join(uneven)!r} has {len(uneven)} cells, the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows]

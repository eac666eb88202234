"""A run's table as a file for other programs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from analysis.errors import AnalysisError
from analysis.explore.table import read_table

KINDS = ("parquet", "csv")


def export(folder: Path, kind: str, out: Path | None = None, run: str | None = None) -> tuple[Path, int]:
    """Write the table of a run (the last one without `run`) as Parquet or CSV, floats bit for bit; path and number of
    rows. Without `out` the file lies in the folder, under the space's name. Raises `AnalysisError`."""
    if kind not in KINDS:
        raise AnalysisError(f"--to {kind!r}: choose {' or '.join(KINDS)}")
    table = read_table(folder, run)
    file = out or folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', table.name)}.{kind}"
    if file.is_dir():
        raise AnalysisError(f"--out {str(file)!r} is a folder; name a file")
    if not file.parent.is_dir():
        raise AnalysisError(f"--out {str(file)!r}: there is no folder {str(file.parent)!r}")
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        if kind == "csv":
            table.frame.to_csv(draft, index=False)  # pandas writes the shortest text that reads back the same
        else:
            table.frame.to_parquet(draft, index=False, engine="pyarrow")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file, len(table.frame)

"""A run's table as a file for other programs."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.store import Store
from zerocast.analysis.explore.show.table import read_table
from zerocast.extras import need

KINDS = ("parquet", "csv")


class Written(NamedTuple):
    """A table as a file. note: what lacks of the run, "" where nothing does."""

    file: Path
    rows: int
    note: str


def export(folder: Path, kind: str, out: Path | None = None, run: str | None = None) -> Written:
    """Write the table of a run (the last one without `run`) as Parquet or CSV, floats bit for bit. Without
    `out` the file lies in the folder, under the space's name. Raises `AnalysisError`."""
    if kind not in KINDS:
        raise AnalysisError(f"--to {kind!r}: choose {' or '.join(KINDS)}")
    if kind == "parquet":
        need("pyarrow", "--to parquet")
    table = read_table(folder, run)
    name = f"{table.name}{_suffix(folder, run)}"
    file = out or folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.{kind}"
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
    return Written(file, len(table.frame), table.note)


def _suffix(folder: Path, run: str | None) -> str:
    """What tells the file of a run that is not the last from the last one's."""
    if run is None:
        return ""
    with closing(Store(folder, writing=False)) as store:
        known = list(store.runs())
    chosen = next(name for name in known if name.startswith(run))
    return "" if chosen == known[-1] else f"-{chosen}"

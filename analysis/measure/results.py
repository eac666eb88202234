"""The file of measurements: JSON lines, written as they come and readable after any interruption.

The first line is the header `{"format": "zerocast-measurements", "version": 1}`. Each later line is one record:
`session` (what was measured on, once for each start), `begin` (a measurement that was started), `row` (one that
ended, with an `error` where it failed) or `note`. A begin without a row is a measurement that took its process down.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.drift import anchor_drift, lacking

if TYPE_CHECKING:
    import pandas

FORMAT = "zerocast-measurements"
VERSION = 1
FIRST_LINE = 2
"""Number of the line of the first record; the header has 1."""
NAMED = 8
"""Damaged lines that a note names."""

Record = dict[str, Any]


class ResultFile:
    """Appends records to a file, each in one write, so that a kill can tear no more than the last line.

    path: a new file, or with `resume` one to continue, whose torn last line is cut off. `done` has the rows by key.
    Raises `AnalysisError` for an existing file without `resume` and for a file of another kind or version.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        self.records: list[Record] = []
        if path.is_dir():  # which is also what an empty text becomes
            raise AnalysisError(f"--out {str(path)!r} is a folder; name a file")
        if path.exists():
            if not resume:
                raise AnalysisError(f"{str(path)!r} exists; continue it with --resume, or name another --out")
            self.records, _ = read_records(path)
            _cut_torn_line(path)
        elif not path.parent.is_dir():
            raise AnalysisError(f"--out {str(path)!r}: there is no folder {str(path.parent)!r}")
        self.done = {record["key"]: record for record in self.records if record["record"] == "row"}
        self._stream = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if not os.fstat(self._stream).st_size:
            self._write({"format": FORMAT, "version": VERSION})

    def append(self, record: str, **fields: Any) -> Record:
        """Write one record of a kind and return it."""
        whole = {"record": record, **fields}
        self._write(whole)
        self.records.append(whole)
        if record == "row":
            self.done[whole["key"]] = whole
        return whole

    def close(self) -> None:
        os.close(self._stream)

    def _write(self, record: Record) -> None:
        os.write(self._stream, (json.dumps(record, separators=(",", ":"), default=str) + "\n").encode())


def unfinished(records: list[Record]) -> Record | None:
    """The last measurement begun, where no row followed: what a dead process was working on."""
    begun = [record for record in records if record["record"] in ("begin", "row")]
    return begun[-1] if begun and begun[-1]["record"] == "begin" else None


def read_records(path: Path) -> tuple[list[Record], str]:
    """Records of a file without its header, and a note on a torn last line ("" where there is none).

    Raises `AnalysisError` for a file that cannot be read, is no measurement file or has another version.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise AnalysisError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    *lines, tail = text.split("\n")
    header = _parsed(lines[0]) if lines else None
    if header is None or header.get("format") != FORMAT:
        raise AnalysisError(f"{str(path)!r} is no file of measurements; `zerocast measure` writes them")
    if header.get("version") != VERSION:
        raise AnalysisError(
            f"{str(path)!r} has schema version {header.get('version')}, this zerocast reads {VERSION}; "
            "measure again, or read it with the zerocast that wrote it"
        )
    records = []
    for number, line in enumerate(lines[1:], FIRST_LINE):
        record = _parsed(line)
        if record is None or not _readable(record):
            raise AnalysisError(f"{str(path)!r}, line {number}: no record; the file was changed, restore or remove it")
        records.append(record)
    return records, "the last line was torn by an interruption and is left out" if tail else ""


_NEEDED: dict[str, dict[str, type]] = {
    "session": {"session": int},
    "begin": {"key": str},
    "row": {"suite": str, "key": str, "error": str},
    "note": {"text": str},
}
"""Fields without which a record of a kind cannot be read. Kinds that are not known here are passed over."""


def _readable(record: Record) -> bool:
    needed = _NEEDED.get(str(record.get("record")), {"record": str})
    return all(isinstance(record.get(name), kind) for name, kind in needed.items())


def _parsed(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    os.truncate(path, data.rfind(b"\n") + 1)


def load_measurements(path: Path | str) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """Rows of a measurement file, one per measurement, and where they come from.

    The frame has the rows' columns (times in microseconds, `error` "" where the measurement succeeded), `line`, and,
    from the row's session, `device`, `torch`, `cuda`, `cusparselt`. Products that lack a field are left out and counted
    in a note. The dict has `version`, `sessions` (a list of provenance records), `drift` (see `anchor_drift`),
    `left_out` (variant to reason) and `notes`. Raises `AnalysisError` for a file that is not of this kind and version.
    """
    import pandas

    records, torn = read_records(Path(path))
    sessions = {record["session"]: record for record in records if record["record"] == "session"}
    rows = [{**record, "line": line} for line, record in enumerate(records, FIRST_LINE) if record["record"] == "row"]
    damaged = [row for row in rows if row["suite"] == "gemm" and not row["error"] and lacking(row)]
    rows = [row for row in rows if row not in damaged]
    for row in rows:
        row["session"] = row["session"] if isinstance(row.get("session"), int) else None
        session = sessions.get(row["session"], {})
        row.update({name: session.get(name) for name in ("device", "torch", "cuda", "cusparselt")})
    frame = pandas.DataFrame(rows).drop(columns="record", errors="ignore")
    for column in ("suite", "key", "error", "phase", "role", "variant"):
        frame[column] = frame[column].fillna("") if column in frame else ""
    provenance = {
        "version": VERSION,
        "sessions": list(sessions.values()),
        "drift": anchor_drift([row for row in rows if row["suite"] == "gemm"]),
        "left_out": {str(row.get("variant")): row["error"] for row in rows if row["suite"] == "probe" and row["error"]},
        "notes": _notes(records, torn, damaged),
    }
    return frame, provenance


def _notes(records: list[Record], torn: str, damaged: list[Record]) -> list[str]:
    notes = [torn] if torn else []
    if (lost := unfinished(records)) is not None:
        notes.append(f"{lost['key']} was begun and never ended")
    if damaged:
        names = sorted({name for row in damaged for name in lacking(row)})
        lines = ", ".join(str(row["line"]) for row in damaged[:NAMED]) + (", ..." if len(damaged) > NAMED else "")
        notes.append(f"products that lack {' or '.join(names)}, left out: {len(damaged)} (line {lines})")
    return notes + [record["text"] for record in records if record["record"] == "note"]

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

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    import pandas

FORMAT = "zerocast-measurements"
VERSION = 1
FLAG_ABOVE, DISCARD_ABOVE = 0.03, 0.08
"""Movement of the anchors beyond which a session is flagged, or better thrown away (a choice of the protocol)."""

Record = dict[str, Any]


class ResultFile:
    """Appends records to a file, each in one write, so that a kill can tear no more than the last line.

    path: a new file, or with `resume` one to continue, whose torn last line is cut off. `done` has the rows by key.
    Raises `AnalysisError` for an existing file without `resume` and for a file of another kind or version.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        self.records: list[Record] = []
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
    for number, line in enumerate(lines[1:], 2):
        record = _parsed(line)
        if record is None or not _NEEDED.get(str(record.get("record")), frozenset()) <= record.keys():
            raise AnalysisError(f"{str(path)!r}, line {number}: no record; the file was changed, restore or remove it")
        records.append(record)
    return records, "the last line was torn by an interruption and is left out" if tail else ""


_NEEDED: dict[str, frozenset[str]] = {
    "session": frozenset({"session"}),
    "begin": frozenset({"key"}),
    "row": frozenset({"suite", "key", "error"}),
    "note": frozenset({"text"}),
    "None": frozenset({"record"}),
}
"""Fields without which a record of a kind cannot be read."""


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

    The frame has the rows' columns (times in microseconds, `error` "" where the measurement succeeded) and, from the
    row's session, `device`, `torch`, `cuda`, `cusparselt`. The dict has `version`, `sessions` (a list of provenance
    records), `drift` (see `anchor_drift`), `left_out` (variant to reason) and `notes`.
    Raises `AnalysisError` for a file that is not of this kind and version.
    """
    import pandas

    records, torn = read_records(Path(path))
    sessions = {record["session"]: record for record in records if record["record"] == "session"}
    rows = [record for record in records if record["record"] == "row"]
    for row in rows:
        session = sessions.get(row.get("session"), {})
        row.update({name: session.get(name) for name in ("device", "torch", "cuda", "cusparselt")})
    frame = pandas.DataFrame(rows).drop(columns="record", errors="ignore")
    for column in ("suite", "key", "error", "phase", "role", "variant"):
        frame[column] = frame[column].fillna("") if column in frame else ""
    notes = [torn] if torn else []
    if (lost := unfinished(records)) is not None:
        notes.append(f"{lost['key']} was begun and never ended")
    provenance = {
        "version": VERSION,
        "sessions": list(sessions.values()),
        "drift": anchor_drift(rows),
        "left_out": {row["variant"]: row["error"] for row in rows if row["suite"] == "probe" and row["error"]},
        "notes": notes + [record["text"] for record in records if record["record"] == "note"],
    }
    return frame, provenance


def anchor_drift(rows: list[Record]) -> dict[str, Any]:
    """How far the anchors' times moved between the start, the middle and the end.

    A shape's movement is its largest |time / time at the start - 1|. Returns `largest`, `median` over the shapes,
    `shapes` compared, and `verdict`: unknown (nothing to compare), discard (median above 8 %), flagged (any shape
    above 3 %) or steady. One shape alone can move by its own noise, so that it flags but does not discard.
    """
    start = {_place(row): row["median_us"] for row in rows if row.get("phase") == "start" and not row["error"]}
    moved: dict[tuple[Any, ...], float] = {}
    for row in rows:
        if row.get("phase") in ("middle", "end") and not row["error"] and _place(row) in start:
            shift = abs(row["median_us"] / start[_place(row)] - 1)
            moved[_place(row)] = max(shift, moved.get(_place(row), 0.0))
    if not moved:
        return {"verdict": "unknown", "shapes": 0}
    ordered = sorted(moved.values())
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    verdict = "discard" if median > DISCARD_ABOVE else "flagged" if ordered[-1] > FLAG_ABOVE else "steady"
    return {"verdict": verdict, "shapes": len(moved), "median": median, "largest": ordered[-1]}


def _place(row: Record) -> tuple[Any, ...]:
    return row["variant"], row["algorithm"], row["M"], row["N"], row["K"]

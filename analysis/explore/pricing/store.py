"""The store of a folder: one SQLite file that several runs may write at once and that survives a kill.

Each batch of results is one transaction, in the write-ahead log. A result is kept under the hash of what was priced,
so that no run prices it again; a trial says which design stood at which place of which run, and what came of it there.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import STORED
from zerocast.analysis.explore.pricing.version import code_version

FILE = "store.sqlite"
STORE_VERSION = "1"
BUSY_S = 60.0
"""How long a writer waits for another one."""
_AT_ONCE = 500
"""Keys asked for in one query (SQLite allows 999 variables)."""

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE runs (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, facts TEXT NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE trials (run TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, parameters TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, accuracy REAL, PRIMARY KEY (run, number)) WITHOUT ROWID""",
    f"""CREATE TABLE results (key TEXT PRIMARY KEY, status TEXT NOT NULL, reason TEXT NOT NULL,
    {", ".join(f"{name} REAL" for name in STORED)}) WITHOUT ROWID""",
    "CREATE TABLE workloads (source TEXT PRIMARY KEY, content TEXT NOT NULL, batch REAL, reason TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Priced:
    """What a workload costs on a design. metrics: of `STORED`, NaN where there is none, empty for an error."""

    key: str
    status: str
    reason: str
    metrics: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A trial of a run. parameters: JSON. accuracy: NaN where none is given."""

    number: int
    key: str
    parameters: str
    status: str
    reason: str
    accuracy: float


@dataclass(frozen=True, slots=True)
class Lowered:
    """A workload of the folder: hash of its content, samples in a step (NaN unknown), or why it cannot be made."""

    content: str
    batch: float
    reason: str = ""


class Store:
    """The store of a folder. Raises `AnalysisError` for a file that is none, or of another version."""

    def __init__(self, folder: Path, *, writing: bool) -> None:
        """writing: make folder and store where there is none, and ask for this program's own results."""
        self.path = folder / FILE
        if writing:
            folder.mkdir(parents=True, exist_ok=True)
        elif not self.path.is_file():
            raise AnalysisError(f"{folder}: no {FILE} in it; `zerocast explore SPACE.yaml --out {folder}` makes one")
        try:
            self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            try:
                self._open(writing)
            except sqlite3.OperationalError as error:
                if writing or self._has_log() or not _is_closed(error):
                    raise
                # a folder that nobody writes, this program included: the log's files cannot be made, nor are needed
                self._connection.close()
                where = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
                self._connection = sqlite3.connect(where, uri=True, isolation_level=None)
                self._open(writing)
        except sqlite3.DatabaseError as error:
            said = "make the folder and its files writable, or take a copy" if _is_closed(error) else "move it away"
            raise AnalysisError(
                f"{self.path} cannot be read as a store ({error}); {said}, or give another --out folder"
            ) from None

    def _open(self, writing: bool) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
        if writing:
            self._into_log()
            with self._transaction():
                if not self._tables():
                    for statement in _SCHEMA:
                        self._connection.execute(statement)
                    versions = {"store": STORE_VERSION, "code": code_version()}
                    self._connection.executemany("INSERT INTO meta VALUES (?, ?)", versions.items())
        self._check_version(writing)

    def _into_log(self) -> None:
        """Switch to the write-ahead log; while another opens the store, SQLite refuses at once instead of waiting."""
        end = time.monotonic() + BUSY_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                self._connection.execute("PRAGMA synchronous = NORMAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _has_log(self) -> bool:
        """Whether the write-ahead log holds what the store itself does not have yet."""
        log = self.path.with_name(f"{FILE}-wal")
        return log.is_file() and log.stat().st_size > 0

    def _tables(self) -> set[str]:
        return {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _check_version(self, writing: bool) -> None:
        meta = dict(self._connection.execute("SELECT name, value FROM meta")) if "meta" in self._tables() else {}
        if "store" not in meta:
            raise AnalysisError(f"{self.path} is no store of zerocast; move it away, or give another folder")
        if meta["store"] != STORE_VERSION:
            raise AnalysisError(
                f"{self.path} has store version {meta['store']}, this program has {STORE_VERSION}; give another --out "
                "folder, or use the program that wrote it"
            )
        if writing and meta["code"] != code_version():
            raise AnalysisError(
                f"{self.path} holds results of zerocast {meta['code']}, this is {code_version()}, which may price "
                "designs otherwise; give another --out folder (`zerocast export` still reads the old one)"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query as they are read; a damaged page is met on the way."""
        with self._named_errors():
            yield from self._connection.execute(query, values)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say what is wrong with the file, and what can be done."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if "full" in text or "disk I/O" in text:
                said = "make room; the same command with --resume goes on"
            elif "locked" in text:
                said = f"another process has held it for {BUSY_S:.0f} s; wait for it, and use --resume"
            elif "readonly" in text:
                said = "make it writable, or give another --out folder"
            else:
                said = "the file is damaged; move it away and run again, or take a copy of it"
            raise AnalysisError(f"{self.path}: {text}; {said}") from None

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._connection.close()

    # --- runs ---------------------------------------------------------------------------------------------------

    def runs(self) -> dict[str, tuple[str, bool]]:
        """Id of each run -> its facts (JSON) and whether it is complete, the oldest first."""
        rows = self._rows("SELECT id, facts, finished FROM runs ORDER BY place")
        return {run: (facts, bool(finished)) for run, facts, finished in rows}

    def start(self, run: str, facts: str) -> None:
        """Note a run; the one started last is the one that is shown."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO runs (id, facts) VALUES (?, ?)", (run, facts))
            self._connection.execute("UPDATE runs SET place = (SELECT max(place) + 1 FROM runs) WHERE id = ?", (run,))

    def finish(self, run: str) -> None:
        """Note that all trials of a run are there."""
        with self._transaction():
            self._connection.execute("UPDATE runs SET finished = 1 WHERE id = ?", (run,))

    # --- results ------------------------------------------------------------------------------------------------

    def write(self, run: str, rows: Iterable[Row], priced: Iterable[Priced]) -> None:
        """Keep a batch: all of it, or (killed meanwhile) nothing."""
        blank = (None,) * len(STORED)
        results = [(p.key, p.status, p.reason, *(map(_null, p.metrics) if p.metrics else blank)) for p in priced]
        trials = [(run, r.number, r.key, r.parameters, r.status, r.reason, _null(r.accuracy)) for r in rows]
        marks = ", ".join("?" * (3 + len(STORED)))
        with self._transaction():
            self._connection.executemany(f"INSERT OR IGNORE INTO results VALUES ({marks})", results)
            self._connection.executemany("INSERT OR IGNORE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?)", trials)

    def results(self, keys: Sequence[str]) -> dict[str, Priced]:
        """What is known of these keys."""
        found: dict[str, Priced] = {}
        for first in range(0, len(keys), _AT_ONCE):
            some = keys[first : first + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            for row in self._rows(f"SELECT * FROM results WHERE key IN ({marks})", some):
                found[row[0]] = _priced(row)
        return found

    def trials(self, run: str) -> dict[int, Row]:
        """Trials of a run by number, in order."""
        columns = "number, key, parameters, status, reason, accuracy"
        rows = self._rows(f"SELECT {columns} FROM trials WHERE run = ? ORDER BY number", (run,))
        return {row[0]: _row(row) for row in rows}

    def joined(self, run: str) -> list[tuple[Row, Priced | None]]:
        """Trials of a run in order, each with its result where it was priced, as of one moment."""
        rows = self._rows(
            "SELECT t.number, t.key, t.parameters, t.status, t.reason, t.accuracy, r.* FROM trials t "
            "LEFT JOIN results r ON r.key = t.key WHERE t.run = ? ORDER BY t.number",
            (run,),
        )
        return [(_row(row), None if row[6] is None else _priced(row[6:])) for row in rows]

    # --- workloads ----------------------------------------------------------------------------------------------

    def lowered(self, source: str) -> Lowered | None:
        """The workload that was made of a source before."""
        row = next(self._rows("SELECT content, batch, reason FROM workloads WHERE source = ?", (source,)), None)
        return None if row is None else Lowered(row[0], _nan(row[1]), row[2])

    def note_lowered(self, source: str, lowered: Lowered) -> None:
        """Remember what a source gave."""
        row = (source, lowered.content, _null(lowered.batch), lowered.reason)
        with self._transaction():
            self._connection.execute("INSERT OR REPLACE INTO workloads VALUES (?, ?, ?, ?)", row)


def _is_closed(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite may not write where it wants to."""
    return "unable to open" in str(error) or "readonly" in str(error)


def _row(row: Sequence) -> Row:
    number, key, parameters, status, reason, accuracy = row[:6]
    return Row(number, key, parameters, status, reason, _nan(accuracy))


def _priced(row: Sequence) -> Priced:
    metrics = tuple(_nan(value) for value in row[3:]) if row[1] != "error" else ()
    return Priced(row[0], row[1], row[2], metrics)


def _null(value: float) -> float | None:
    """SQLite has no NaN: it would keep NULL anyway."""
    return None if math.isnan(value) else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value

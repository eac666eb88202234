"""What a run survives: kills, lost workers, other runs in its store."""

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from pandas.testing import assert_frame_equal
from small_space import SPACE

from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.chunks import Chunk
from zerocast.analysis.explore.pricing.crews import Died, Done, Outcome
from zerocast.analysis.explore.pricing.metrics import STORED
from zerocast.analysis.explore.pricing.store import Priced, Row, Store
from zerocast.analysis.explore.pricing.sweep import DIED, Sweep
from zerocast.analysis.explore.show.table import read_table

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-c", "import sys; from zerocast.analysis.cli import main; sys.exit(main())"]
LARGE = (("compute.rows: [16, 32]", "compute.rows: {from: 4, to: 28, step: 1}"),
         ("compute.cols: [16, 32]", "compute.cols: {from: 4, to: 28, step: 2}"))  # fmt: skip
DESIGNS = 25 * 13 * 3


def start(space: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [*COMMAND, "explore", str(space), "--out", str(out), *more]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def same(one: Path, other: Path) -> None:
    assert_frame_equal(read_table(one).frame, read_table(other).frame, check_exact=True)


@pytest.fixture(scope="module")
def whole(net: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """A space, the folder of its uninterrupted run, and how long that took in s."""

    text = SPACE.replace("net.npz", str(net))
    for old, new in LARGE:
        text = text.replace(old, new)
    folder = tmp_path_factory.mktemp("whole")
    (folder / "space.yaml").write_text(text)
    begin = time.monotonic()
    finish(start(folder / "space.yaml", folder / "out", "--workers", "2"))
    assert len(read_table(folder / "out").frame) == DESIGNS
    return folder / "space.yaml", folder / "out", time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(5))
def test_a_killed_run_goes_on_where_it_was(whole: tuple[Path, Path, float], tmp_path: Path, moment: int) -> None:
    space, uninterrupted, seconds = whole
    process = start(space, tmp_path / "out", "--workers", str(1 + moment % 2))
    # one of five parts of the run, any moment in it
    time.sleep(seconds * (0.3 + 0.14 * (moment + random.Random(moment).random())))
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    finish(start(space, tmp_path / "out", "--workers", "1", "--resume"))
    same(tmp_path / "out", uninterrupted)
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, f"{len(gone)} of the killed run's processes are gone, not {alive}"


@pytest.mark.slow
def test_a_killed_search_follows_the_same_path(whole: tuple[Path, Path, float], tmp_path: Path) -> None:
    space, _, _ = whole
    arguments = ["--method", "nsga2", "--trials", "80", "--workers", "1"]
    finish(start(space, tmp_path / "one", *arguments))
    process = start(space, tmp_path / "two", *arguments)
    kept = 0
    while process.poll() is None and kept < 30:
        time.sleep(0.02)
        kept = trials(tmp_path / "two")
    process.kill()
    process.communicate()
    assert 0 < kept < 80
    finish(start(space, tmp_path / "two", *arguments, "--resume"))
    same(tmp_path / "one", tmp_path / "two")


def trials(folder: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'store.sqlite'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(whole: tuple[Path, Path, float], tmp_path: Path) -> None:
    space, uninterrupted, _ = whole
    process = start(space, tmp_path / "out", "--workers", "2")
    while process.poll() is None and trials(tmp_path / "out") == 0:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume" in err and "Traceback" not in err
    total = len(read_table(uninterrupted).frame)
    stopped = read_table(tmp_path / "out")
    assert f"{len(stopped.frame):,} of {total:,} designs" in err
    assert stopped.note.startswith(f"{len(stopped.frame):,} of {total:,} designs") and "--resume" in stopped.note
    finish(start(space, tmp_path / "out", "--workers", "2", "--resume"))
    same(tmp_path / "out", uninterrupted)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing(whole: tuple[Path, Path, float], tmp_path: Path) -> None:
    space, uninterrupted, _ = whole
    process = start(space, tmp_path / "out", "--workers", "2")
    while process.poll() is None and trials(tmp_path / "out") == 0:
        time.sleep(0.02)
    # of the processes below: the fork server, what tracks its semaphores, and (its children) the workers
    servers = psutil.Process(process.pid).children()
    workers = [worker for server in servers for worker in server.children()]
    if workers:
        workers[0].kill()
    finish(process)
    assert workers, "the run was over before a worker could be killed"
    same(tmp_path / "out", uninterrupted)


@pytest.mark.slow
def test_two_runs_in_one_store(whole: tuple[Path, Path, float], tmp_path: Path) -> None:
    space, uninterrupted, _ = whole
    search = start(space, tmp_path / "out", "--workers", "1", "--method", "random", "--trials", "150")
    grid = start(space, tmp_path / "out", "--workers", "1")
    finish(search)
    finish(grid)
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (DESIGNS,)
        (run,) = connection.execute("SELECT id FROM runs WHERE json_extract(facts, '$.method') = 'grid'").fetchone()
    frame = read_table(tmp_path / "out", run).frame
    assert_frame_equal(frame, read_table(uninterrupted).frame, check_exact=True)


# --- the store alone ----------------------------------------------------------------------------------------------


def _write(folder: Path, writer: int) -> None:
    store = Store(folder, writing=True)
    store.start(f"run {writer}", "{}")
    for batch in range(40):
        numbers = range(batch * 10, batch * 10 + 10)
        rows = [Row(n, f"key {n}", "{}", "ok", "", float(n)) for n in numbers]
        store.write(f"run {writer}", rows, [Priced(f"key {n}", "ok", "", (n / 7,) * len(STORED)) for n in numbers])
    store.close()


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, n)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    store = Store(tmp_path, writing=False)
    for n in range(2):
        joined = store.joined(f"run {n}")
        assert [row.number for row, _ in joined] == list(range(400))
        assert all(priced is not None and priced.metrics == (row.number / 7,) * len(STORED) for row, priced in joined)
    store.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE meta SET value = '0' WHERE name = 'store'", "store version 0.*--out"),
        ("UPDATE meta SET value = '0.0.1+abc' WHERE name = 'code'", r"0\.0\.1\+abc.*--out"),
        ("DROP TABLE meta", "no store of zerocast"),
    ],
)
def test_a_store_of_another_version_is_refused(change: str, words: str, tmp_path: Path) -> None:
    Store(tmp_path, writing=True).close()
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(AnalysisError, match=words):
        Store(tmp_path, writing=True)


def test_results_of_another_program_can_be_read(tmp_path: Path) -> None:
    Store(tmp_path, writing=True).close()
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.execute("UPDATE meta SET value = 'older' WHERE name = 'code'")
        connection.commit()
    store = Store(tmp_path, writing=False)
    assert store.runs() == {}
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database " * 100)
    for writing in (True, False):
        with pytest.raises(AnalysisError, match=r"store\.sqlite.*--out"):
            Store(tmp_path, writing=writing)


def test_the_same_run_again_needs_resume(
    write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["explore", str(write_space()), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "is complete" in said and "--resume shows it again" in said and "continue" not in said
    assert main([*arguments, "--resume"]) == 0
    assert "0 priced" in capsys.readouterr().out


def test_a_run_that_lacks_designs_says_so(
    write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["explore", str(write_space()), "--out", str(out), "--workers", "1"]) == 0
    assert read_table(out).note == ""
    with closing(sqlite3.connect(out / "store.sqlite")) as connection, connection:
        connection.execute("DELETE FROM trials WHERE number >= 5")
        connection.execute("UPDATE runs SET finished = 0")
    assert read_table(out).note.startswith("5 of 12 designs:")
    capsys.readouterr()
    assert main(["export", str(out), "--to", "csv"]) == 0
    said = capsys.readouterr()
    assert "5 designs" in said.out and "5 of 12 designs" in said.err and "--resume" in said.err
    assert main(["explore", str(write_space()), "--out", str(out), "--workers", "1"]) == 2
    assert "continue it with --resume" in capsys.readouterr().err
    assert main(["explore", str(write_space()), "--out", str(out), "--workers", "1", "--resume"]) == 0
    assert read_table(out).note == ""


# --- workers that die ----------------------------------------------------------------------------------------------


class Mortal:
    """A crew whose workers die over some designs, and over any chunk at some times."""

    workers, slots = 2, 3

    def __init__(self, deadly: set[str], accidents: int) -> None:
        self._deadly, self._accidents = deadly, accidents
        self._held: list[Chunk] = []
        self.most = 0

    def submit(self, chunk: Chunk) -> None:
        self._held.append(chunk)

    def finished(self) -> list[tuple[Chunk, Outcome]]:
        held, self._held = self._held, []
        self.most = max(self.most, len(held))
        died = any(key in self._deadly for chunk in held for key in chunk.keys) or self._accidents > 0
        self._accidents -= 1
        # a pool that breaks loses all that it holds
        return [(c, Died() if died else Done([Priced(k, "ok", "") for k in c.keys], 0.01)) for c in held]

    def close(self) -> None:
        self._held.clear()


@pytest.mark.parametrize("deadly", [set(), {"17"}, {"0", "99", "50"}])
@pytest.mark.parametrize("accidents", [0, 2])
def test_only_designs_that_kill_their_worker_are_given_up(deadly: set[str], accidents: int) -> None:
    keys = tuple(map(str, range(100)))
    crew = Mortal(deadly, accidents)
    found = [p for part in Sweep(crew).price([Chunk("w", keys, ({},) * 100)]) for p in part]
    assert sorted(p.key for p in found) == sorted(keys)
    assert {p.key for p in found if p.status == DIED} == deadly


def test_chunks_end_where_structures_do() -> None:
    groups = tuple(str(n // 30) for n in range(200))
    crew = Mortal(set(), 0)
    chunk = Chunk("w", tuple(map(str, range(200))), ({},) * 200, groups)
    sizes = [len(part) for part in Sweep(crew).price([chunk])]
    # 200 designs for 2 workers x 4: at most 25, so that a group of 30 has to be cut
    assert sum(sizes) == 200 and max(sizes) == 25
    wide = Chunk("w", chunk.keys, chunk.overrides, tuple(str(n // 10) for n in range(200)))
    assert set(map(len, Sweep(crew).price([wide]))) == {20}


# --- dask ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler, and its two workers."""
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    dask = [sys.executable, "-m", "dask"]
    address = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*dask, "scheduler", *address], **quiet)  # type: ignore[call-overload]
    options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    options += ["--local-directory", str(tmp_path)]
    workers = [subprocess.Popen([*dask, "worker", *options], **quiet) for _ in range(2)]  # type: ignore[call-overload]
    end = time.monotonic() + 20
    while not (file.is_file() and file.read_text().rstrip().endswith("}")) and time.monotonic() < end:
        time.sleep(0.05)
    try:
        yield json.loads(file.read_text())["address"], workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_dask_gives_the_same_table_though_a_worker_is_killed(
    whole: tuple[Path, Path, float],
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
    tmp_path: Path,
) -> None:
    space, uninterrupted, _ = whole
    address, workers = cluster
    process = start(space, tmp_path / "out", "--dask", address)
    while process.poll() is None and trials(tmp_path / "out") == 0:
        time.sleep(0.02)
    running = process.poll() is None
    os.kill(workers[0].pid, signal.SIGKILL)
    finish(process)
    assert running
    same(tmp_path / "out", uninterrupted)

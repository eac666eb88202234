"""What happens to a folder between two starts: changed files, damaged pages, full disks, folders nobody may write."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import three_products
from pandas.testing import assert_frame_equal

from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.store import Store
from zerocast.analysis.explore.show.export import export
from zerocast.analysis.explore.show.table import read_table
from zerocast.workloads.files.store import save
from zerocast.workloads.ir import Workload

ROWS = "compute.rows: [16, 32]"
COLS = "compute.cols: [16, 32]"
OBJECTIVES = "objectives: [latency_s, energy_j]"
OPTIONS = ["--workers", "1"]


def explore(space: Path, out: Path, *more: str) -> int:
    return main(["explore", str(space), "--out", str(out), *OPTIONS, *more])


def _other() -> Workload:
    """Another network of the same name."""
    return replace(three_products(), meta={"batch": 8, "training": False})


@pytest.fixture
def own(net: Path, tmp_path: Path, write_space: Callable[..., Path]) -> tuple[Path, Path]:
    """A space, and the workload that is this test's own."""
    shutil.copy(net, tmp_path / "own.npz")
    return write_space(("net.npz", "own.npz")), tmp_path / "own.npz"


@pytest.fixture
def done(write_space: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with a run."""
    assert explore(write_space(), tmp_path / "out") == 0
    return tmp_path / "out"


# --- files that change --------------------------------------------------------------------------------------------


def test_a_changed_workload_is_not_resumed(
    own: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, workload = own
    assert explore(space, tmp_path / "out") == 0
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite")) as connection:
        connection.execute("DELETE FROM trials WHERE number > 5")
        connection.commit()
    before = workload.read_bytes()
    save(_other(), workload)
    assert explore(space, tmp_path / "out", "--resume") == 2
    said = capsys.readouterr().err
    assert str(workload) in said and "has changed since" in said and "--out" in said
    assert len(read_table(tmp_path / "out").frame) == 6
    workload.write_bytes(before)
    assert explore(space, tmp_path / "out", "--resume") == 0
    assert len(read_table(tmp_path / "out").frame) == 12


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_workload_of_the_folder_is_made_again(damage: str, own: tuple[Path, Path], tmp_path: Path) -> None:
    space, _ = own
    assert explore(space, tmp_path / "out") == 0
    whole = read_table(tmp_path / "out").frame
    (kept,) = (tmp_path / "out" / "workloads").glob("*.npz")
    content = kept.read_bytes()
    if damage == "other":
        save(_other(), kept)
    else:
        kept.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with closing(sqlite3.connect(tmp_path / "out" / "store.sqlite")) as connection:
        connection.execute("DELETE FROM trials")
        connection.execute("DELETE FROM results")
        connection.commit()
    assert explore(space, tmp_path / "out", "--resume") == 0
    assert_frame_equal(read_table(tmp_path / "out").frame, whole, check_exact=True)


# --- searches that find no more -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe"])
def test_a_search_ends_where_too_few_designs_keep_the_constraints(
    method: str, write_space: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 512 x 512 x 3 designs, 3 keep the constraint."""
    space = write_space(
        (ROWS, "compute.rows: {from: 1, to: 512, step: 1}"), (COLS, "compute.cols: {from: 1, to: 512, step: 1}"),
        (OBJECTIVES, f"{OBJECTIVES}\nconstraints: ['compute.rows == 177 and compute.cols == 77']"),
    )  # fmt: skip
    assert explore(space, tmp_path / "out", "--method", method, "--trials", "5") == 0
    words = capsys.readouterr()
    frame = read_table(tmp_path / "out").frame
    assert f"{(frame['status'] == 'ok').sum()} trials of 5" in words.out, words.out
    assert "in a row could not be priced" in words.out
    assert 400 <= len(frame) < 3000


# --- the store's own file -----------------------------------------------------------------------------------------


def _damage(folder: Path) -> None:
    """Overwrite every page behind the first few, which hold the schema and the runs."""
    with closing(sqlite3.connect(folder / "store.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        pages = [page for (page,) in connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name IN ('trials', 'results')")]  # fmt: skip
    with (folder / "store.sqlite").open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xa5" * size)


def test_a_damaged_page_is_one_clear_error(
    done: Path, write_space: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _damage(done)
    commands = [["export", str(done), "--to", "csv"], ["plot", str(done)],
                ["explore", str(write_space()), "--out", str(done), *OPTIONS, "--resume"]]  # fmt: skip
    for command in commands:
        capsys.readouterr()
        assert main(command) == 2, command
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and "store.sqlite" in said[0] and "damaged" in said[0] and "move it away" in said[0]


def test_damaged_text_is_one_clear_error(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(done / "store.sqlite")) as connection:
        connection.execute("UPDATE trials SET parameters = '{\"compute.ro' WHERE number = 3")
        connection.commit()
    assert main(["export", str(done), "--to", "csv"]) == 2
    assert "design 3" in (said := capsys.readouterr().err) and "damaged" in said


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    store = Store(tmp_path, writing=True)
    store._connection.execute("PRAGMA max_page_count = 20")  # as full as a disk can be made here
    with pytest.raises(AnalysisError, match=r"store\.sqlite.*full; make room.*--resume"):
        for number in range(100):
            store.start(f"run {number}", "x" * 10_000)
    kept = len(store.runs())
    assert 0 < kept < 100
    store._connection.execute("PRAGMA max_page_count = 1000")
    store.start("one more", "{}")
    assert len(store.runs()) == kept + 1
    store.close()


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Without the rights of root, to whom every folder is open."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_store_that_nobody_may_write_can_be_read(done: Path) -> None:
    expected = read_table(done).frame
    export(done, "csv", done / "expected.csv")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder, target = Path(name) / "store", Path(name) / "open"
        folder.mkdir()
        target.mkdir(mode=0o777)
        shutil.copy(done / "store.sqlite", folder)
        Path(name).chmod(0o755)
        target.chmod(0o777)
        (folder / "store.sqlite").chmod(0o444)
        folder.chmod(0o555)
        try:
            with _unprivileged():
                assert not os.access(folder, os.W_OK, effective_ids=True)
                assert_frame_equal(read_table(folder).frame, expected, check_exact=True)
                written = export(folder, "csv", target / "table.csv")
            assert written.file.read_bytes() == (done / "expected.csv").read_bytes()
        finally:
            folder.chmod(0o755)


# --- export -------------------------------------------------------------------------------------------------------


def test_two_runs_are_exported_to_two_files(done: Path, write_space: Callable[..., Path]) -> None:
    assert explore(write_space(), done, "--method", "random", "--trials", "3") == 0
    with closing(Store(done, writing=False)) as store:
        first, last = store.runs()
    files = [export(done, "csv", run=run).file for run in (first, last, first[:6], None)]
    names = [f"small-{first}.csv", "small.csv", f"small-{first}.csv", "small.csv"]
    assert [file.name for file in files] == names
    assert len(files[0].read_text().splitlines()) == 13
    assert len(files[1].read_text().splitlines()) == 4

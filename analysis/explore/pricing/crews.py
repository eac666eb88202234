"""Who prices the chunks: this process, or processes beside it. `cluster.py` has the workers of a dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zerocast.analysis.explore.pricing.chunks import Chunk, Terms, price
from zerocast.analysis.explore.pricing.store import Priced

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Died:
    """Workers died while they held a chunk, so many times."""

    times: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """A chunk's results, and the seconds that its worker took."""

    priced: list[Priced]
    seconds: float


Outcome = Done | Died


class Crew(Protocol):
    """Prices chunks somewhere."""

    @property
    def workers(self) -> int:
        """How many price at once."""

    @property
    def slots(self) -> int:
        """How many chunks it takes before some are back."""

    def submit(self, chunk: Chunk) -> None:
        """Hand over a chunk."""

    def finished(self) -> list[tuple[Chunk, Outcome]]:
        """Wait until at least one of the chunks handed over is back (at most about a second; [] then)."""

    def close(self) -> None:
        """Let go of the workers, whatever they do."""


class Here:
    """This process prices."""

    workers = 1
    slots = 1

    def __init__(self, terms: Terms, file: Callable[[str], Path]) -> None:
        self._terms, self._file = terms, file
        self._chunks: list[Chunk] = []

    def submit(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)

    def finished(self) -> list[tuple[Chunk, Outcome]]:
        chunk = self._chunks.pop(0)
        return [(chunk, Done(*price(self._terms, str(self._file(chunk.workload)), chunk)))]

    def close(self) -> None:
        self._chunks.clear()


class Pool:
    """Processes of this machine. A pool that lost a process is replaced, and its chunks come back as `Died`."""

    def __init__(self, terms: Terms, file: Callable[[str], Path], workers: int) -> None:
        self.workers, self.slots = workers, 2 * workers
        self._terms, self._file = terms, file
        self._futures: dict[Future, Chunk] = {}
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["zerocast.analysis.explore.pricing.chunks"])
        return ProcessPoolExecutor(self.workers, mp_context=context, initializer=_settle_in)

    def submit(self, chunk: Chunk) -> None:
        try:
            self._futures[self._submit(chunk)] = chunk
        except BrokenProcessPool:
            self._replace()
            self._futures[self._submit(chunk)] = chunk

    def _submit(self, chunk: Chunk) -> Future:
        with _one_thread():  # processes start when work comes, and inherit this
            return self._pool.submit(price, self._terms, str(self._file(chunk.workload)), chunk)

    def finished(self) -> list[tuple[Chunk, Outcome]]:
        done, _ = wait(self._futures, timeout=1.0, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done, _ = wait(self._futures)  # a broken pool fails all that it holds
            self._replace()
        found: list[tuple[Chunk, Outcome]] = []
        for future in done:
            chunk = self._futures.pop(future)
            lost = isinstance(future.exception(), BrokenProcessPool)
            found.append((chunk, Died() if lost else Done(*future.result())))
        return found

    def _replace(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._start()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._futures:  # interrupted: nobody waits for what they are at
            for process in multiprocessing.active_children():
                process.terminate()
        self._futures.clear()


def _settle_in() -> None:
    """In a new process: leave Ctrl-C to the parent, and leave with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started meanwhile compute on one thread each: there are as many of them as cores."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

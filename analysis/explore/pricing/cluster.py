"""Workers of a dask cluster, wherever they run: `dask scheduler` and `dask worker`, or any deployer of dask's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.chunks import Chunk, Terms, price
from zerocast.analysis.explore.pricing.crews import Died, Done, Outcome
from zerocast.analysis.explore.pricing.sweep import MOST_DEATHS
from zerocast.extras import need

CONNECT_S = 15
PER_WORKER = 2
"""Chunks that each thread of the cluster holds or has waiting."""


class Cluster:
    """Workers behind a scheduler. They may come and go: what a lost one held is done again by others."""

    def __init__(self, terms: Terms, file: Callable[[str], Path], address: str) -> None:
        """Raises `AnalysisError` where no scheduler answers, or it has no worker."""
        need("distributed", "--dask")
        from distributed import Client

        logging.getLogger("distributed").setLevel(logging.ERROR)
        try:
            self._client = Client(address, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            raise AnalysisError(
                f"--dask {address!r}: no scheduler answers ({type(error).__name__}); start `dask scheduler` and give "
                "its address, e.g. tcp://127.0.0.1:8786"
            ) from None
        self._terms, self._file = terms, file
        self._contents: dict[str, Any] = {}
        self._futures: dict[Any, Chunk] = {}
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError:
            self._client.close()
            raise AnalysisError(f"--dask {address!r}: the scheduler has no workers; start `dask worker`") from None

    @property
    def workers(self) -> int:
        """Threads of the cluster just now."""
        return max(1, sum(self._client.nthreads().values()))

    @property
    def slots(self) -> int:
        """Chunks that keep all threads busy."""
        return PER_WORKER * self.workers

    def submit(self, chunk: Chunk) -> None:
        """Hand over a chunk; the workload goes to the workers once."""
        if chunk.workload not in self._contents:
            content = self._file(chunk.workload).read_bytes()
            self._contents[chunk.workload] = self._client.scatter(content, broadcast=True, hash=False)
        content = self._contents[chunk.workload]
        future = self._client.submit(price, self._terms, content, chunk, pure=False)
        self._futures[future] = chunk

    def finished(self) -> list[tuple[Chunk, Outcome]]:
        """Chunks that are back."""
        from distributed import CancelledError, wait

        try:
            done = wait(list(self._futures), timeout=1.0, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            return []
        except CancelledError:  # some lost what they need, or all lost the scheduler
            done = {future for future in self._futures if future.done()}
            self._refuse_without_scheduler()
        return [(self._futures.pop(future), self._outcome(future)) for future in done]

    def _refuse_without_scheduler(self) -> None:
        try:
            if self._client.status == "running" and self._client.nthreads() is not None:
                return
        except Exception:  # whatever it says, nobody answers
            pass
        raise AnalysisError("the dask scheduler is gone; start it again, and the same command with --resume goes on")

    def _outcome(self, future: Any) -> Outcome:
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        try:
            return Done(*future.result())
        except KilledWorker:  # dask tried it on several workers itself
            return Died(MOST_DEATHS)
        except CancelledError:  # with the last copy of the workload: all workers that had it are gone
            self._contents.clear()
            return Died(0)

    def close(self) -> None:
        """Leave the cluster; it stops what it had of ours."""
        self._client.close()
        self._futures.clear()

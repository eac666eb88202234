"""Designs to chunks, chunks to workers, and what to do when workers die."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zerocast.analysis.explore.pricing.chunks import Chunk
from zerocast.analysis.explore.pricing.crews import Crew, Died
from zerocast.analysis.explore.pricing.store import Priced

FIRST, MOST = 128, 512
"""Designs in the first chunk, and in the largest: many at once are quicker, but a killed run loses its chunks."""
TARGET_S = 2.0
"""How long a chunk should take."""
MOST_DEATHS = 3
CHUNKS_PER_WORKER = 4


@dataclass(slots=True)
class _Task:
    chunk: Chunk
    deaths: int = 0


class Sweep:
    """Prices designs with a crew, for a whole run."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._pace_s = TARGET_S / FIRST

    def price(self, chunks: Sequence[Chunk]) -> Iterator[list[Priced]]:
        """Price designs, given as one long chunk per workload, neighbours side by side; parts come back as they are
        done, and nothing is lost where a worker dies.

        A chunk whose workers died three times is priced design by design, each with no other beside it; a design
        that then kills its worker too comes back as an error.
        """
        fresh = self._cut(chunks)
        waiting: deque[_Task] = deque()
        alone: deque[_Task] = deque()
        out: dict[int, _Task] = {}
        while True:
            self._hand_out(fresh, waiting, alone, out)
            if not out:
                return
            for chunk, outcome in self._crew.finished():
                task = out.pop(id(chunk))
                if not isinstance(outcome, Died):
                    self._learn(outcome.seconds, len(chunk.keys))
                    yield outcome.priced
                    continue
                task.deaths += outcome.times
                if task.deaths < MOST_DEATHS:
                    (alone if task.deaths == MOST_DEATHS - 1 else waiting).append(task)
                elif len(chunk.keys) > 1:
                    alone.extend(_Task(chunk.part(n, n + 1), MOST_DEATHS - 1) for n in range(len(chunk.keys)))
                else:
                    yield [Priced(chunk.keys[0], DIED, DIED_REASON)]

    def _hand_out(
        self, fresh: Iterator[Chunk], waiting: deque[_Task], alone: deque[_Task], out: dict[int, _Task]
    ) -> None:
        if alone:  # who dies beside others may be innocent
            if not out:
                self._submit(alone.popleft(), out)
            return
        while len(out) < self._crew.slots:
            if waiting:
                self._submit(waiting.popleft(), out)
            elif (chunk := next(fresh, None)) is not None:
                self._submit(_Task(chunk), out)
            else:
                return

    def _submit(self, task: _Task, out: dict[int, _Task]) -> None:
        out[id(task.chunk)] = task
        self._crew.submit(task.chunk)

    def _cut(self, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        """Parts of about `TARGET_S`, small enough that each worker gets some."""
        left = sum(len(chunk.keys) for chunk in chunks)
        fair = math.ceil(left / (CHUNKS_PER_WORKER * self._crew.workers))
        for chunk in chunks:
            first = 0
            while first < len(chunk.keys):
                size = max(1, min(fair, MOST, round(TARGET_S / self._pace_s)))
                last = _end(chunk, first, first + size)
                yield chunk.part(first, last)
                first = last

    def _learn(self, seconds: float, designs: int) -> None:
        """Mean pace of the latest chunks in s per design, the newest counting half."""
        self._pace_s = max(0.5 * (self._pace_s + seconds / designs), 1e-6)


def _end(chunk: Chunk, first: int, last: int) -> int:
    """`last`, or the place before it where a group of like structure ends, since a group is priced together."""
    if last >= len(chunk.keys) or not chunk.groups:
        return last
    end = last
    while end > first and chunk.groups[end] == chunk.groups[end - 1]:
        end -= 1
    return end if end > first else last


DIED = "died"
"""Status of a design whose worker died each time; it belongs to the run, and is never kept as a result."""
DIED_REASON = f"workers that priced it died {MOST_DEATHS} times (killed, or out of memory)"

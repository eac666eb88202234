"""What a run says while it goes on: a bar where someone watches, a line now and then elsewhere. All on stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from zerocast.analysis.explore.search.trials import Verdict
from zerocast.analysis.explore.show.words import design_count, pace
from zerocast.analysis.explore.space.definition import Objective

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

EVERY_S = 10.0
"""Between two lines where stderr is no terminal."""


class Report:
    """Counts trials and keeps the best of each objective; use it as a context."""

    def __init__(self, objectives: Sequence[Objective], console: Console) -> None:
        self._objectives = objectives
        self._console = console
        self._best = {o.name: math.nan for o in objectives}
        self._total: int | None = None
        self._done = self._new = 0
        self._start = self._said = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Report:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._console.is_terminal:
            columns = (
                TextColumn("designs"), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(), TextColumn("{task.fields[best]}"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("designs", total=self._total, rate="", best="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, trials: int | None) -> None:
        """How many trials there will be, None where that is open."""
        self._total = trials

    def saw(self, verdicts: Sequence[Verdict], *, new: int) -> None:
        """Trials that are done; how many designs were priced for them just now."""
        self._done += len(verdicts)
        self._new += new
        for verdict in verdicts:
            if verdict.row.status == "ok":
                self._improve(verdict)
        if self._bar is not None:
            total = None if self._total is None else max(self._total, self._done)
            self._bar.update(self._task, completed=self._done, total=total, rate=self._rate(), best=self.best())
        elif time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            parts = (self._progress(), self._rate(), self.best())
            self._console.print(", ".join(filter(None, parts)), soft_wrap=True)

    def best(self) -> str:
        """The best value of each objective so far."""
        return ", ".join(f"best {name} {value:.4g}" for name, value in self._best.items() if not math.isnan(value))

    @property
    def seconds(self) -> float:
        """Since the report began."""
        return time.monotonic() - self._start

    @property
    def new(self) -> int:
        """Designs priced in this run, the store's answers left out."""
        return self._new

    def _improve(self, verdict: Verdict) -> None:
        for objective in self._objectives:
            value, best = verdict.metrics[objective.name], self._best[objective.name]
            better = value < best if objective.direction == "min" else value > best
            if better or math.isnan(best):
                self._best[objective.name] = value

    def _progress(self) -> str:
        if self._total is None:
            return design_count(self._done)
        return f"{self._done:,} of {design_count(self._total)}"

    def _rate(self) -> str:
        return pace(self._new, self.seconds)

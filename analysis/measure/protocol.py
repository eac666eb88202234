"""One session of measuring: the budget, the rows, what happens when a measurement fails or someone interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from zerocast.analysis.measure.machine.target import Target
from zerocast.analysis.measure.machine.timing import REGIMES, CaptureError, Regime, Timing, kernels_of, time_calls
from zerocast.analysis.measure.options import SHARE, Options
from zerocast.analysis.measure.results import ResultFile

PROFILED_SHARE = 0.3
"""Most of a session that kernel names may take; the anchors' are always looked up."""
SAID_EVERY_S = 5.0


class DeviceLost(RuntimeError):
    """The device answers no more: only a new process can go on."""


@dataclass(frozen=True)
class Unit:
    """One measurement. key: its name in the file; fields: what it is of; run: measures and returns the columns."""

    key: str
    fields: dict[str, Any]
    run: Callable[[], dict[str, Any]]


@dataclass
class Session:
    """What the suites measure with.

    started: perf_counter at the start. planned: units of the current suite, for the progress line. longest: seconds
    of the longest measurement of the suite.
    """

    options: Options
    target: Target
    file: ResultFile
    number: int
    started: float = field(default_factory=time.perf_counter)
    deadline: float = float("inf")
    stopped: bool = False
    planned: int = 0
    measured: int = 0
    longest: float = 0.0
    profiled_s: float = 0.0
    said: float = 0.0
    parent: int = field(default_factory=os.getppid)

    @property
    def regime(self) -> Regime:
        return REGIMES[self.options.regime]

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def remaining(self) -> float:
        """Seconds left for the current suite."""
        return self.deadline - self.elapsed()

    def enter(self, suite: str) -> None:
        """Give a suite its share of what is left of the budget."""
        left = self.options.suites[self.options.suites.index(suite) :]
        share = SHARE[suite] / sum(SHARE[name] for name in left)
        now = self.elapsed()
        self.deadline = now + share * (self.options.budget_s - now)
        self.planned = self.measured = 0
        self.longest = 0.0

    def over(self) -> bool:
        orphan = self.options.worker and os.getppid() != self.parent
        return self.stopped or orphan or self.remaining() <= 0

    def work(self, suite: str, units: Iterable[Unit]) -> None:
        """Measure the units in turn until they, the budget or the user's patience end."""
        for unit in units:
            if self.over():
                break
            self.attempt(suite, unit)
        self.say(suite, last=True)

    def attempt(self, suite: str, unit: Unit) -> dict[str, Any]:
        """The row of a unit, measured now or found in the file. A failure is a row with `error`.

        Raises `DeviceLost` where the failure took the device with it.
        """
        if (known := self.file.done.get(unit.key)) is not None:
            self.measured += 1
            return known
        self.file.append("begin", key=unit.key, suite=suite, fields=unit.fields, session=self.number)
        before, at = self.target.state(), self.elapsed()
        columns: dict[str, Any] = {"error": ""}
        lost = False
        try:
            columns |= unit.run()
        except Exception as error:
            columns["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            lost = not self.target.alive()
        place = {
            "key": unit.key, "suite": suite, "session": self.number, "elapsed_s": round(at, 3),
            "regime": self.regime.name, "duty_cycle": self.regime.duty_cycle if self.target.cuda else None,
        }  # fmt: skip
        after = {} if lost else self.target.state()
        row = self.file.append("row", **{**place, **unit.fields, **columns, **_states(before, after)})
        self.measured += 1
        self.longest = max(self.longest, self.elapsed() - at)
        if lost:
            raise DeviceLost(row["error"])
        self._tidy()
        self.say(suite)
        return row

    def timed(
        self, variant: str, call: Callable[[int], torch.Tensor], accept: Callable[[torch.Tensor], None], **limits: int
    ) -> Timing:
        """`time_calls` under the session's regime, by the profiler where this variant's graphs cannot be captured."""
        graphs = variant not in self.target.no_graphs
        try:
            return time_calls(call, self.target, self.regime, accept, graphs=graphs, **limits)
        except CaptureError:
            if not self.target.alive():
                raise
            self.target.no_graphs.add(variant)
            return time_calls(call, self.target, self.regime, accept, graphs=False, **limits)

    def kernel_columns(self, call: Callable[[int], torch.Tensor], always: bool = False) -> dict[str, Any]:
        """Kernels of one call and their microseconds, where the share of time for it is not used up."""
        used_up = self.profiled_s > PROFILED_SHARE * self.elapsed()
        if not self.target.cuda or not self.options.kernels or (used_up and not always):
            return {}
        before = time.perf_counter()
        try:
            kernels = kernels_of(call, self.target)
        except RuntimeError as error:  # the time is measured already and stays
            return {"kernels_error": str(error)[:200]}
        finally:
            self.profiled_s += time.perf_counter() - before
        return {"kernels": kernels, "kernel_us": sum(row[2] for row in kernels)}

    def say(self, suite: str, last: bool = False) -> None:
        """Progress on stderr: one changing line on a terminal, a line now and then elsewhere."""
        terminal = sys.stderr.isatty()
        if not last and not terminal and self.elapsed() - self.said < SAID_EVERY_S:
            return
        self.said = self.elapsed()
        budget = self.options.budget_s
        of = "" if budget == float("inf") else f" of {budget:.0f}"
        planned = f"/{self.planned}" if self.planned else ""
        cut = ""
        if last and self.planned > self.measured:
            cut = f"; {'interrupted' if self.stopped else 'out of time'}, the rest is for --resume"
        text = f"{suite}: {self.measured}{planned} measurements, {self.said:.0f}{of} s{cut}"
        print(f"\r{text}\x1b[K" if terminal else text, end="\n" if last or not terminal else "", file=sys.stderr)

    def catch_signals(self) -> None:
        """First SIGINT or SIGTERM: stop after the measurement at hand; second: at once."""
        if threading.current_thread() is not threading.main_thread():
            return

        def stop(_signal: int, _frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True
            # not print: the signal may have come in the middle of one
            os.write(2, b"\nstopping after the measurement at hand; Ctrl-C again stops at once\n")

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)

    def _tidy(self) -> None:
        """Give memory of dropped graphs back before it crowds out the next operands."""
        if self.target.cuda:
            free, total = torch.cuda.mem_get_info(self.target.device)
            if free < total // 2:
                torch.cuda.empty_cache()


def _states(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_{when}": state[name] for when, state in (("before", before), ("after", after))
            for name in state if name != "driver"}  # fmt: skip

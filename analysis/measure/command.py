"""The command: one process that measures, and on a GPU another one that watches it.

A kernel that faults takes its process with it, and a hanging one its process's time. The watcher starts the measuring
process, writes the row that a dead one could not, and starts the next, which goes on after it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.provenance import provenance
from zerocast.analysis.measure.machine.target import find_target
from zerocast.analysis.measure.options import Options, parse
from zerocast.analysis.measure.protocol import DeviceLost, Session
from zerocast.analysis.measure.results import ResultFile, unfinished
from zerocast.analysis.measure.suites.bandwidth import measure_bandwidth
from zerocast.analysis.measure.suites.energy import measure_energy
from zerocast.analysis.measure.suites.gemm import measure_gemm
from zerocast.analysis.measure.suites.networks import measure_networks, measure_training
from zerocast.analysis.measure.suites.shapes import RISKY, SHAPES, list_hash, read_shapes
from zerocast.analysis.measure.summary import summary

MEASURE = {
    "bandwidth": measure_bandwidth,
    "gemm": measure_gemm,
    "network": measure_networks,
    "training": measure_training,
    "energy": measure_energy,
}
LOST = 75
"""Exit status of a measuring process whose device answers no more (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 130
STALL_S = 300.0
"""A measuring process that writes nothing for so long is taken to hang. Longer than any one measurement."""
RESTARTS, RISKY_RESTARTS = 20, 3
RISKY_SHARE = 0.1
"""Part of the budget kept for the risky variants."""


def measure(argv: list[str]) -> int:
    """Run `zerocast measure` with these arguments and return its exit status.

    0 done or out of budget, 130 interrupted (the file is whole). Raises `AnalysisError` for a mistake in what was
    asked for; SystemExit(0) after --help.
    """
    options = parse(argv)
    _check_models(options)
    here = options.device == "cpu" or options.worker is not None
    status = measure_here(options) if here else Watcher(options, argv).run()
    if options.worker is None:
        for line in summary(options.out):
            print(line)
        print(f"written: {options.out}")
    return status


def _check_models(options: Options) -> None:
    """Refuse unknown networks before the work."""
    from zerocast.workloads.zoo import models

    for name in options.models:
        model, _, batch = name.partition("@")
        file, _, factory = model.rpartition(":")
        if file.endswith(".py") and not (factory and Path(file).is_file()):
            raise AnalysisError(f"--models {name!r}: there is no file {file!r}; write path/to/file.py:factory")
        if ".py" not in model and model not in models():
            raise AnalysisError(f"--models {name!r}: no such network; the zoo has {', '.join(models())}")
        if "@" in name and not (batch.isdecimal() and int(batch)):
            raise AnalysisError(f"--models {name!r}: write NAME or NAME@BATCH, such as vit_b16@32")


def measure_here(options: Options) -> int:
    """Measure in this process."""
    if options.worker is not None:  # what this process took to start is spent
        options = replace(options, budget_s=options.worker - time.time())
    shapes_hash = list_hash(read_shapes(options.shapes or SHAPES))
    target = find_target(options.device)
    file = ResultFile(options.out, options.resume)
    try:
        about = {**provenance(target), "shapes_hash": shapes_hash, "seed": options.seed, "regime": options.regime}
        number = _session_number(file, about)
        file.append("session", session=number, suites=options.suites, variants=options.variants, **about)
        session = Session(options, target, file, number)
        session.catch_signals()
        for suite in options.suites:
            if not session.stopped:
                session.enter(suite)
                MEASURE[suite](session)
    except DeviceLost as error:
        print(f"device lost: {error}", file=sys.stderr)
        return LOST
    finally:
        file.close()
    return INTERRUPTED if session.stopped else 0


def _session_number(file: ResultFile, about: dict[str, Any]) -> int:
    """The number of the new session. Raises `AnalysisError` where the file's others measured something else."""
    earlier = [record for record in file.records if record["record"] == "session"]
    for record in earlier:
        for name in ("device", "shapes_hash", "seed", "regime"):
            if record.get(name) != about[name]:
                raise AnalysisError(
                    f"{str(file.path)!r} was measured with {name} {record.get(name)!r}, this is {about[name]!r}; "
                    "name another --out"
                )
    return len(earlier)


@dataclass
class Watcher:
    """Starts measuring processes and outlives them."""

    options: Options
    argv: list[str]
    child: subprocess.Popen[bytes] | None = None
    stopped: bool = False

    def run(self) -> int:
        """Safe variants of all suites in one process, then the risky ones; returns the exit status."""
        if not torch.cuda.is_available():
            find_target("cuda")  # says why
        ResultFile(self.options.out, self.options.resume).close()
        deadline = time.monotonic() + self.options.budget_s
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        safe = tuple(name for name in self.options.variants if name not in RISKY)
        risky = tuple(name for name in self.options.variants if name in RISKY)
        apart = bool(safe and risky and "gemm" in self.options.suites)
        first = replace(self.options, variants=safe or risky)
        share = 1 - RISKY_SHARE if apart else 1.0
        status = self._stage(first, time.monotonic() + share * self.options.budget_s, RESTARTS)
        if status == 0 and apart:
            status = self._stage(replace(self.options, suites=("gemm",), variants=risky), deadline, RISKY_RESTARTS)
        return status

    def _stage(self, options: Options, deadline: float, restarts: int) -> int:
        for _ in range(restarts):
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            status = self._watch(self._start(options, left))
            if self.stopped:
                return INTERRUPTED
            if status == 0:
                return 0
            if status == 2:  # it has said why
                raise AnalysisError("the measuring process refused; see its message above")
            self._write_lost(status)
        file = ResultFile(self.options.out, resume=True)
        file.append("note", text=f"given up after {restarts} lost processes: {', '.join(options.variants)}")
        file.close()
        return 0

    def _start(self, options: Options, left: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "zerocast.analysis.measure", *self.argv, "--worker", str(time.time() + left),
                   "--resume", "--out", str(options.out), "--suite", ",".join(options.suites),
                   "--variants", ",".join(options.variants)]  # fmt: skip
        root = str(Path(__file__).parents[3])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # a session of its own: Ctrl-C reaches the watcher alone, which passes it on once
        return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, start_new_session=True)

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """The exit status of a process, killed where its file stops growing."""
        self.child = child
        size, grown = -1, time.monotonic()
        while True:
            try:
                return child.wait(timeout=1.0)
            except subprocess.TimeoutExpired:
                now = self.options.out.stat().st_size
                if now != size:
                    size, grown = now, time.monotonic()
                elif time.monotonic() - grown > STALL_S:
                    child.kill()
                    return child.wait()

    def _write_lost(self, status: int) -> None:
        """The row that a dead process could not write."""
        file = ResultFile(self.options.out, resume=True)
        try:
            lost = unfinished(file.records)
            died = f"its process was ended by signal {-status}" if status < 0 else f"its process ended with {status}"
            if lost is not None:
                file.append("row", key=lost["key"], suite=lost["suite"], session=lost["session"],
                            regime=self.options.regime, **lost["fields"], error=f"lost: {died}")  # fmt: skip
            elif status != LOST:  # a lost device has its row
                raise AnalysisError(f"the measuring process ended with status {status} before it measured anything")
        finally:
            file.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self.stopped = True
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(number)

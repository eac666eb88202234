"""How long a call takes: replays of a CUDA graph, kernel times of the profiler where no graph can be captured, or the
wall clock on a CPU.

A graph holds many calls, so that one replay lasts 1 to 2 ms: long beside the resolution of a CUDA event, short
beside the time constant of a card's power control. The host's launch time is not in it, the gaps between kernels on
the card are.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.target import Target

REPLAY_S = 1.5e-3
WARM_UPS = 3
REPLAYS = 12
MOST_CALLS = 512
"""Calls in one graph at most, so that capturing stays short beside the rest of a measurement."""
TRIAL_CALLS = 8
"""Calls in the first, short graph, from whose time the number of calls of the long one follows."""

NO_KERNELS = ("Memcpy", "Memset", "Context ", "Stream ", "Event ", "Device ")
"""Beginnings of the names of what the profiler records on the card beside kernels: copies and synchronizations."""

Call = Callable[[int], Tensor]
Accept = Callable[[Tensor], None]


class CaptureError(RuntimeError):
    """A call that runs eagerly cannot be captured in a CUDA graph."""


@dataclass(frozen=True)
class Regime:
    """How hard the card works while it is timed.

    duty_cycle: share of the time under load; window_s: load at one stretch; warm_s: load before the first sample.
    """

    name: str
    duty_cycle: float
    window_s: float
    warm_s: float

    def rest_s(self, busy_s: float) -> float:
        """How long the card must rest after a window of load to hold the duty cycle."""
        return busy_s * (1 / self.duty_cycle - 1)


REGIMES = {
    "burst": Regime("burst", 0.3, 0.05, 0.0),
    "sustained": Regime("sustained", 1.0, 0.05, 2.0),
}


@dataclass(frozen=True)
class Timing:
    """Samples in microseconds of one call each, and how they were taken.

    calls: calls behind one sample. busy_s: time under load.
    """

    method: str
    calls: int
    samples: list[float]
    busy_s: float

    def columns(self) -> dict[str, Any]:
        low, middle, high = np.percentile(self.samples, (10, 50, 90))
        return {
            "method": self.method,
            "calls": self.calls,
            "n": len(self.samples),
            "median_us": float(middle),
            "min_us": min(self.samples),
            "p10_us": float(low),
            "p90_us": float(high),
        }


def time_calls(
    call: Call, target: Target, regime: Regime, accept: Accept, *, graphs: bool = True, most_calls: int = MOST_CALLS
) -> Timing:
    """Time `call(i)`, i = 0, 1, ..., each returning its result; i lets a caller rotate operands.

    accept: raises where a result is wrong; it sees the eager result and the replayed one, whose memory is filled
    with NaN before the replay. graphs: False takes the profiler's kernel times. most_calls: in one graph.
    Raises `CaptureError` where a graph cannot be captured, and what `call` and `accept` raise.
    """
    accept(call(0))
    if not target.cuda:
        return _wall_clock(call, most_calls)
    return _by_graph(call, target, regime, accept, most_calls) if graphs else by_profiler(call, most_calls)


def _wall_clock(call: Call, most_calls: int) -> Timing:
    started = time.perf_counter()
    call(0)
    calls = calls_for(time.perf_counter() - started, most_calls)
    samples = []
    for replay in range(WARM_UPS + REPLAYS):
        before = time.perf_counter()
        for at in range(calls):
            call(at)
        if replay >= WARM_UPS:
            samples.append((time.perf_counter() - before) / calls * 1e6)
    return Timing("perf_counter", calls, samples, time.perf_counter() - started)


def calls_for(seconds: float, most_calls: int = MOST_CALLS) -> int:
    """How many calls of so many seconds make one replay of `REPLAY_S`."""
    return max(1, min(most_calls, round(REPLAY_S / max(seconds, 1e-9))))


def _by_graph(call: Call, target: Target, regime: Regime, accept: Accept, most_calls: int) -> Timing:
    trial = min(TRIAL_CALLS, most_calls)
    graph, _ = capture(call, trial)
    seconds = _replays(graph, 2, 1)[-1] / trial
    calls = calls_for(seconds, most_calls)
    graph, out = capture(call, calls)
    out.fill_(float("nan") if out.is_floating_point() else 0)  # what a replay does not write must not look right
    graph.replay()
    torch.cuda.synchronize()
    accept(out)
    return _timed(graph, target, calls, seconds * calls, regime)


def _timed(graph: torch.cuda.CUDAGraph, target: Target, calls: int, replay_s: float, regime: Regime) -> Timing:
    """Samples in windows no longer than the regime's. The rest after one is what the next has to wait for, so that
    the host's work between two measurements counts as rest."""
    target.pause()
    started = time.perf_counter()
    while time.perf_counter() - started < regime.warm_s:
        _replays(graph, max(1, int(regime.window_s / replay_s)), 0)
    fit = int(regime.window_s / replay_s)
    samples: list[float] = []
    busy = 0.0
    while len(samples) < REPLAYS:
        target.pause()
        warm = 1 if samples else WARM_UPS
        before = time.perf_counter()
        times = _replays(graph, min(REPLAYS - len(samples), max(1, fit - warm)), warm)
        samples += [seconds / calls * 1e6 for seconds in times]
        after = time.perf_counter()
        busy += after - before
        target.not_before = after + regime.rest_s(after - before)
    return Timing("graph", calls, samples, busy)


def _replays(graph: torch.cuda.CUDAGraph, count: int, warm: int) -> list[float]:
    """Seconds of each of `count` replays after `warm` untimed ones; all are queued before the first is waited for."""
    marks: list[tuple[Any, Any]] = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)
    ]
    for _ in range(warm):
        graph.replay()
    for start, end in marks:
        start.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e-3 for start, end in marks]


def capture(call: Call, calls: int, warm_ups: int = WARM_UPS) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """A CUDA graph of `calls` calls and the result of the last one, which lives in the graph's memory.

    Warm-up and capture run on one side stream, as libraries make workspaces and plans per stream at the first call.
    Raises `CaptureError`.
    """
    stream = _side_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for at in range(warm_ups):
            call(at)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    collecting = gc.isenabled()
    gc.disable()  # a collection could destroy an earlier graph in the middle of this capture
    with torch.cuda.stream(stream):
        # thread_local: what other threads do (the profiler's, the search's) must not break the capture
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            out = _last(call, calls)
            graph.capture_end()
        except RuntimeError as error:
            with suppress(RuntimeError):
                graph.capture_end()
            raise CaptureError(f"no CUDA graph: {error}") from error
        finally:
            if collecting:
                gc.enable()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    return graph, out


@cache
def _side_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # one for all, since cuBLAS keeps a workspace for each stream that it has seen


def _last(call: Call, calls: int) -> Tensor:
    """The result of the last of `calls` calls; each earlier one is dropped, so that the graph reuses its memory."""
    for at in range(calls - 1):
        call(at)
    return call(calls - 1)


def by_profiler(call: Call, most_calls: int) -> Timing:
    """Kernel times of single calls as the profiler records them: without the gaps between a call's kernels."""
    calls = min(2 * REPLAYS, most_calls)
    for at in range(WARM_UPS):
        call(at)
    kernels = _profiled(call, calls)
    if not kernels or len(kernels) % calls:
        raise AnalysisError(f"the profiler saw {len(kernels)} kernels in {calls} calls, which cannot be told apart")
    each = len(kernels) // calls
    times = [sum(microseconds for _, microseconds in kernels[at : at + each]) for at in range(0, len(kernels), each)]
    return Timing("profiler", 1, times, sum(times) * 1e-6)


def kernels_of(call: Call, target: Target) -> list[list[Any]]:
    """Kernels of one call: name, how often, microseconds in all; longest first. [] on a CPU."""
    if not target.cuda:
        return []
    found: dict[str, list[Any]] = {}
    for name, microseconds in _profiled(call, 1):
        row = found.setdefault(name, [name, 0, 0.0])
        row[1] += 1
        row[2] += microseconds
    return sorted(found.values(), key=lambda row: -row[2])


def _profiled(call: Call, calls: int) -> list[tuple[str, float]]:
    """Name and microseconds of each kernel of so many calls, in the order in which they ran on the card."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as recorded:
        for at in range(calls):
            call(at)
        torch.cuda.synchronize()
    events: list[Any] = [event for event in recorded.events() or () if event.device_type == DeviceType.CUDA]
    events.sort(key=lambda event: event.time_range.start)
    return [(event.name, event.time_range.elapsed_us()) for event in events if not event.name.startswith(NO_KERNELS)]

"""Suite `energy`: joules of a product, from the card's energy counter over seconds of graph replay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.nvml import smi_state
from zerocast.analysis.measure.machine.target import Target
from zerocast.analysis.measure.machine.timing import calls_for, capture
from zerocast.analysis.measure.protocol import Session, Unit
from zerocast.analysis.measure.suites.gemm import shapes_for, usable_variants
from zerocast.analysis.measure.suites.products import make_product
from zerocast.analysis.measure.suites.shapes import VARIANTS, Shape, Variant, measuring_order, refusal

REPEATS = 3
SHAPES_BESIDE_ANCHORS = 8
SETTLE_S = 2.0
"""Rest before the idle power is read, since a card's power falls for some time after a load. A choice."""
BATCH_S = 0.05
"""Replays queued at a time."""


class Meter(Protocol):
    """Joules used since some moment in the past. source: how they are known."""

    source: str

    def joules(self) -> float: ...


@dataclass
class CounterMeter:
    """The card's own counter."""

    read: Callable[[], float]
    source: str = "nvml total energy counter"

    def joules(self) -> float:
        return self.read()


class SampledMeter:
    """Power as `nvidia-smi` reports it, integrated by the trapezoid rule at each reading; for want of a counter."""

    source = "nvidia-smi power, integrated"

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._joules = 0.0
        self._last = (time.perf_counter(), self._power())

    def joules(self) -> float:
        now, power = time.perf_counter(), self._power()
        self._joules += (now - self._last[0]) * (power + self._last[1]) / 2
        self._last = (now, power)
        return self._joules

    def _power(self) -> float:
        power = smi_state(self._uuid).get("power_w")
        if not isinstance(power, float):
            raise AnalysisError("nvidia-smi reports no power")
        return power


def measure_energy(session: Session, meter: Meter | None = None) -> None:
    """Idle power, then about twenty shapes, dense and 2:4. meter: instead of the card's own."""
    probe = session.attempt("probe", Unit("energy/probe", {"variant": "energy"}, lambda: _probe(session, meter)))
    if probe["error"]:
        return
    # one type: seconds of load for each value leave time for no more
    first = VARIANTS[session.options.variants[0]].dtype
    used = usable_variants(session, tuple(name for name in session.options.variants if VARIANTS[name].dtype == first))
    found = meter or find_meter(session.target)
    session.planned = 1 + len(used) * len(energy_shapes(session))
    session.work("energy", _units(session, found, used))


def find_meter(target: Target) -> Meter:
    """The card's energy counter, or sampled power. Raises `AnalysisError` where there is neither."""
    if not target.cuda:
        raise AnalysisError("no energy counter: a CPU's is not read here, give --device cuda")
    if target.sensors is not None:
        try:
            target.sensors.joules()
            return CounterMeter(target.sensors.joules)
        except OSError:
            pass
    return SampledMeter(target.uuid)


def energy_shapes(session: Session) -> list[Shape]:
    """Anchors and some calibration shapes spread over log shape space."""
    shapes = shapes_for(session)
    calibration = [shape for shape in shapes if shape.role == "calibration"]
    anchors = [shape for shape in shapes if shape.role == "anchor"]
    return anchors + measuring_order(calibration, session.options.seed)[:SHAPES_BESIDE_ANCHORS]


def _probe(session: Session, meter: Meter | None) -> dict[str, Any]:
    """Whether the counter counts: a second's load must use energy."""
    found = meter or find_meter(session.target)
    if _load(session, Shape("probe", "", "", 256, 512, 512), VARIANTS["bf16_dense"], found, 1.0)["joules"] <= 0:
        raise AnalysisError("the energy counter stands still; energy is not measured")
    return {"source": found.source}


def _units(session: Session, meter: Meter, variants: list[Variant]) -> Iterator[Unit]:
    yield Unit("energy/idle", {"variant": "idle"}, lambda: _idle(session, meter))
    for place, shape in enumerate(energy_shapes(session)):
        for variant in variants if place % 2 == 0 else reversed(variants):
            if not refusal(variant, shape.m, shape.n, shape.k):
                yield _unit(session, meter, shape, variant)


def _unit(session: Session, meter: Meter, shape: Shape, variant: Variant) -> Unit:
    fields = {
        "role": shape.role, "network": shape.network, "op": shape.op, "M": shape.m, "N": shape.n, "K": shape.k,
        "variant": variant.name, "dtype": variant.dtype, "sparsity": "2:4" if variant.sparse else "dense",
        "algorithm": "default",
    }  # fmt: skip
    return Unit(f"energy/{shape.key}/{variant.name}", fields, lambda: _energy(session, meter, shape, variant))


def _idle(session: Session, meter: Meter) -> dict[str, Any]:
    time.sleep(min(SETTLE_S, session.options.energy_s))
    powers = []
    for _ in range(REPEATS):
        before, started = meter.joules(), time.perf_counter()
        time.sleep(session.options.energy_s)
        powers.append((meter.joules() - before) / (time.perf_counter() - started))
    return {"power_w_median": float(np.median(powers)), "power_w_min": min(powers), "power_w_max": max(powers),
            "n": REPEATS, "source": meter.source}  # fmt: skip


def _energy(session: Session, meter: Meter, shape: Shape, variant: Variant) -> dict[str, Any]:
    """Energy and time of one call under load without rests: the sustained regime, whatever the session's."""
    runs = [_load(session, shape, variant, meter, session.options.energy_s) for _ in range(REPEATS)]
    joules = [run["joules"] / run["calls"] for run in runs]
    return {
        "regime": "sustained",
        "duty_cycle": 1.0,
        "joules_per_call": float(np.median(joules)),
        "joules_min": min(joules),
        "joules_max": max(joules),
        "power_w_median": float(np.median([run["joules"] / run["seconds"] for run in runs])),
        "median_us": float(np.median([run["seconds"] / run["calls"] for run in runs])) * 1e6,
        "n": REPEATS,
        "source": meter.source,
    }


def _load(session: Session, shape: Shape, variant: Variant, meter: Meter, seconds: float) -> dict[str, float]:
    """Run a product for so many seconds; joules, seconds and calls of it."""
    target = session.target
    product = make_product(variant, shape.m, shape.n, shape.k, target, session.options.seed)
    product.accept(product.call(0))
    burst, calls = _burst(product.call, target)
    burst()
    target.synchronize()
    started, before, done = time.perf_counter(), meter.joules(), 0
    while time.perf_counter() - started < seconds:
        burst()
        target.synchronize()
        done += calls
    joules, elapsed = meter.joules() - before, time.perf_counter() - started
    return {"joules": joules, "seconds": elapsed, "calls": float(done)}


def _burst(call: Callable[[int], torch.Tensor], target: Target) -> tuple[Callable[[], None], int]:
    """Some `BATCH_S` of work to be queued at once, and how many calls it holds."""
    target.synchronize()
    started = time.perf_counter()
    if not target.cuda:
        call(0)
        calls = calls_for(time.perf_counter() - started)

        def burst() -> None:
            for at in range(calls):
                call(at)

        return burst, calls
    graph, _ = capture(call, 8)
    graph.replay()
    target.synchronize()
    started = time.perf_counter()
    graph.replay()
    target.synchronize()
    calls = calls_for((time.perf_counter() - started) / 8)
    graph, out = capture(call, calls)
    started = time.perf_counter()
    graph.replay()
    target.synchronize()
    replays = max(1, int(BATCH_S / (time.perf_counter() - started)))

    def queued() -> None:
        for _ in range(replays):
            graph.replay()
        assert out is not None  # the graph writes there: its memory must outlive the replays

    return queued, calls * replays

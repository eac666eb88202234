"""From a schedule to a run: distinct points priced, ramps refined where costs bend, all integrated over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from zerocast.accelerators import variants
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network, Steps, silent, title_of
from zerocast.analysis.train.jobs import Job, chore_of, jobs_of
from zerocast.analysis.train.prices import Cost, Prices, prices
from zerocast.analysis.train.trained import Curve, Part, Trained
from zerocast.workloads.schedules import Schedule, Segment
from zerocast.workloads.schedules.schedule import DENSE, MOST_LEVELS

ENOUGH = 0.005
"""Straight lines between priced sparsities are good enough where they are off by no more of a ramp's time or energy, as
their middles tell."""
_ALONG = 60
"""Places of a ramp at which its curve is drawn."""


def train(
    network: Network,
    schedule: Schedule,
    steps: int,
    accelerator: str,
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    announce: Steps = silent,
) -> Trained:
    """Price a run of `steps` training steps of a network under a schedule.

    network: without a recipe, which the schedule has. settings: values of the accelerator by dotted path. folder:
    keeps workloads and results, so that a stopped run goes on where it was. Raises `AnalysisError` for what cannot be
    priced, and the errors of `variants`.
    """
    if steps < 1:
        raise AnalysisError(f"--steps {steps}: must be 1 or more")
    if network.is_saved:
        raise AnalysisError(f"{network.model}: a schedule prunes the network itself; give the model, no workload")
    if network.dense and all(segment.recipe == DENSE for segment in schedule.segments):
        raise AnalysisError(f"--dense: {schedule.text} has no recipe that could leave layers alone; leave it out")
    machine = variants(accelerator, settings or {})
    name = machine.build({}).name  # its mistakes before the long work
    with prices(network, machine, folder, announce) as priced:
        knots = {segment: _knots(schedule, segment, steps, priced) for segment in schedule.segments if segment.ramp}
        jobs = jobs_of(schedule, steps, {segment: known for segment, (known, _) in knots.items()})
        priced.price([Job(DENSE), *(job for job, _ in jobs)])
        return _trained(network, schedule, steps, name, priced, knots)


Knots = dict[Segment, tuple[list[float], float]]
"""For each ramp, the sparsities at which it is priced, and the largest error in the middle between them."""


def _knots(schedule: Schedule, segment: Segment, steps: int, priced: Prices) -> tuple[list[float], float]:
    """Sparsities at which a ramp is priced: all its levels, or as many as its bends need. The interval whose middle
    tells the largest error is halved; the errors are those of lines without the middles, so what is stated is more than
    what is left."""
    known = schedule.knots(segment, steps)
    if segment.levels(steps):
        return known, 0.0
    priced.price(_job(segment, sparsity) for sparsity in known)
    spans = _measured(segment, [(known[0], known[-1])], priced)
    while sum(spans.values()) > ENOUGH and 2 * len(spans) + 3 <= MOST_LEVELS:
        low, high = max(spans, key=spans.__getitem__)
        del spans[low, high]
        spans |= _measured(segment, [(low, (low + high) / 2), ((low + high) / 2, high)], priced)
    places = {place for low, high in spans for place in (low, (low + high) / 2, high)}
    return sorted(places), sum(spans.values())


def _measured(segment: Segment, spans: list[tuple[float, float]], priced: Prices) -> dict[tuple[float, float], float]:
    """For each interval, by which share of the mean step's time or energy, whichever is more, the straight line over
    it misses its middle, times its share of the ramp's steps."""
    priced.price(_job(segment, sum(span) / 2) for span in spans)
    return {(low, high): _bend(segment, low, high, priced) for low, high in spans}


def _bend(segment: Segment, low: float, high: float, priced: Prices) -> float:
    assert segment.ramp is not None
    first, between, last = (priced[_job(segment, sparsity)] for sparsity in (low, (low + high) / 2, high))
    off = max(
        abs((getattr(first, name) + getattr(last, name)) / 2 / getattr(between, name) - 1)
        for name in ("latency_s", "energy_j") if getattr(between, name)
    )  # fmt: skip
    return off * (segment.ramp.share_at(high) - segment.ramp.share_at(low))


def _job(segment: Segment, sparsity: float) -> Job:
    return Job(segment.recipe_at(sparsity), segment.training)


def _trained(
    network: Network, schedule: Schedule, steps: int, accelerator: str, priced: Prices, knots: Knots
) -> Trained:
    parts: list[Part] = []
    curve = _Drawn()
    at, masks = 0.0, 0
    for place, segment in enumerate(schedule.segments):
        known, bend = knots.get(segment, ([], 0.0))
        points = schedule.points(segment, steps, known)
        costs = [(point.steps, priced[Job(point.recipe, point.training)]) for point in points]
        whole = segment.share * steps
        parts.append(_part(_words(segment), at, whole, costs, bend))
        curve.add(segment, at, whole, priced, known)
        for upkeep in segment.upkeep:
            if times := segment.times(upkeep, steps):
                cost = priced[chore_of(schedule, place, upkeep)]
                parts.append(_part(f"{upkeep.what} of weights", at, times, [(times, cost)], 0.0, beside=True))
                masks += times * (upkeep.what == "mask")
        at += whole
    changes = [after - before for before, after in pairwise(curve.values["weights"])]
    dense = priced[Job(DENSE)]
    return Trained(
        title_of(network.model), accelerator, schedule, at, tuple(parts), _part(DENSE, 0, at, [(at, dense)], 0.0),
        dense.weights, priced.distinct, masks,
        -sum(change for change in changes if change < 0), sum(change for change in changes if change > 0),
        Curve(curve.steps, curve.values),
    )  # fmt: skip


def _part(
    what: str, first: float, steps: float, costs: list[tuple[float, Cost]], bend: float, beside: bool = False
) -> Part:
    """Costs times how many steps each stands for, added up. beside: a chore, which has no weights of its own."""

    def total(column: str) -> float:
        return float(sum(count * getattr(cost, column) for count, cost in costs))

    return Part(
        what, first, steps, total("latency_s"), total("energy_j"), total("flops"), total("dense_flops"),
        total("dram_bytes"), 0.0 if beside else total("weights") / steps, total("swapped"),
        0.0 if beside else max(cost.peak_bytes for _, cost in costs), bend,
    )  # fmt: skip


def _words(segment: Segment) -> str:
    if segment.ramp is None:
        return segment.recipe if segment.training else f"{segment.recipe}, inference"
    return f"{segment.recipe}, sparsity {segment.ramp.start:g} to {segment.ramp.end:g}"


@dataclass
class _Drawn:
    """The curve while it grows."""

    def __post_init__(self) -> None:
        self.steps: list[float] = []
        self.values: dict[str, list[float]] = {name: [] for name in Cost.__dataclass_fields__}

    def add(self, segment: Segment, first: float, steps: float, priced: Prices, known: list[float]) -> None:
        """What a step costs along a segment; on straight lines between the priced sparsities of a ramp."""
        import numpy as np

        if segment.ramp is None:
            found = [priced[Job(segment.recipe, segment.training)]] * 2
            shares = [0.0, 1.0]
            rows = {name: [getattr(cost, name) for cost in found] for name in self.values}
        else:
            shares = [place / _ALONG for place in range(_ALONG + 1)]
            places = [segment.ramp.sparsity(share) for share in shares]
            costs = [priced[_job(segment, sparsity)] for sparsity in known]
            rows = {
                name: np.interp(places, known, [getattr(cost, name) for cost in costs]).tolist() for name in self.values
            }
        self.steps += [first + share * steps for share in shares]
        for name, row in rows.items():
            self.values[name] += row

"""What came of a run: totals, and the parts that it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zerocast.workloads.schedules import Schedule


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a run, or the chores in it. steps: how many, or how often. Sums over these: time_s, energy_j, flops
    (two of each multiply-accumulate of nonzeros), dense_flops (of all), dram_bytes, swapped (weights that moving masks
    drop for others). weights: nonzero ones, on average over the steps; peak_bytes: the most. bend: by which share
    straight lines between priced sparsities miss their middles, on average over a ramp."""

    what: str
    first_step: float
    steps: float
    time_s: float
    energy_j: float
    flops: float
    dense_flops: float
    dram_bytes: float
    weights: float
    swapped: float
    peak_bytes: float
    bend: float = 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """What a step costs along the run, for pictures: step numbers, and by name as many values."""

    steps: Sequence[float]
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Trained:
    """A whole run. steps: of all its runs together. dense: the same steps of the dense network. distinct: points that
    were priced. masks_made: how often masks are made anew by chores; pruned, regrown: weights that leave and enter the
    mask from point to point of the schedule; what moving masks swap at one density is total("swapped")."""

    model: str
    accelerator: str
    schedule: Schedule
    steps: float
    parts: tuple[Part, ...]
    dense: Part
    parameters: float
    distinct: int
    masks_made: int
    pruned: float
    regrown: float
    curve: Curve

    def total(self, column: str) -> float:
        """Sum of a column over all parts."""
        return float(sum(getattr(part, column) for part in self.parts))

    @property
    def time_s(self) -> float:
        """Time of the run in s."""
        return self.total("time_s")

    @property
    def density(self) -> float:
        """Mean density of the weights that recipes prune (`Schedule.density`)."""
        return self.schedule.density(self.steps / self.schedule.runs)

    @property
    def average_weights(self) -> float:
        """Nonzero weights, on average over the steps."""
        return sum(part.weights * part.steps for part in self.parts if part.weights) / self.steps

    @property
    def peak_bytes(self) -> float:
        """The most off-chip memory that any step needs."""
        return max(part.peak_bytes for part in self.parts)

    @property
    def bend(self) -> float:
        """The largest error of a ramp's interpolated time or energy, as the middles between priced sparsities tell."""
        return max(part.bend for part in self.parts)

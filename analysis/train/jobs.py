"""What a run consists of: steps of the network under recipes, chores on its weights, and how often each comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zerocast.analysis.run.network import Network, Steps
from zerocast.analysis.train.captured import Lowering
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.files.runs import Run
from zerocast.workloads.ir import Workload
from zerocast.workloads.schedules import Schedule, Segment, Upkeep, parse_schedule
from zerocast.workloads.schedules.schedule import DENSE
from zerocast.workloads.schedules.upkeep import upkeep

SPARSITIES = 9
"""At which a continuous ramp is priced in a space of designs, evenly from its start to its end."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is priced: the network under a recipe, or a chore on its weights. training: a training step."""

    recipe: str
    training: bool = True
    chore: Upkeep | None = None

    @property
    def words(self) -> str:
        """For errors."""
        return f"{self.chore.what} under {self.recipe}" if self.chore else f"recipe {self.recipe}"

    def network(self, network: Network) -> Network:
        """The network that its step runs."""
        recipe = None if self.recipe == DENSE else self.recipe
        found = replace(network, prune=recipe, training=self.training, dense=network.dense if recipe else (),
                        schedule=None, steps=None)  # fmt: skip
        return found if self.training else replace(found, optimizer=None, update=None, checkpoint=())

    def workload(self, step: Workload) -> Workload:
        """What is run, from the network's step."""
        return step if self.chore is None else upkeep(step, self.chore.what)


def jobs_of(schedule: Schedule, steps: int, knots: Mapping[Segment, Sequence[float]]) -> list[tuple[Job, float]]:
    """All that a run of `steps` does, and how often. knots: sparsities at which ramps are priced."""
    found: list[tuple[Job, float]] = []
    for place, segment in enumerate(schedule.segments):
        points = schedule.points(segment, steps, knots.get(segment, ()))
        found += [(Job(point.recipe, point.training), point.steps) for point in points]
        found += [
            (chore_of(schedule, place, each), times) for each in segment.upkeep if (times := segment.times(each, steps))
        ]
    return found


def chore_of(schedule: Schedule, place: int, chore: Upkeep) -> Job:
    """A chore under the segment's own recipe; one at the end of it, under that of the next."""
    after = schedule.segments[min(place + (chore.every is None), len(schedule.segments) - 1)]
    return Job(after.recipe_at(after.ramp.end if after.ramp else 0.0), chore=chore)


def lowered_run(network: Network, announce: Steps) -> Run:
    """A network with a schedule as a run, its ramps at `SPARSITIES`. Raises `WorkloadError` for what cannot be
    lowered."""
    assert network.schedule is not None and network.steps is not None
    if network.is_saved:
        raise WorkloadError(f"{network.model}: a schedule prunes the network itself; give the model, no workload")
    schedule, lowering = parse_schedule(network.schedule, network.prune), Lowering()
    ramps = {
        segment: [ramp.start + (ramp.end - ramp.start) * place / (SPARSITIES - 1) for place in range(SPARSITIES)]
        for segment in schedule.segments if (ramp := segment.ramp) and not segment.levels(network.steps)
    }  # fmt: skip
    often: dict[Job, float] = {}
    for job, times in jobs_of(schedule, network.steps, ramps):
        often[job] = often.get(job, 0.0) + times
    parts = tuple((times, job.workload(lowering(job.network(network), announce))) for job, times in often.items())
    batch, count = parts[0][1].meta.get("batch"), schedule.runs * network.steps
    return Run(parts, batch * count if isinstance(batch, (int, float)) else None)

"""What a schedule's text says: its generator, its numbers, its chores. No torch in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.fields import Fields
from zerocast.workloads.schedules import generators
from zerocast.workloads.schedules.schedule import DENSE, Chore, Schedule, Upkeep

CHORES: tuple[Chore, ...] = ("mask", "average", "project")
"""Options of any schedule: what is done every so many steps."""


class Generator(NamedTuple):
    """How a schedule is spelled, what it does, the recipe that it takes where none is given ("": it may name its own),
    what makes it of its fields, and whether its first field is a text that keeps its own colons."""

    spelling: str
    meaning: str
    recipe: str
    make: Callable[[Fields, str], Schedule]
    whole: bool = False


GENERATORS = {
    "constant": Generator(
        "constant[:RECIPE]", "the same recipe at every step", "", generators.constant, whole=True
    ),
    "cubic": Generator(
        "cubic:S0-S1@FROM-TO", "sparsity rises by the cubic ramp, e.g. 0-0.8@25%-75%", "magnitude", generators.cubic
    ),
    "linear": Generator("linear:S0-S1@FROM-TO", "sparsity rises on a straight line", "magnitude", generators.linear),
    "nm-decay": Generator(
        "nm-decay:sparsify|densify|fine:N:M[:dense=SHARE][:tune=SHARE]",
        "N:M groups that get sparser (M-1:M, M/2:M, ...), shorter at one N, or shorter at one density",
        "srste", generators.nm_decay,
    ),
    "imp": Generator(
        "imp:ROUNDS|SPARSITY%:PRUNED[:rewind=SHARE|:retrain=SHARE][:models=M]",
        "a dense run, then ROUNDS runs, each on fewer weights by the share PRUNED; models: soups of M averaged ones",
        "magnitude", generators.imp,
    ),
    "switch": Generator(
        "switch:RECIPE@SHARE,...,RECIPE", "recipes one after the other; the last takes the rest", "", generators.switch,
        whole=True,
    ),
    "file": Generator(
        "file:PATH.csv", "rows `until` (a share of the steps) and `recipe`, or `sparsity` of --recipe", "",
        generators.from_file, whole=True,
    ),
}  # fmt: skip
"""Name -> how it is spelled and made. Any but those of whole texts also take `mask=STEPS`, `average=STEPS` and
`project=STEPS`: a new mask, an average of weights, a projection, every so many steps."""


def schedules() -> dict[str, str]:
    """Name of each generator -> one line: its grammar and what it does."""
    return {name: f"{each.spelling}  {each.meaning}" for name, each in GENERATORS.items()}


def parse_schedule(text: str, recipe: str | None = None) -> Schedule:
    """The schedule that `text` spells.

    recipe: what is pruned, less the numbers that the schedule gives: `magnitude:erk` of a ramp, `bdwp` of an N:M
    decay, a whole recipe of `constant`. Raises `WorkloadError` for an unknown generator, numbers out of range, a
    schedule that does not cover all steps, and a recipe that lacks what the schedule varies.
    """
    name, _, rest = text.strip().partition(":")
    if name not in GENERATORS:
        raise WorkloadError(f"unknown schedule {text!r}; there are {', '.join(GENERATORS)}")
    generator = GENERATORS[name]
    if generator.whole:
        return generator.make(Fields(text, generator.spelling, (rest,), {}), recipe or generator.recipe)
    fields = Fields.of(text, generator.spelling, rest)
    chores = tuple(Upkeep(chore, fields.steps(chore)) for chore in CHORES if chore in fields.options)
    made = generator.make(fields, recipe or generator.recipe)
    fields.refuse_unread(CHORES)
    return with_chores(made, chores)


def with_chores(schedule: Schedule, chores: tuple[Upkeep, ...]) -> Schedule:
    """The schedule with these done in every segment that is pruned (masks of a ramp while it rises alone)."""
    ramps = any(segment.ramp for segment in schedule.segments)
    return replace(schedule, segments=tuple(
        replace(segment, upkeep=(*segment.upkeep, *(
            chore for chore in chores if not (chore.what == "mask" and ramps and segment.ramp is None)
        ))) if segment.recipe != DENSE else segment
        for segment in schedule.segments
    ))  # fmt: skip

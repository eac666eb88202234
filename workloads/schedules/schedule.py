"""A training run as an ordered list of segments, and the steps that stand for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes.grammar import GRAMMAR, NOT_OF_WEIGHTS, chain
from zerocast.workloads.schedules.ramp import Ramp

MOST_LEVELS = 17
"""Levels of a ramp that are priced one by one; where mask updates make more, costs lie on lines between as many."""
DENSE = "dense"

Chore = Literal["mask", "average", "project"]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Work on the weights beside the steps: a new mask, an average with those of before, a projection onto the mask.

    every: steps from one to the next; None for once, at the end of the segment.
    """

    what: Chore
    every: int | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a run. share: of the steps of one run. recipe: of its steps; with a ramp, one whose density the ramp
    gives (`magnitude`, `block:4x1`). training: whether they are training steps."""

    share: float
    recipe: str
    ramp: Ramp | None = None
    training: bool = True
    upkeep: tuple[Upkeep, ...] = ()

    def recipe_at(self, sparsity: float) -> str:
        """The recipe at a sparsity of the ramp."""
        return self.recipe if self.ramp is None else with_density(self.recipe, 1 - sparsity)

    def times(self, upkeep: Upkeep, steps: int) -> int:
        """How often it is done in a segment of a run of `steps`."""
        return 1 if upkeep.every is None else int(self.share * steps / upkeep.every + 1e-9)

    def levels(self, steps: float) -> dict[float, float]:
        """Sparsities that mask updates make of the ramp -> share of the segment's steps, the last of which may be cut
        short; empty where the ramp is taken as continuous."""
        every = next((u.every for u in self.upkeep if u.what == "mask" and u.every), None)
        if self.ramp is None or every is None:
            return {}
        length = every / (self.share * steps)
        count = math.ceil(1 / length - 1e-9)
        if count > MOST_LEVELS:
            return {}
        return {self.ramp.sparsity(at * length): min(length, 1 - at * length) for at in range(count)}


@dataclass(frozen=True, slots=True)
class Point:
    """Steps that cost alike. recipe: theirs; steps: how many (a share of one where costs are interpolated)."""

    recipe: str
    training: bool
    steps: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run: its segments in order. runs: how many times the steps of one run they take together (iterative pruning
    trains again and again). Raises `WorkloadError` where the segments do not cover that."""

    text: str
    segments: tuple[Segment, ...]
    runs: float = 1.0

    def __post_init__(self) -> None:
        covered = sum(segment.share for segment in self.segments)
        if any(segment.share <= 0 for segment in self.segments):
            raise WorkloadError(f"schedule {self.text!r}: a segment takes no steps; leave it out")
        if abs(covered - self.runs) > 1e-9:
            raise WorkloadError(
                f"schedule {self.text!r} covers {covered / self.runs:.4g} of the steps; its shares must add up to all"
            )
        for segment in self.segments:
            chain(segment.recipe_at(segment.ramp.end if segment.ramp else 0.0))

    def knots(self, segment: Segment, steps: float) -> list[float]:
        """Sparsities of a ramp at which its cost must be known: all levels where they are few, else its ends."""
        ramp = segment.ramp
        assert ramp is not None
        return list(segment.levels(steps)) or [ramp.start, ramp.end]

    def points(self, segment: Segment, steps: float, knots: Sequence[float] = ()) -> list[Point]:
        """Steps of a segment of a run of `steps`, whose costs add up to the segment's. knots: sparsities of a
        continuous ramp between which costs are taken as linear, its ends among them."""
        whole = segment.share * steps
        if segment.ramp is None:
            return [Point(segment.recipe, segment.training, whole)]
        known = sorted(knots or self.knots(segment, steps))
        shares = segment.levels(steps) or dict(zip(known, segment.ramp.weights(known), strict=True))
        return [
            Point(segment.recipe_at(sparsity), segment.training, whole * share) for sparsity, share in shares.items()
        ]

    def density(self, steps: float) -> float:
        """Mean density over a run of `steps` of the weights that recipes prune. Exact: a density is linear between the
        ends of a ramp."""
        points = [point for segment in self.segments for point in self.points(segment, steps)]
        return sum(density_of(point.recipe) * point.steps for point in points) / (self.runs * steps)


def density_of(recipe: str) -> float:
    """Share of the pruned weights that a recipe keeps; NaN where files or the weights themselves tell it, and where the
    recipe counts something else than weights."""
    kept = 1.0
    for parsed in chain(recipe):
        if parsed.file or parsed.held or parsed.changes_module or parsed.family in NOT_OF_WEIGHTS:
            return math.nan
        kept *= parsed.n / parsed.m if parsed.m > 1 else parsed.density
    return kept


def with_density(recipe: str, density: float) -> str:
    """A recipe without its density, such as `magnitude:erk` or `block:4x1`, with it; `dense` for all weights. Of a
    chain, the last recipe.

    Raises `WorkloadError` for a recipe that has none.
    """
    before, plus, last = recipe.rpartition("+")
    if plus:
        given = with_density(last, density)
        return before if given == DENSE else f"{before}+{given}"
    family, *fields = recipe.split(":")
    places = GRAMMAR[family].spelling.partition("[")[0].split(":")[1:] if family in GRAMMAR else []
    if "DENSITY" not in places:
        have = ", ".join(name for name, each in GRAMMAR.items() if "DENSITY" in each.spelling)
        raise WorkloadError(f"recipe {recipe!r}: a ramp gives the density of a recipe that has one; take {have}")
    if density >= 1:
        return DENSE
    fields.insert(places.index("DENSITY"), f"{round(density, 10):.10g}")
    return ":".join((family, *fields))


def with_groups(recipe: str, n: int, m: int) -> str:
    """A recipe of N of M without its numbers (`srste`), with them. Raises `WorkloadError` for any other."""
    if recipe not in GRAMMAR or GRAMMAR[recipe].spelling != f"{recipe}:N:M":
        have = ", ".join(name for name, each in GRAMMAR.items() if each.spelling == f"{name}:N:M")
        raise WorkloadError(f"recipe {recipe!r}: this schedule gives N and M; take {have}, without numbers")
    return DENSE if n == m else f"{recipe}:{n}:{m}"

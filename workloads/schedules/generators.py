"""Generators of schedules: from the fields of a text and a recipe to segments. Registered in `grammar.py`."""

from __future__ import annotations

import math
import re
from pathlib import Path

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.fields import Fields
from zerocast.workloads.files.rows import read_rows
from zerocast.workloads.schedules.ramp import Ramp
from zerocast.workloads.schedules.schedule import DENSE, Schedule, Segment, Upkeep, with_density, with_groups

DECAY_STAGES = 4
"""Of the decays `densify` and `fine`, as in the code of Progressive Gradient Flow (Bambhaniya et al., 2024)."""
_BETWEEN = re.compile(r"(?P<low>[\d.]+)-(?P<high>[\d.]+)@(?P<first>[\d.]+%?)-(?P<last>[\d.]+%?)")
_SHARED = re.compile(r"(?P<recipe>.+)@(?P<share>[\d.]+%)")


def constant(fields: Fields, recipe: str) -> Schedule:
    """One recipe from the first step to the last."""
    if fields.plain[0]:
        fields.refuse_recipe(recipe)
    return Schedule(fields.text, (Segment(1.0, fields.plain[0] or recipe or DENSE),))


def cubic(fields: Fields, recipe: str) -> Schedule:
    """Gradual pruning by the cubic ramp."""
    return _ramped(fields, recipe, 3)


def linear(fields: Fields, recipe: str) -> Schedule:
    """Gradual pruning on a straight line."""
    return _ramped(fields, recipe, 1)


def _ramped(fields: Fields, recipe: str, power: int) -> Schedule:
    """Before the ramp at its first sparsity, after it at its last; `mask=STEPS` says how often masks are made."""
    (text,) = fields.expect(1)
    found = _BETWEEN.fullmatch(text)
    if found is None:
        fields.refuse()
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError:
        fields.refuse()
    first, last = fields.share(found["first"]), fields.share(found["last"])
    if last <= first:
        fields.refuse(f"the ramp ends at {found['last']}, not after its start at {found['first']}")
    try:
        ramp = Ramp(low, high, power)
    except WorkloadError as error:
        fields.refuse(str(error))
    segments = [
        Segment(first, with_density(recipe, 1 - low)) if first > 0 else None,
        Segment(last - first, recipe, ramp),
        Segment(1 - last, with_density(recipe, 1 - high)) if last < 1 else None,
    ]
    return Schedule(fields.text, tuple(segment for segment in segments if segment))


def nm_decay(fields: Fields, recipe: str) -> Schedule:
    """N:M groups that change in equal stages to N:M, after a dense share and before one of tuning at N:M.

    sparsify: M-1:M, M/2:M, M/4:M, ... N:M; densify: N:8M, N:4M, N:2M, N:M; fine: 8N:8M, 4N:4M, 2N:2M, N:M.
    """
    kind, *numbers = fields.expect(3)
    n, m = (fields.whole(number) for number in numbers)
    if kind not in ("sparsify", "densify", "fine"):
        fields.refuse(f"no decay {kind!r}; choose sparsify, densify or fine")
    if not n < m:
        fields.refuse(f"N must lie below M = {m}")
    dense, tune = fields.option("dense", 0.0), fields.option("tune", 0.0)
    if dense + tune >= 1:
        fields.refuse("dense and tune leave no steps for the decay")
    stages = _stages(fields, kind, n, m)
    share = (1 - dense - tune) / len(stages)
    segments = [Segment(dense, DENSE)] if dense else []
    segments += [Segment(share, with_groups(recipe, *groups)) for groups in stages]
    segments += [Segment(tune, with_groups(recipe, n, m))] if tune else []
    return Schedule(fields.text, tuple(segments))


def _stages(fields: Fields, kind: str, n: int, m: int) -> list[tuple[int, int]]:
    if kind == "sparsify":
        halvings = round(math.log2(m / n))
        if n * 2**halvings != m:
            fields.refuse(f"sparsify halves M = {m} down to N = {n}; M must be N times a power of 2")
        return [(m - 1, m), *((m >> i, m) for i in range(1, halvings + 1))]
    scales = [2**i for i in reversed(range(DECAY_STAGES))]
    return [(n * scale if kind == "fine" else n, m * scale) for scale in scales]


def imp(fields: Fields, recipe: str) -> Schedule:
    """Iterative magnitude pruning: a dense run, then rounds (so many, or until 80% are pruned) on (1 - pruned)^round
    of the weights, each after a new mask. A round starts again at the share `rewind` of the run (Frankle et al., 2019),
    or takes a share `retrain` of it; `models` trains several from each mask and averages them (Zimmer et al., 2023)."""
    rounds_text, pruned_text = fields.expect(2)
    pruned = fields.share(pruned_text)
    if not 0 < pruned < 1:
        fields.refuse(f"each round prunes a share between 0 and 1, not {pruned_text}")
    rounds = _rounds(fields, rounds_text, pruned)
    if {"rewind", "retrain"} <= set(fields.options):
        fields.refuse("rewind=R trains each round for 1 - R of the run, retrain says so itself; give one of them")
    retrain, models = fields.option("retrain", 1 - fields.option("rewind", 0.0)), fields.steps("models")
    if retrain <= 0:
        fields.refuse("rounds must train; rewind to before the end")
    averaged = (Upkeep("average"),) if models > 1 else ()
    segments = [Segment(1.0, DENSE, upkeep=(Upkeep("mask"),))]
    for number in range(1, rounds + 1):
        upkeep = (*averaged, *((Upkeep("mask"),) if number < rounds else ()))
        segments.append(Segment(models * retrain, with_density(recipe, (1 - pruned) ** number), upkeep=upkeep))
    return Schedule(fields.text, tuple(segments), 1 + rounds * models * retrain)


def _rounds(fields: Fields, text: str, pruned: float) -> int:
    """How many: said, or those that reach a sparsity in percent."""
    if not text.endswith("%"):
        return fields.whole(text)
    sparsity = fields.share(text)
    if not 0 < sparsity < 1:
        fields.refuse(f"rounds cannot reach a sparsity of {text}")
    return math.ceil(math.log(1 - sparsity) / math.log(1 - pruned) - 1e-9)


def switch(fields: Fields, recipe: str) -> Schedule:
    """Recipes one after the other, each with its share of the steps but the last, which takes the rest."""
    segments: list[Segment] = []
    parts = fields.plain[0].split(",") if fields.plain[0] else []
    fields.refuse_recipe(recipe)
    for place, part in enumerate(parts, 1):
        found = _SHARED.fullmatch(part.strip())
        if found is None and place < len(parts):
            fields.refuse(f"{part.strip()!r} has no share; write it as {part.strip()}@90%")
        left = 1 - sum(segment.share for segment in segments)
        segments.append(
            Segment(fields.share(found["share"]), found["recipe"]) if found else Segment(left, part.strip())
        )
    if len(segments) < 2:
        fields.refuse()
    return Schedule(fields.text, tuple(segments))


def from_file(fields: Fields, recipe: str) -> Schedule:
    """Rows of a CSV: the share of the steps until which a recipe, or a sparsity of the given one, holds."""
    try:
        rows = read_rows(Path(fields.plain[0]), ("until",))
    except WorkloadError as error:
        fields.refuse(str(error))
    columns = set(rows[0])
    if len(columns & {"recipe", "sparsity"}) != 1:
        fields.refuse("the file needs the columns `until` and one of `recipe` and `sparsity`")
    if "recipe" in columns:
        fields.refuse_recipe(recipe)
    segments, before = [], 0.0
    for row in rows:
        until = fields.share(row["until"])
        if until <= before:
            fields.refuse(f"`until` {row['until']} is not after the row before")
        own = (
            row["recipe"]
            if "recipe" in columns
            else with_density(recipe or "magnitude", 1 - fields.share(row["sparsity"]))
        )
        segments.append(Segment(until - before, own))
        before = until
    return Schedule(fields.text, tuple(segments))

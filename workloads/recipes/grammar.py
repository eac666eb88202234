"""What a recipe's text says: its family and its numbers, and the chain `a+b+c` of several. No torch in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.fields import Fields
from zerocast.workloads.patterns.vnm import COLUMNS
from zerocast.workloads.transforms.grammar import TRANSFORMS, Transform

DISTRIBUTIONS = ("uniform", "erk", "global")
MOVING = {"rigl": ("erk", 0.3), "set": ("erk", 0.3), "granet": ("erk", 0.5), "gmp": ("uniform", 0.0)}
"""Recipes whose masks move while training: how they share a density among layers, and what they drop, if nothing is
said. RigL: Evci et al., ICML 2020. SET: Mocanu et al., Nature Communications 2018. GraNet: Liu et al., NeurIPS 2021.
GMP: Zhu, Gupta, arXiv 1710.01878."""
NOT_OF_WEIGHTS = ("sdgp",)
"""Recipes whose numbers are shares of something else than of the weights: of output gradients."""
HELD = "held"
"""In place of a density: where the weights are nonzero."""
_DENSITY_NOTE = "DENSITY is the share of nonzeros, 0.1 or sparsity=0.9"
_FILE_NOTE = ", or @FILE.csv with columns layer and density"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A parsed recipe: `n` of `m`, or `density` (share of nonzeros) with its distribution or block (k, c).

    v: output channels of a panel of V:N:M.
    file: with the density of each layer, in place of one for all. held: the zeros are those of the weights.
    every: steps from one change of masks to the next; drop: share of the weights that it replaces.
    arguments: of a transform's function, by name; of others, the layers alone that they prune. spares: first layer and
    classifier stay dense, whatever the family does."""

    text: str
    family: str
    n: int = 1
    m: int = 1
    v: int = 1
    density: float = 1.0
    distribution: str = "uniform"
    block: tuple[int, int] = (1, 1)
    file: str = ""
    held: bool = False
    every: int = 0
    drop: float = 0.0
    arguments: tuple[tuple[str, Any], ...] = ()
    spares: bool = False

    @property
    def changes_module(self) -> bool:
        """Whether it changes the layers themselves or their shapes."""
        return GRAMMAR[self.family].changes_module

    @property
    def prunes_ends(self) -> bool:
        """Whether the convention of the recipe prunes the classifier: sparse training spares the first layer at most,
        where all layers have one density, and none where each has its own (Evci et al., ICML 2020, section 3)."""
        return not self.spares and (bool(self.file) or self.held or self.family in ("static", *MOVING))

    @property
    def prunes_first(self) -> bool:
        """Whether its convention prunes the layer that reads the input, too."""
        return self.prunes_ends and (bool(self.file) or self.held or self.distribution == "erk")


def recipes() -> dict[str, str]:
    """Name of each recipe family -> one line: its grammar and what it does."""
    return {name: f"{family.spelling}  {family.does}" for name, family in GRAMMAR.items()}


def chain(text: str) -> tuple[Recipe, ...]:
    """The recipes that `text` joins by `+`, in the order in which they are applied: those that change the module, then
    those that prune what is there. Raises `WorkloadError` as `parse` does, and for any other order."""
    parts: list[str] = []
    for part in text.split("+"):
        if parts and f"{parts[-1]}+{part.partition(':')[0].strip()}" in GRAMMAR:  # a family with a plus in its name
            parts[-1] += f"+{part}"
        else:
            parts.append(part)
    found = tuple(step for part in parts for step in _with_masks(parse(part)))
    for before, after in pairwise(found):
        if after.changes_module and not (before.changes_module or before.family == "dense"):
            raise WorkloadError(
                f"recipe {text!r}: {after.text} changes the layers in which {before.text} leaves zeros; write it first"
            )
    return found


def _with_masks(recipe: Recipe) -> tuple[Recipe, ...]:
    """A recipe, and the static masks that some transforms have their layers get."""
    if recipe.family not in TRANSFORMS or not TRANSFORMS[recipe.family].sparse:
        return (recipe,)
    layers = tuple(each for each in recipe.arguments if each[0] == "layers")
    text = f"static:{recipe.density:g}"
    return recipe, Recipe(text, "static", density=recipe.density, arguments=layers, spares=True)


def parse(text: str) -> Recipe:
    """The one recipe that `text` spells. Raises `WorkloadError` with the grammar where it spells none."""
    text = text.strip()
    family = text.partition(":")[0].partition("@")[0]
    rest = text.removeprefix(family).removeprefix(":")
    fields = rest.split(":") if rest else []
    if family not in GRAMMAR:
        raise WorkloadError(f"unknown recipe {text!r}; {closest(family, GRAMMAR)}")
    return GRAMMAR[family].parse(text, family, fields)


def _nothing(text: str, family: str, fields: list[str]) -> Recipe:
    _expect(text, family, not fields)
    return Recipe(text, family)


def _groups(text: str, family: str, fields: list[str]) -> Recipe:
    """N of M."""
    n, m = _numbers(text, family, fields, 2)
    if not 0 < n <= m:
        raise WorkloadError(f"recipe {text!r}: N must lie between 1 and M = {m}")
    return Recipe(text, family, n=n, m=m)


def _panels(text: str, family: str, fields: list[str]) -> Recipe:
    """V, N and M."""
    v, n, m = _numbers(text, family, fields, 3)
    if v < 1 or not 0 < n <= COLUMNS <= m:
        raise WorkloadError(f"recipe {text!r}: V must be 1 or more, N between 1 and {COLUMNS}, M {COLUMNS} or more")
    return Recipe(text, family, n=n, m=m, v=v)


def _blocks(text: str, family: str, fields: list[str]) -> Recipe:
    """The shape of a block and a density."""
    shape = re.fullmatch(r"(\d+)x(\d+)", fields[0]) if len(fields) == 2 else None
    _expect(text, family, shape is not None and "0" not in shape.groups())
    assert shape is not None
    return Recipe(text, family, density=_density(text, family, fields[1]), block=(int(shape[1]), int(shape[2])))


def _transform(known: Transform, text: str, family: str, fields: list[str]) -> Recipe:
    """What a transform's own reader makes of its fields, and the layers behind `@`."""
    rest = text.removeprefix(family)
    plan = "@" if rest.startswith(":@") else ""  # the file of a plan, and no glob
    first, at, globs = rest.removeprefix(f":{plan}").partition("@")
    given = Fields.of(text, known.spelling, plan + first, "recipe")
    arguments = known.read(given)
    given.refuse_unread(())
    if at:
        if not globs or known.at in arguments:
            given.refuse()
        arguments[known.at] = tuple(globs.split("|"))
    density = 1 - given.share(given.plain[0]) if known.sparse else 1.0
    return Recipe(text, family, density=round(density, 10), arguments=tuple(arguments.items()))


def _unstructured(text: str, family: str, fields: list[str]) -> Recipe:
    """A density, or a file of them, and what may follow it."""
    first, *rest = fields or [""]
    given = [field.split("=", 1) for field in rest if "=" in field] if family in MOVING else []
    options = dict(given)
    words = [field for field in rest if field.partition("=")[0] not in options]
    own, dropped = MOVING.get(family, ("uniform", 0.0))
    allowed = {"DT", "drop"} if dropped else {"DT"}
    held, file = family == "static" and first == HELD, first[1:] if first.startswith("@") else ""
    _expect(text, family, len(words) <= (not file and not held) and set(options) <= allowed
            and len(options) == len(given))  # fmt: skip
    if held or file:
        distribution, density = "uniform", 1.0
    else:
        density, distribution = _density(text, family, first), _distribution(text, words, own, family)
    if family != "magnitude" and density == 0:
        raise WorkloadError(f"recipe {text!r}: a network needs weights; give a density above 0")
    return Recipe(
        text, family, density=density, distribution=distribution, file=file, held=held,
        every=_steps(text, options.get("DT", "100")) if family in MOVING else 0,
        drop=_share(text, options.get("drop", str(dropped))),
    )  # fmt: skip


def _steps(text: str, field: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", field):
        raise WorkloadError(f"recipe {text!r}: DT={field}: masks change every 1 or more whole steps")
    return int(field)


def _share(text: str, field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise WorkloadError(f"recipe {text!r}: drop={field}: the share of weights that are replaced lies in [0, 1]")
    return value


def _numbers(text: str, family: str, fields: list[str], count: int) -> list[int]:
    """So many whole numbers."""
    _expect(text, family, len(fields) == count and all(re.fullmatch(r"\d+", field) for field in fields))
    return list(map(int, fields))


def _expect(text: str, family: str, right: bool) -> None:
    if not right:
        grammar = GRAMMAR[family].spelling
        note = f"; {_DENSITY_NOTE}" if "DENSITY" in grammar else ""
        note += _FILE_NOTE if family in ("magnitude", "static", *MOVING) else ""
        raise WorkloadError(f"recipe {text!r} does not fit its grammar {grammar}{note}")


def _density(text: str, family: str, field: str) -> float:
    name, _, number = field.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = None
    _expect(text, family, value is not None and name in ("", "density", "sparsity"))
    assert value is not None
    if not 0.0 <= value <= 1.0:
        raise WorkloadError(f"recipe {text!r}: {name or 'density'} {number} is outside [0, 1]")
    # 1 - 0.9 is 0.09999999999999998; ten digits are more than any recipe means.
    return round(1.0 - value, 10) if name == "sparsity" else value


def _distribution(text: str, fields: list[str], own: str, family: str) -> str:
    known = DISTRIBUTIONS if family == "magnitude" else DISTRIBUTIONS[:2]
    if fields and fields[0] not in known:
        hint = closest(fields[0], known)
        raise WorkloadError(f"recipe {text!r}: unknown distribution {fields[0]!r}; {hint}")
    return fields[0] if fields else own


class Family(NamedTuple):
    """How a recipe is spelled, what it does, and what reads its text, family and fields. changes_module: it changes the
    layers themselves or their shapes, and so comes before recipes that decide zeros."""

    spelling: str
    does: str
    parse: Callable[[str, str, list[str]], Recipe]
    changes_module: bool = False


GRAMMAR = {
    "dense": Family("dense", "nothing is pruned", _nothing),
    "nm": Family(
        "nm:N:M", "N largest of every M weights along the input channels, the same mask in FF and BP", _groups
    ),
    "vnm": Family(
        "vnm:V:N:M", "panels of V output channels agree on four of every M input channels, each keeps N of them",
        _panels,
    ),
    "bdwp": Family(
        "bdwp:N:M", "training: N:M weights along input channels in FF, output channels in BP; WU dense", _groups
    ),
    "srste": Family(
        "srste:N:M", "training: N:M weights along input channels, selected at each step; WU dense", _groups
    ),
    "sdgp": Family(
        "sdgp:N:M", "training: N:M output gradients along output channels in BP; weights and WU dense", _groups
    ),
    "magnitude": Family(
        "magnitude:DENSITY[:uniform|erk|global]", "largest weights of each layer or of all; WU dense", _unstructured
    ),
    "static": Family(
        "static:DENSITY[:uniform|erk]",
        "training: random masks for good, in FF, BP and WU; static:held, those of the zeros that the weights hold",
        _unstructured,
    ),
    "rigl": Family(
        "rigl:DENSITY[:erk|uniform][:DT=100][:drop=0.3]",
        "as static, but each layer drops its smallest weights every DT steps, with dense WU, and grows by gradients",
        _unstructured,
    ),
    "set": Family(
        "set:DENSITY[:erk|uniform][:DT=100][:drop=0.3]", "as rigl, but grows at random, without gradients",
        _unstructured,
    ),
    "granet": Family(
        "granet:DENSITY[:erk|uniform][:DT=100][:drop=0.5]", "as rigl, but drops the smallest of all layers",
        _unstructured,
    ),
    "gmp": Family(
        "gmp:DENSITY[:uniform|erk][:DT=100]", "as static, but masks follow the largest weights of all layers",
        _unstructured,
    ),
    "block": Family("block:BHxBW:DENSITY", "blocks of BH output by BW input channels with the largest norm", _blocks),
    **{name: Family(each.spelling, each.does, partial(_transform, each), each.changes)
       for name, each in TRANSFORMS.items()},
}  # fmt: skip
"""Families of recipes by name; transforms are those of `workloads.transforms`."""

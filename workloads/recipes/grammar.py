"""What a recipe's text says: its family and its numbers. No torch in here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.patterns.vnm import COLUMNS

GRAMMAR = {
    "dense": ("dense", "nothing is pruned"),
    "nm": ("nm:N:M", "N largest of every M weights along the input channels, the same mask in FF and BP"),
    "vnm": ("vnm:V:N:M", "panels of V output channels agree on four of every M input channels, each keeps N of them"),
    "bdwp": ("bdwp:N:M", "training: N:M weights along input channels in FF, output channels in BP; WU dense"),
    "srste": ("srste:N:M", "training: N:M weights along input channels, selected at each step; WU dense"),
    "sdgp": ("sdgp:N:M", "training: N:M output gradients along output channels in BP; weights and WU dense"),
    "magnitude": ("magnitude:DENSITY[:uniform|erk|global]", "largest weights of each layer or of all"),
    "block": ("block:BHxBW:DENSITY", "blocks of BH output by BW input channels with the largest norm"),
    "channel": ("channel:DENSITY[:inner]", "whole coupled channels are removed; inner: none that a shortcut adds to"),
}
"""Family -> (how it is spelled, what it does)."""

DISTRIBUTIONS = ("uniform", "erk", "global")
_DENSITY_NOTE = "DENSITY is the share of nonzeros, 0.1 or sparsity=0.9"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A parsed recipe: `n` of `m`, or `density` (share of nonzeros) with its distribution or block (k, c).

    v: output channels of a panel of V:N:M. inner: of channels, only those that no sum of two layers ties together."""

    text: str
    family: str
    n: int = 1
    m: int = 1
    v: int = 1
    density: float = 1.0
    distribution: str = "uniform"
    block: tuple[int, int] = (1, 1)
    inner: bool = False


def recipes() -> dict[str, str]:
    """Name of each recipe family -> one line: its grammar and what it does."""
    return {name: f"{grammar}  {does}" for name, (grammar, does) in GRAMMAR.items()}


def parse(text: str) -> Recipe:
    """The recipe that `text` spells. Raises `WorkloadError` with the grammar where it spells none."""
    text = text.strip()
    family, *fields = text.split(":")
    if family not in GRAMMAR:
        raise WorkloadError(f"unknown recipe {text!r}; {closest(family, GRAMMAR)}")
    if family == "dense":
        _expect(text, family, len(fields) == 0)
        return Recipe(text, family)
    if family in ("nm", "bdwp", "srste", "sdgp"):
        _expect(text, family, len(fields) == 2 and all(re.fullmatch(r"\d+", field) for field in fields))
        n, m = map(int, fields)
        if not 0 < n <= m:
            raise WorkloadError(f"recipe {text!r}: N must lie between 1 and M = {m}")
        return Recipe(text, family, n=n, m=m)
    if family == "vnm":
        _expect(text, family, len(fields) == 3 and all(re.fullmatch(r"\d+", field) for field in fields))
        v, n, m = map(int, fields)
        if v < 1 or not 0 < n <= COLUMNS <= m:
            raise WorkloadError(f"recipe {text!r}: V must be 1 or more, N between 1 and {COLUMNS}, M {COLUMNS} or more")
        return Recipe(text, family, n=n, m=m, v=v)
    if family == "magnitude":
        _expect(text, family, len(fields) in (1, 2))
        return Recipe(text, family, density=_density(text, family, fields[0]),
                      distribution=_distribution(text, fields[1:]))  # fmt: skip
    if family == "block":
        shape = re.fullmatch(r"(\d+)x(\d+)", fields[0]) if len(fields) == 2 else None
        _expect(text, family, shape is not None and "0" not in shape.groups())
        assert shape is not None
        return Recipe(text, family, density=_density(text, family, fields[1]),
                      block=(int(shape[1]), int(shape[2])))  # fmt: skip
    _expect(text, family, len(fields) == 1 or fields[1:] == ["inner"])
    density = _density(text, family, fields[0])
    if density == 0:
        raise WorkloadError(f"recipe {text!r}: a network needs channels; give a density above 0")
    return Recipe(text, family, density=density, inner=len(fields) == 2)


def _expect(text: str, family: str, right: bool) -> None:
    if not right:
        grammar = GRAMMAR[family][0]
        note = f"; {_DENSITY_NOTE}" if "DENSITY" in grammar else ""
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


def _distribution(text: str, fields: list[str]) -> str:
    if fields and fields[0] not in DISTRIBUTIONS:
        hint = closest(fields[0], DISTRIBUTIONS)
        raise WorkloadError(f"recipe {text!r}: unknown distribution {fields[0]!r}; {hint}")
    return fields[0] if fields else "uniform"

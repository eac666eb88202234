"""What systems need of the program, and whether it is there: asked for beside what runs without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from zerocast.analysis.cli import mistake
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.metrics import METRICS
from zerocast.analysis.validate.suites.systems.trial import NETWORKS, tried

_ON = "--accelerator systolic-32x32 --out out"
BASES = {
    "run": f"zerocast run {NETWORKS}:dynamics {_ON}",
    "train": f"zerocast train {NETWORKS}:dynamics --steps 10 --schedule constant {_ON}",
    "attention": f"zerocast run {NETWORKS}:encoder {_ON}",
    "train attention": f"zerocast train {NETWORKS}:encoder --steps 10 --schedule constant {_ON}",
    "searched": f"zerocast run {NETWORKS}:searched {_ON}",
    "onnx": f"zerocast run analysis/references/systems/product.onnx {_ON}",
}
"""Commands on small networks to which what is needed is added. Those of the last two are what is needed themselves."""
_BY_THEMSELVES = ("searched", "onnx")


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that the program can or cannot do. adds: what asks for it; beside: the command of `BASES` to which that
    is added; lowers: column of the result that must fall by it; column: in place of all that, one of `explore`."""

    name: str
    adds: str = ""
    beside: str = "run"
    lowers: str = ""
    column: str = ""


@cache
def capabilities() -> dict[str, Capability]:
    """All, by name."""
    page = files("zerocast.analysis") / "references" / "systems" / "capabilities.yaml"
    rows = yaml.safe_load(page.read_text(encoding="utf-8"))
    return {name: Capability(name, **row) for name, row in rows.items()}


@cache
def is_there(name: str) -> bool:
    """Whether the program has a capability.

    Raises `AnalysisError` for a name that is none, and where the command does not even run without what is asked for,
    which would then lack for another reason.
    """
    if name not in capabilities():
        raise AnalysisError(f"no capability {name!r}; add what asks for it to capabilities.yaml")
    wanted = capabilities()[name]
    if wanted.column:
        return wanted.column in METRICS
    base = BASES[wanted.beside]
    if wanted.beside not in _BY_THEMSELVES and (why := _refused(base)):
        raise AnalysisError(f"capability {name!r}: {base} does not run: {why}")
    asked = f"{base} {wanted.adds}"
    if _refused(asked):
        return False
    return not wanted.lowers or _total(asked, wanted.lowers) < _total(base, wanted.lowers)


def _refused(command: str) -> str:
    """Why a command is a mistake of who asks; "" where it is priced."""
    try:
        tried(command).price()
    except Exception as error:
        if why := mistake(error):
            return why
        raise
    return ""


def _total(command: str, column: str) -> float:
    result = tried(command).result
    return float(getattr(result, column) if hasattr(result, column) else result.total(column))

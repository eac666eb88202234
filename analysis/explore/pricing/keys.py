"""Under which key a result is kept: a hash of all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from zerocast.analysis.explore.pricing.version import code_version
from zerocast.analysis.explore.space.definition import digest

_WORDS = ("name", "family", "description", "sources")


def result_key(workload: str, description: Mapping[str, Any], objective: str, fidelity: str, page: str = "") -> str:
    """Hash of a workload's content, an accelerator's values, how mappings are chosen or given, and the program; what
    the accelerator is called is not among it."""
    facts = {name: part for name, part in description.items() if name not in _WORDS}
    what = (workload, as_text(facts), _calibration(description), objective, fidelity, code_version())
    return digest(*what, *([page] if page else []))


def as_text(value: Any) -> str:
    """As JSON. The order of keys counts: the first of `compute.rates` is what multipliers are built for."""
    return json.dumps(value, default=str)


def _calibration(description: Mapping[str, Any]) -> str:
    """Content of a user's calibration file: its name alone says not what is in it."""
    part = description.get("gpu")
    name = str(part.get("calibration", "")) if isinstance(part, Mapping) else ""
    return _content(name) if name.endswith((".yaml", ".yml")) else ""


@lru_cache(maxsize=16)
def _content(file: str) -> str:
    path = Path(file)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

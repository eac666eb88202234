"""Find a table of a kind by its name, and interpolate between its points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.errors import AcceleratorError


@cache
def _entries() -> dict[str, Traversable]:
    """The files of the tables, which are named as they are."""
    folder = files("zerocast.accelerators") / "tables"
    return {entry.name.removesuffix(".yaml"): entry for entry in folder.iterdir() if entry.name.endswith(".yaml")}


@cache
def _content(name: str) -> dict[str, Any]:
    from zerocast.accelerators.library import read_yaml

    return read_yaml(_entries()[name].read_text(encoding="utf-8"), f"table {name}")


def table_names(kind: str) -> list[str]:
    """Names of the tables of a kind: `energy`, `area` or `scaling`."""
    return sorted(name for name in _entries() if _content(name)["kind"] == kind)


def find_table(kind: str, name: str, field: str) -> dict[str, Any]:
    """The content of the table of that kind and name.

    Raises `AcceleratorError`, which names the field that asked for it and the tables there are.
    """
    if name not in _entries() or _content(name)["kind"] != kind:
        raise AcceleratorError(f"{field}: no table {name!r}; there are {', '.join(table_names(kind))}")
    return _content(name)


def log_log(points: Sequence[tuple[float, float]], wanted: ArrayLike) -> NDArray[np.float64]:
    """Piecewise linear in log-log between points (x, y), x rising; outside by the outer slopes. Broadcasts."""
    x, y = np.log(np.array(points)).T
    at = np.log(np.asarray(wanted, dtype=float))
    segment = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    slope = (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment])
    return np.asarray(np.exp(y[segment] + slope * (at - x[segment])))

"""Hold predictions against references: published figures, peer simulators. One file per suite."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from zerocast.analysis.validate.comparison import Comparison
from zerocast.simulator.errors import SimulationError

SUITES = {
    "dense": "dense arrays: TPU-like cycles as published, array cycles of SCALE-Sim 3",
    "sat": "N:M training array: published average speedup, worth of each mechanism, sensitivity to assumptions",
    "zeroskip": "engines that gate or skip zeros: nine published designs, from one PE to whole networks",
    "area": "area of chips and FPGA resources: sixteen published designs, constants from cell-level sources",
    "gpu": "GPU kernel times against measured products: left-out shapes, cards and networks, dense and 2:4",
}

Say = Callable[[str], None]


def run(suite: str | None = None, say: Say = lambda message: None) -> list[Comparison]:
    """All comparisons of one suite, or of every suite. `say` is told what is being computed.

    Raises `SimulationError` for an unknown suite.
    """
    if suite is not None and suite not in SUITES:
        raise SimulationError(f"unknown suite {suite!r}; choose {', '.join(SUITES)}, or none for all")
    rows: list[Comparison] = []
    for name in [suite] if suite else list(SUITES):
        rows += importlib.import_module(f"zerocast.analysis.validate.{name}").compare(say)
    return rows

"""SIGMA (HPCA 2020): cycles of two products, held against the TeAAL artifact's figures."""

from __future__ import annotations

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, product_of, rows_of
from zerocast.simulator.laws.lanes import engine_cycles


def compare(tolerance: float = 0.03) -> list[Comparison]:
    """Cycles of every SIGMA row."""
    accelerator, rows = load("sigma"), []
    for row in rows_of("SIGMA", "cycles"):
        cycles = engine_cycles(product_of(row, "bf16", 16), accelerator).cycles
        rows.append(against(SUITE, f"sigma {row['workload']}", cycles, float(row["value"]), "cycles", tolerance,
                            row["source"]))  # fmt: skip
    return rows

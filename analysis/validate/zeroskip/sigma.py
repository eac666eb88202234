"""SIGMA (HPCA 2020): cycles of two products, held against the TeAAL artifact's figures."""

from __future__ import annotations

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.zeroskip.rows import SUITE, product_of, rows_of, shown
from zerocast.simulator.engine import engine_cycles


def compare(tolerance: float = 0.03) -> list[Comparison]:
    """Cycles of every SIGMA row.

    A product that loads its stationary nonzeros for longer than it streams columns is shown only: the start-up of the
    networks on chip and the traffic are not in the model, and such a product has too few columns to hide them.
    """
    accelerator, rows = load("sigma"), []
    for row in rows_of("SIGMA", "cycles"):
        cost = engine_cycles(product_of(row, "bf16", 16), accelerator)
        what, reference, source = f"sigma {row['workload']}", float(row["value"]), row["source"]
        if cost.ramp > cost.cycles - cost.ramp:
            rows.append(shown(what, cost.cycles, reference, "cycles", source,
                              f"{cost.ramp:.0f} cycles load nonzeros: too few columns to hide start-up and traffic, "
                              "which are not in the model"))  # fmt: skip
        else:
            rows.append(against(SUITE, what, cost.cycles, reference, "cycles", tolerance, source))
    return rows

"""How the innermost array computes: folds of systolic arrays, unrolled loops, lanes that find nonzeros, and passes over
rows, which bring a hierarchy and a search of their own (`laws.rows`)."""

from zerocast.accelerators.schema import Dataflow
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.folds import Folds
from zerocast.simulator.laws.lanes.law import Lanes
from zerocast.simulator.laws.law import Law
from zerocast.simulator.laws.unrolled import Unrolled

LAWS: dict[Dataflow, Law] = {
    law.dataflow: law
    for law in (
        Folds("output_stationary", "k"), Folds("weight_stationary", "m"), Folds("input_stationary", "n"),
        Unrolled(), Lanes(),
    )
}  # fmt: skip

EXPLAINED: tuple[Dataflow, ...] = ("zero_skipping", "row_stationary")
"""Dataflows whose rows say by cause what they lose; folds of a systolic array do not."""


def law_of(dataflow: Dataflow) -> Law:
    """The law of a dataflow that maps products in tiles; `SimulationError` for one that does not."""
    if dataflow not in LAWS:
        raise SimulationError(
            f"an array that is {dataflow} has no tiled mappings; price its products with simulate, or with "
            "zerocast.simulator.laws.rows.RowProduct"
        )
    return LAWS[dataflow]


__all__ = ["EXPLAINED", "LAWS", "Law", "law_of"]

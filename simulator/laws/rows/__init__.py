"""Row-stationary arrays: a law (what a pass moves and takes), the passes to choose from, and products priced by it."""

from zerocast.simulator.laws.rows.law import Passes, RowCost, RowLayer, row_cost, row_layer, trips
from zerocast.simulator.laws.rows.product import RowProduct
from zerocast.simulator.laws.rows.space import SLACK, Space, best_rows

__all__ = [
    "SLACK", "Passes", "RowCost", "RowLayer", "RowProduct", "Space", "best_rows", "row_cost", "row_layer", "trips",
]  # fmt: skip

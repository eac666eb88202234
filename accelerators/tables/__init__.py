"""Tables of what actions cost in energy and components in area, each entry with its source."""

from zerocast.accelerators.tables.area import AreaTable, area_table
from zerocast.accelerators.tables.energy import EnergyTable, energy_table
from zerocast.accelerators.tables.scaling import NodeScaling, node_scaling

__all__ = ["AreaTable", "EnergyTable", "NodeScaling", "area_table", "energy_table", "node_scaling"]

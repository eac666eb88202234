"""Tables of what actions cost in energy, components in area and sparse kernels in time, each entry with its source."""

from zerocast.accelerators.tables.area import AreaTable, area_table
from zerocast.accelerators.tables.energy import EnergyTable, energy_table
from zerocast.accelerators.tables.scaling import NodeScaling, node_scaling
from zerocast.accelerators.tables.sparse_kernels import sparse_kernels

__all__ = ["AreaTable", "EnergyTable", "NodeScaling", "area_table", "energy_table", "node_scaling", "sparse_kernels"]

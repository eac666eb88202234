"""What the hardware offers: the schema, the shipped templates, energy tables."""

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.library import Variants, dump, load, parse, templates, variants
from zerocast.accelerators.schema import Accelerator, Memory, Unit
from zerocast.accelerators.tables import EnergyTable, energy_table

__all__ = [
    "Accelerator", "AcceleratorError", "EnergyTable", "Memory", "Unit", "Variants", "dump", "energy_table", "load",
    "parse", "templates", "variants",
]  # fmt: skip

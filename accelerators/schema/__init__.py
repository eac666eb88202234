"""The accelerator schema: what a piece of hardware offers, as data.

Every field's docstring says its unit. An accelerator is one YAML file against `Accelerator`; `sources` gives,
for each dotted path (or a prefix of it), where the value comes from: read, derived, or assumed.
"""

from zerocast.accelerators.schema.accelerator import Accelerator, Source
from zerocast.accelerators.schema.array.compute import Compute, Dataflow, Fold, OperandSparsity, Role, Sparsity
from zerocast.accelerators.schema.array.row_stationary import RowStationary
from zerocast.accelerators.schema.array.skipping import Arrangement, Banks, Deal, Skipping, Vector, Window
from zerocast.accelerators.schema.gpu.card import Gpu
from zerocast.accelerators.schema.gpu.regime import Regime
from zerocast.accelerators.schema.gpu.sparse_kernel import KernelConstants, SparseKernel
from zerocast.accelerators.schema.memory import FORMATS, Fanout, Memory, Operand, Side
from zerocast.accelerators.schema.part import Part
from zerocast.accelerators.schema.technology import Cost, FpgaPart, Resources, Storage, Technology
from zerocast.accelerators.schema.units import Host, Schedule, Unit

__all__ = [
    "FORMATS", "Accelerator", "Arrangement", "Banks", "Compute", "Cost", "Dataflow", "Deal", "Fanout", "Fold",
    "FpgaPart", "Gpu", "Host", "KernelConstants", "Memory", "Operand", "OperandSparsity", "Part", "Regime", "Resources",
    "Role", "RowStationary", "Schedule", "Side", "Skipping", "Source", "SparseKernel", "Sparsity", "Storage",
    "Technology", "Unit", "Vector", "Window",
]  # fmt: skip

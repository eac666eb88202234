"""Area of a design, from the same description that gives its cycles and its energy."""

from __future__ import annotations

from dataclasses import dataclass, fields

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.accelerators.tables import AreaTable, area_table
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.power import idle_w
from zerocast.simulator.laws import LAWS
from zerocast.simulator.size.area_engine import (
    accumulator_um2,
    engine_match_um2,
    engine_network_um2,
    engine_register_bits,
)
from zerocast.simulator.size.area_match import benes_switches, benes_um2, operand_select_um2, sides, structured_groups
from zerocast.simulator.size.storage import built_as, of_registers
from zerocast.workloads.ir import BITS

_UNIT_REGISTERS = 3
"""Registers beside an operation of a unit: two operands and the result."""
SHIPPED_GROUP = 4
"""M of the 2:4 tensor cores that the published area of a GPU's die contains."""


@dataclass(frozen=True, slots=True)
class Area:
    """Area in mm2 by component, after scaling to the design's node, with the space between cells.

    multipliers: with the adders behind them. registers: operands and partial sums of the PEs, queues of lanes.
    match: whatever finds nonzeros and selects their partners. network: crossbars, switches and port registers.
    pads: scratch pads of PEs and the sums that an engine's lanes keep. units: what stands beside the array.
    control: a share of all other logic (an assumption of the table). die: published area of a whole die.
    """

    multipliers_mm2: float = 0.0
    registers_mm2: float = 0.0
    match_mm2: float = 0.0
    network_mm2: float = 0.0
    pads_mm2: float = 0.0
    buffers_mm2: float = 0.0
    units_mm2: float = 0.0
    control_mm2: float = 0.0
    die_mm2: float = 0.0

    @property
    def total_mm2(self) -> float:
        """Sum of all components."""
        return sum(self.parts().values())

    @property
    def logic_mm2(self) -> float:
        """All that is no memory."""
        return self.total_mm2 - self.buffers_mm2 - self.pads_mm2 - self.die_mm2

    @property
    def compute_mm2(self) -> float:
        """All but the buffers."""
        return self.total_mm2 - self.buffers_mm2

    def parts(self) -> dict[str, float]:
        """Area by component name, in mm2."""
        return {f.name.removesuffix("_mm2"): getattr(self, f.name) for f in fields(self)}


def area(accelerator: Accelerator) -> Area | None:
    """Area of a design; None where it carries neither an area table nor the area of its die.

    A die of published area is that area; of GPUs that have a table too, plus what their operand multiplexers differ
    from those of 2:4, while other changes (SMs, caches) are not priced. Raises `SimulationError` for an unknown table,
    a data type that it lacks, or a node that its scaling does not span.
    """
    technology = accelerator.technology
    if technology.area_table is None or (technology.die_mm2 is not None and accelerator.gpu is None):
        return None if technology.die_mm2 is None else Area(die_mm2=technology.die_mm2)
    try:
        return _priced(accelerator, area_table(technology.area_table))
    except AcceleratorError as error:
        raise SimulationError(str(error)) from None


def _priced(accelerator: Accelerator, table: AreaTable) -> Area:
    technology = accelerator.technology
    # cells in um2 at the table's node -> placed mm2 at the design's
    nodes = (table.node_nm, technology.node_nm)
    logic = technology.area_scale * table.scaling.logic_factor(*nodes) / table.logic_utilisation * 1e-6
    if technology.die_mm2 is not None:
        return Area(die_mm2=technology.die_mm2, match_mm2=operand_select_change_um2(accelerator, table) * logic)
    memory = technology.area_scale * table.scaling.memory_factor(*nodes) / table.memory_utilisation * 1e-6
    return _sum_up(accelerator, table, logic, memory)


def operand_select_change_um2(accelerator: Accelerator, table: AreaTable, shipped: int = SHIPPED_GROUP) -> float:
    """Cells that the operand multiplexers of all multipliers take beyond those of N:`shipped`, in um2; may be < 0."""
    bits = BITS[accelerator.compute.native_type]
    groups = structured_groups(accelerator)
    wanted = sum(operand_select_um2(table, group, bits) for group in groups)
    return accelerator.compute.multipliers * (wanted - operand_select_um2(table, shipped, bits))


def _sum_up(accelerator: Accelerator, table: AreaTable, logic: float, memory: float) -> Area:
    """All components; `logic` and `memory` turn um2 of cells and macros into mm2 on the design's chip."""
    compute, arrays = accelerator.compute, accelerator.copies(accelerator.depths + 1)
    dtype, bits = compute.native_type, BITS[compute.native_type]
    mac = table.multiplier_um2(dtype) + table.adder_um2(dtype, compute.accumulate_bits)
    select = sum(operand_select_um2(table, group, bits) for group in structured_groups(accelerator))
    gates = sum(bits * table.gate_um2 for side in sides(accelerator) if side.mode == "gate")
    match = compute.multipliers * (select + gates) + engine_match_um2(accelerator, table)
    bit, kept = table.register_um2_per_bit, _buffer_bits(accelerator)
    registers = arrays * _register_bits(accelerator) * bit + kept * (bit + table.mux2_um2_per_bit)
    parts = {
        "multipliers_mm2": arrays * compute.multipliers * mac * logic,
        "registers_mm2": registers * logic,
        "match_mm2": arrays * match * logic,
        "network_mm2": _network_um2(accelerator, table) * logic,
        "units_mm2": _units_um2(accelerator, table) * logic,
    }
    control = table.control_share * sum(parts.values())
    pads = (_pads_um2(accelerator, table) + accumulator_um2(accelerator, table)) * memory
    macros = [each for each in accelerator.buffers if not of_registers(accelerator, each)]
    buffers = sum(accelerator.copies(each.depth) * buffer_um2(accelerator, table, each) for each in macros)
    return Area(**parts, pads_mm2=pads, buffers_mm2=buffers * memory, control_mm2=control)


def _network_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """Registers of the buffers' ports, engines' networks, and a reduction network, an adder in each switch."""
    compute, bits = accelerator.compute, accelerator.compute.accumulate_bits
    ports = sum(8 * accelerator.copies(each.depth) * (each.port_bytes_per_cycle or 0.0) for each in accelerator.buffers)
    found = ports * table.register_um2_per_bit + engine_network_um2(accelerator, table)
    if compute.reduction_network:
        adders = benes_switches(compute.cols) * table.adder_um2(compute.native_type, bits)
        found += accelerator.copies(accelerator.depths + 1) * (benes_um2(table, compute.cols, bits) + adders)
    return found


def flip_flops(accelerator: Accelerator) -> float:
    """Flip-flops of PEs, of buffers made of them, of units, and behind half of the stages of a reduction network."""
    compute, arrays = accelerator.compute, accelerator.copies(accelerator.depths + 1)
    network = benes_switches(compute.cols) * compute.accumulate_bits if compute.reduction_network else 0.0
    units = _UNIT_REGISTERS * compute.accumulate_bits * _unit_flops(accelerator)
    return arrays * (_register_bits(accelerator) + network) + _buffer_bits(accelerator) + units


def idle_power_w(accelerator: Accelerator) -> float:
    """Power drawn whatever runs: the static one, and that of flip-flops and clocks that nothing stops."""
    technology = accelerator.technology
    clocked = flip_flops(accelerator) if technology.flip_flop_clock_j else 0.0
    return idle_w(accelerator) + clocked * technology.flip_flop_clock_j * technology.clock_hz


def _buffer_bits(accelerator: Accelerator) -> float:
    """Bits of the buffers that are made of flip-flops."""
    made = [each for each in accelerator.buffers if of_registers(accelerator, each)]
    return sum(8 * accelerator.copies(each.depth) * built_as(accelerator, each)[0] for each in made)


def _register_bits(accelerator: Accelerator) -> float:
    """Flip-flops of all PEs: operands, pipeline, partial sums, and the groups that an N:M multiplexer chooses from.

    A systolic PE keeps both operands and its sums; a stationary operand whose load is hidden lies in a second set
    of registers. Beside an operand that is N:M along groups of M the other one arrives as M candidates.
    """
    compute = accelerator.compute
    if accelerator.skipping is not None:
        return engine_register_bits(accelerator)
    bits = BITS[compute.native_type]
    second = any(LAWS[flow].loads_operand for flow in compute.fold.hidden_load if flow in LAWS)
    group = sum(bits * (group - 1) for group in structured_groups(accelerator))
    per_mac = float(2 * bits + bits * second + group + compute.pipeline_bits)
    sums = compute.rows * compute.cols * compute.accumulators_per_pe * compute.accumulate_bits
    if (pads := accelerator.row_stationary) is not None:
        buses = pads.ifmap_bus_bytes_per_cycle + pads.filter_bus_bytes_per_cycle + pads.psum_link_bytes_per_cycle
        per_mac += 2 * bits * pads.pipeline_cycles + 8 * buses
    return compute.multipliers * per_mac + sums


def _pads_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """Scratch pads of row-stationary PEs, each a small memory."""
    pads, compute = accelerator.row_stationary, accelerator.compute
    if pads is None:
        return 0.0
    sizes = [pads.ifmap_spad_bytes, pads.filter_spad_bytes, pads.psum_spad_bytes]
    return compute.rows * compute.cols * float(table.memory_um2(sizes).sum())


def buffer_um2(accelerator: Accelerator, table: AreaTable, memory: Memory) -> float:
    """A buffer: as many macros as it is cut into, or as its port needs side by side, whichever is more."""
    capacity, built = built_as(accelerator, memory)
    macros = max(built, (memory.port_bytes_per_cycle or 0.0) / table.memory_port_bytes)
    return macros * float(table.memory_um2(capacity / macros))


def _units_um2(accelerator: Accelerator, table: AreaTable) -> float:
    """Units beside the array: an operation is half a multiply-add of the array's type, with three registers."""
    compute = accelerator.compute
    dtype, bits = compute.native_type, compute.accumulate_bits
    flop = (table.multiplier_um2(dtype) + table.adder_um2(dtype, bits)) / 2
    return _unit_flops(accelerator) * (flop + _UNIT_REGISTERS * bits * table.register_um2_per_bit)


def _unit_flops(accelerator: Accelerator) -> float:
    """Operations that all units do in a cycle."""
    return sum(unit.lanes * unit.flops_per_lane for unit in accelerator.units)

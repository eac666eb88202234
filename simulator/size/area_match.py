"""Area of circuits that find nonzeros and select their partners, in um2 of cells at the table's node."""

from __future__ import annotations

import math

from zerocast.accelerators.schema import Accelerator, OperandSparsity
from zerocast.accelerators.tables import AreaTable


def sides(accelerator: Accelerator) -> tuple[OperandSparsity, OperandSparsity]:
    """What is done about zeros of the input and of the weights."""
    return accelerator.sparsity.input, accelerator.sparsity.weight


def structured_groups(accelerator: Accelerator) -> list[int]:
    """M of each operand that the array skips N:M zeros of; each needs a multiplexer in front of every multiplier."""
    return [side.max_group for side in sides(accelerator) if side.mode == "structured_skip"]


def operand_select_um2(table: AreaTable, group: int, bits: int) -> float:
    """One of `group` operands of `bits` bits: group - 1 choices between two, and the register of the offset.

    In an INT8 PE a choice of 4 comes to 8 % of multiplier, adder and registers; synthesis of whole PEs over three open
    cell libraries gives 8 to 14 % (yosys, NanGate 45 nm and two others).
    """
    offset = math.ceil(math.log2(group)) if group > 1 else 0
    return (group - 1) * bits * table.mux2_um2_per_bit + offset * table.register_um2_per_bit


def leading_nonzero_um2(table: AreaTable, candidates: int, bits: int) -> float:
    """The first nonzero among candidates: zero detectors, a priority encoder, and the choice of the value."""
    detect = candidates * bits * table.gate_um2
    choose = (candidates - 1) * bits * table.mux2_um2_per_bit
    return detect + candidates * table.leading_nonzero_um2_per_bit + choose


def prefix_sum_um2(table: AreaTable, chunk: int) -> float:
    """Counts of the ones below every position of a bit mask (Sklansky): in level l chunk / 2 adders of l bits.

    With L = log2(chunk) levels that makes chunk / 2 * L (L + 1) / 2 adder bits.
    """
    levels = math.ceil(math.log2(chunk)) if chunk > 1 else 0
    return chunk / 2 * levels * (levels + 1) / 2 * table.prefix_um2_per_adder_bit


def crossbar_um2(table: AreaTable, inputs: int, outputs: int, bits: int) -> float:
    """Every output chooses one of all inputs (inputs - 1 choices between two), by a priority encoder over requests."""
    choose = outputs * (inputs - 1) * bits * table.mux2_um2_per_bit
    return choose + outputs * inputs * table.leading_nonzero_um2_per_bit


def benes_um2(table: AreaTable, ports: int, bits: int) -> float:
    """Benes network: 2 log2(ports) - 1 stages of ports / 2 switches, each two choices between two; registers between.

    Half of the stages end in registers, as routing through all of them in one cycle would be too long (assumption).
    """
    return benes_switches(ports) * 2 * bits * (table.mux2_um2_per_bit + table.register_um2_per_bit / 2)


def benes_switches(ports: int) -> float:
    """Switches of a Benes network: 2 log2(ports) - 1 stages of ports / 2."""
    return (2 * math.ceil(math.log2(ports)) - 1) * ports / 2 if ports > 1 else 0.0

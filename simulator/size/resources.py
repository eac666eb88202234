"""FPGA resources of a design, and whether they fit the part."""

from __future__ import annotations

import math

from zerocast.accelerators.schema import Accelerator, Cost, Memory
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.size.area_match import structured_groups
from zerocast.simulator.size.storage import built_as
from zerocast.workloads.ir import BITS

URAM_ROWS, URAM_ROW_BYTES = 4096, 8
"""An UltraRAM: 4,096 rows of 72 bits, 64 of them data, of fixed width; AMD UG573."""
BRAM36_BYTES, BRAM36_PORT_BYTES = 4096, 8
"""A block RAM: 36 kbit, 32 of them data, up to 72 bits wide and narrower at will; AMD UG573."""
MUX_INPUTS_PER_LUT = 4
"""A LUT of six inputs is a multiplexer of four, and the slice joins up to eight of them without further LUTs: 4:1 in
one, 8:1 in two, 16:1 in four (AMD UG474), 32:1 in eight (MUXF9, AMD UG974)."""
LUTRAM_ROWS, LUTRAM_BITS_PER_LUT = 32, 14 / 8
"""Eight LUTs of a slice as a memory of 32 rows of 14 bits with a read and a write port; AMD UG574 (recalled)."""


def fpga_resources(accelerator: Accelerator) -> dict[str, float]:
    """LUT, FF, DSP, BRAM36 and URAM that the design takes; empty for designs that are no FPGA's.

    Logic is counted per PE, per multiply-add of the array's type, per lane of each unit, plus a fixed part; operand
    multiplexers follow from M (N costs time, not logic: a multiplier takes one operand of the group a cycle) and
    sums in flight from `accumulators_per_pe`. Raises `SimulationError` for a type that has no multiply-add here.
    """
    resources, part = accelerator.resources, accelerator.technology.fpga
    if resources is None or part is None:
        return {}
    compute = accelerator.compute
    arrays = float(accelerator.copies(accelerator.depths + 1))
    counts = [(arrays * compute.multipliers, each) for each in (resources.pe, _multiply_add(accelerator))]
    counts += [(arrays * compute.multipliers, operand_select(accelerator)),
               (arrays * compute.rows * compute.cols, _sums(accelerator))]  # fmt: skip
    counts += [(u.lanes, resources.lane[u.name]) for u in accelerator.units if u.name in resources.lane]
    counts += [(1, resources.fixed)]
    used = {name: float(sum(count * getattr(cost, name) for count, cost in counts)) for name in ("lut", "ff", "dsp")}
    used |= {"bram36": 0.0, "uram": 0.0}
    for memory in accelerator.buffers:
        kind, number = _blocks(accelerator, memory, resources.uram_from_bytes)
        used[kind] += number * accelerator.copies(memory.depth)
    return used


def _multiply_add(accelerator: Accelerator) -> Cost:
    """A multiply-add of the type that the array is built for; nothing where `resources.pe` contains it."""
    costs, dtype = accelerator.resources.multiply_add, accelerator.compute.native_type  # type: ignore[union-attr]
    if costs and dtype not in costs:
        raise SimulationError(
            f"resources.multiply_add: no cost of {dtype!r}, the type that {accelerator.name} is built for; "
            f"there are {', '.join(costs)}"
        )
    return costs.get(dtype, Cost())


def operand_select(accelerator: Accelerator) -> Cost:
    """Before one multiplier: a multiplexer over each N:M group, registers of the candidates and of the offset.

    A multiplexer of two needs half a LUT a bit, one of M ceil(M / 4) LUTs (`MUX_INPUTS_PER_LUT`).
    """
    bits = BITS[accelerator.compute.native_type]
    lut = ff = 0.0
    for group in structured_groups(accelerator):
        if group > 1:
            lut += bits * (0.5 if group == 2 else math.ceil(group / MUX_INPUTS_PER_LUT))
            ff += bits * (group - 1) + math.ceil(math.log2(group))
    return Cost(lut=lut, ff=ff)


def _sums(accelerator: Accelerator) -> Cost:
    """Sums that a PE keeps in flight beyond the one in its adder's register, in LUT memory."""
    compute = accelerator.compute
    if compute.accumulators_per_pe == 1:
        return Cost()
    deep = math.ceil(compute.accumulators_per_pe / LUTRAM_ROWS)
    return Cost(lut=math.ceil(deep * compute.accumulate_bits / LUTRAM_BITS_PER_LUT))


def _blocks(accelerator: Accelerator, memory: Memory, uram_from_bytes: float) -> tuple[str, float]:
    """Kind and number of memory blocks of a buffer, each of its equal memories by its own size and port.

    Both halves of a double buffer lie in the same blocks, which read for one and write for the other in a cycle.
    """
    capacity, macros = built_as(accelerator, memory)
    each = capacity / macros
    word = max((memory.port_bytes_per_cycle or URAM_ROW_BYTES * macros) / macros, 1.0)
    if each >= uram_from_bytes:
        wide = math.ceil(word / URAM_ROW_BYTES)
        return "uram", float(macros * wide * math.ceil(math.ceil(each / word) / URAM_ROWS))
    return "bram36", float(macros * max(math.ceil(each / BRAM36_BYTES), math.ceil(word / BRAM36_PORT_BYTES)))

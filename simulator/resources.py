"""FPGA resources of a design, and whether they fit the part."""

from __future__ import annotations

import math

from accelerators.schema import Accelerator, Memory

URAM_BYTES = 32768
"""Data bytes of an UltraRAM: 4,096 words of 64 bits (288 kbit with parity); AMD UG573."""
URAM_PORT_BYTES = 8
BRAM36_BYTES = 4096
"""Data bytes of a block RAM: 512 words of 64 bits (36 kbit with parity); AMD UG573."""
BRAM36_PORT_BYTES = 8


def fpga_resources(accelerator: Accelerator) -> dict[str, float]:
    """LUT, FF, DSP, BRAM36 and URAM that the design takes; empty for designs that are no FPGA's.

    Logic is counted per PE, per lane of each unit, plus a fixed part. A buffer takes the primitives that its
    capacity needs, or its port width, whichever is more.
    """
    resources, part = accelerator.resources, accelerator.technology.fpga
    if resources is None or part is None:
        return {}
    compute = accelerator.compute
    counts = [(compute.rows * compute.cols * compute.macs_per_pe, resources.pe), (1, resources.fixed)]
    counts += [(u.lanes, resources.lane[u.name]) for u in accelerator.units if u.name in resources.lane]
    used = {name: float(sum(count * getattr(cost, name) for count, cost in counts)) for name in ("lut", "ff", "dsp")}
    used |= {"bram36": 0.0, "uram": 0.0}
    for memory in accelerator.buffers:
        kind, number = _blocks(memory, resources.uram_from_bytes)
        used[kind] += number
    return used


def over_budget(accelerator: Accelerator) -> dict[str, tuple[float, float]]:
    """Resources of which the design takes more than the part has: name -> (used, available)."""
    part = accelerator.technology.fpga
    used = fpga_resources(accelerator)
    if part is None:
        return {}
    return {name: (count, float(getattr(part, name))) for name, count in used.items() if count > getattr(part, name)}


def _blocks(memory: Memory, uram_from_bytes: float) -> tuple[str, int]:
    assert memory.capacity_bytes is not None  # the schema asks for it on chip
    width = memory.port_bytes_per_cycle or 0.0
    if memory.capacity_bytes >= uram_from_bytes:
        return "uram", max(math.ceil(memory.capacity_bytes / URAM_BYTES), math.ceil(width / URAM_PORT_BYTES))
    return "bram36", max(math.ceil(memory.capacity_bytes / BRAM36_BYTES), math.ceil(width / BRAM36_PORT_BYTES))

"""How buffers are built from memories, for area and FPGA resources."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.accelerators.schema.technology import Storage
from zerocast.simulator.errors import SimulationError


def of_registers(accelerator: Accelerator, memory: Memory) -> bool:
    """Whether a buffer is made of flip-flops."""
    return accelerator.technology.storage.get(memory.name, Storage()).cells == "registers"


def built_as(accelerator: Accelerator, memory: Memory) -> tuple[float, int]:
    """Bytes that are built for a buffer, and the equal memories that they are cut into.

    The capacity counts both halves of a double buffer. Raises `SimulationError` where `technology.storage` names a
    buffer that there is not.
    """
    assert memory.capacity_bytes is not None  # the schema asks for it on chip
    described = accelerator.technology.storage
    names = [each.name for each in accelerator.buffers]
    if unknown := [name for name in described if name not in names]:
        raise SimulationError(f"technology.storage: no buffer {unknown[0]!r}; there are {', '.join(names)}")
    how = described.get(memory.name, Storage())
    return memory.capacity_bytes * how.share, how.macros or memory.instances

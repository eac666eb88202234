"""What a design takes of a chip or of an FPGA."""

from __future__ import annotations

from dataclasses import dataclass, field

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.size.area import area
from zerocast.simulator.size.resources import fpga_resources


@dataclass(frozen=True, slots=True)
class Size:
    """resources: of an FPGA design. area_mm2: by component, where it is known. notes: why one of them is not."""

    resources: dict[str, float] = field(default_factory=dict)
    area_mm2: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def total_mm2(self) -> float | None:
        """Area of the design; None where it is not known."""
        return sum(self.area_mm2.values()) if self.area_mm2 else None


def size_of(accelerator: Accelerator) -> Size:
    """Size of a design. What its tables cannot price is left out and noted: time and energy do not depend on it."""
    notes = []
    resources: dict[str, float] = {}
    parts: dict[str, float] = {}
    try:
        resources = fpga_resources(accelerator)
    except SimulationError as error:
        notes.append(f"FPGA resources are not known: {error}")
    try:
        found = area(accelerator)
        parts = {} if found is None else found.parts()
    except SimulationError as error:
        notes.append(f"the area is not known: {error}")
    return Size(resources, parts, tuple(notes))


def over_budget(accelerator: Accelerator) -> dict[str, tuple[float, float]]:
    """Resources of which the design takes more than the part has: name -> (used, available)."""
    part, used = accelerator.technology.fpga, size_of(accelerator).resources
    if part is None:
        return {}
    return {name: (count, float(getattr(part, name))) for name, count in used.items() if count > getattr(part, name)}

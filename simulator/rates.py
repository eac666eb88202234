"""Rates and sizes of designs: what may differ between designs that are priced together.

Designs of one structure (array, dataflows, sparsity, formats, ports) have the same mappings, array cycles and traffic;
clock, bandwidths, capacities, lanes and launch overhead turn them into seconds and joules. Those are arrays here, so
that one mapping search prices one design or thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.simulator.energy import access_j_per_byte

Array = NDArray[np.float64]

_FREE: dict[str, frozenset[str] | None] = {
    "technology": frozenset({"clock_hz", "static_power_w", "fpga"}),
    "units": frozenset({"lanes", "flops_per_lane"}),
    "memories": frozenset({"capacity_bytes", "bandwidth_bytes_per_s", "efficiency", "j_per_byte"}),
    "host": None, "resources": None, "name": None, "family": None, "description": None, "sources": None,
}  # fmt: skip
"""Parts of a description that leave its structure as it is: some of their fields, or (None) the whole part."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of designs, all arrays of one shape (or floats, for one design).

    static_power_w, launch_overhead_s as in the schema; capacity_bytes, j_per_byte (an access) by memory; lanes,
    flops_per_lane by unit.
    """

    clock_hz: Array
    dram_bytes_per_s: Array
    static_power_w: Array
    launch_overhead_s: Array
    capacity_bytes: dict[str, Array]
    j_per_byte: dict[str, Array]
    lanes: dict[str, Array]
    flops_per_lane: dict[str, Array]

    def at(self, index: Any) -> Rates:
        """The rates of some designs, repeated and reordered as the index says."""

        def pick(values: dict[str, Array]) -> dict[str, Array]:
            return {name: value[index] for name, value in values.items()}

        return Rates(
            self.clock_hz[index], self.dram_bytes_per_s[index], self.static_power_w[index],
            self.launch_overhead_s[index], pick(self.capacity_bytes), pick(self.j_per_byte), pick(self.lanes),
            pick(self.flops_per_lane),
        )  # fmt: skip

    def in_cycles(self) -> tuple[Rates, NDArray[np.intp]]:
        """The rates with one cycle of the clock for a second, of designs [designs] that differ in what a product's
        mapping depends on; and which of them each design is."""
        pace = self.dram_bytes_per_s / self.clock_hz
        if len(pace) == 1:
            return replace(self, clock_hz=np.ones(1), dram_bytes_per_s=pace), np.zeros(1, dtype=np.intp)
        told = np.stack([pace, *self.capacity_bytes.values(), *self.j_per_byte.values()])
        _, first, which = np.unique(told, axis=1, return_index=True, return_inverse=True)
        rates = self.at(first)
        return replace(rates, clock_hz=np.ones(len(first)), dram_bytes_per_s=pace[first]), which.ravel()

    def less(self, taken: Sequence[tuple[str, float]]) -> Rates:
        """The rates with the capacity that is left of memories, by name, of which so many bytes are taken."""
        left = {name: self.capacity_bytes[name] - size for name, size in taken}
        return replace(self, capacity_bytes=self.capacity_bytes | left) if left else self


def rates_of(accelerators: Sequence[Accelerator]) -> Rates:
    """Rates of designs of one structure, as arrays [designs]."""
    first = accelerators[0]

    def gather(value: Callable[[Accelerator], float | None]) -> Array:
        return np.array([value(accelerator) for accelerator in accelerators], dtype=float)

    def by_memory(value: Callable[[Accelerator, Memory], float | None], start: int) -> dict[str, Array]:
        places = range(start, len(first.memories))
        return {first.memories[i].name: gather(lambda a, i=i: value(a, a.memories[i])) for i in places}  # type: ignore[misc]

    def by_unit(name: str) -> dict[str, Array]:
        return {u.name: gather(lambda a, i=i: getattr(a.units[i], name)) for i, u in enumerate(first.units)}  # type: ignore[misc]

    return Rates(
        clock_hz=gather(lambda a: a.technology.clock_hz),
        dram_bytes_per_s=gather(lambda a: a.dram_bytes_per_s),
        static_power_w=gather(lambda a: a.technology.static_power_w),
        launch_overhead_s=gather(lambda a: a.launch_s),
        capacity_bytes=by_memory(lambda accelerator, memory: memory.capacity_bytes, 1),
        j_per_byte=by_memory(access_j_per_byte, 0),
        lanes=by_unit("lanes"),
        flops_per_lane=by_unit("flops_per_lane"),
    )


def is_rate(path: str) -> bool:
    """Whether a parameter, by its dotted path, leaves the structure of a design as it is."""
    free = _FREE.get(path.partition(".")[0], frozenset())
    return free is None or path.rpartition(".")[2] in free


def same_structure(accelerators: Sequence[Accelerator]) -> list[list[int]]:
    """Places of the designs that can be priced together, each group in the order given."""
    groups: dict[Any, list[int]] = {}
    for place, accelerator in enumerate(accelerators):
        # calibrated kernels are priced one card at a time, and what stays on chip is chosen for one design
        alone = accelerator.gpu is not None or accelerator.schedule.keeps_on_chip
        groups.setdefault(place if alone else _structure(accelerator), []).append(place)
    return list(groups.values())


def _structure(accelerator: Accelerator) -> str:
    """All of a description but its rates."""
    parts = []
    for name in type(accelerator).model_fields:
        if _FREE.get(name, frozenset()) is not None:
            parts.append(repr(_without(getattr(accelerator, name), _FREE.get(name) or frozenset())))
    if accelerator.skipping is not None and accelerator.skipping.channel_words_per_cycle is not None:
        parts.append(repr(accelerator.buffer_of("output").capacity_bytes))  # sets the passes: cycles, too
    return "\n".join(parts)


def _without(part: Any, free: frozenset[str]) -> Any:
    if not free:
        return part
    if isinstance(part, tuple):
        return [_without(item, free) for item in part]
    return {name: getattr(part, name) for name in type(part).model_fields if name not in free}

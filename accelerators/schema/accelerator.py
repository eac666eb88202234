"""A whole accelerator, and where each of its values comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field, model_validator

from zerocast.accelerators.schema.array.compute import Compute, Dataflow, Sparsity
from zerocast.accelerators.schema.array.row_stationary import RowStationary
from zerocast.accelerators.schema.array.skipping import Skipping
from zerocast.accelerators.schema.gpu.card import Gpu
from zerocast.accelerators.schema.memory import Fanout, Memory, Operand
from zerocast.accelerators.schema.part import Part
from zerocast.accelerators.schema.technology import Resources, Technology
from zerocast.accelerators.schema.units import Host, Schedule, Unit
from zerocast.accelerators.tables.energy import EnergyTable, energy_table


class Source(Part):
    """Where a value comes from."""

    kind: Literal["read", "derived", "assumption"]
    """read in the named source, derived from read values, or assumed because nothing is published."""
    text: str = Field(min_length=8)
    """The source, or the reason for the assumption."""


class Accelerator(Part):
    """A whole accelerator."""

    name: str
    """Template name."""
    family: str
    """Kind of engine, for listings."""
    description: str
    """One line."""
    technology: Technology
    """Process, clock, energy."""
    memories: tuple[Memory, ...] = Field(min_length=2)
    """Off-chip level first, then the on-chip buffers."""
    compute: Compute
    """The array."""
    sparsity: Sparsity = Sparsity()
    """What is done about zeros."""
    skipping: Skipping | None = None
    """The engine that skips zeros, for dataflow zero_skipping."""
    row_stationary: RowStationary | None = None
    """Spads, network on chip and clock of the array, for dataflow row_stationary."""
    gpu: Gpu | None = None
    """Library, power limit and 2:4 types, for dataflow tensor_core."""
    units: tuple[Unit, ...] = ()
    """Units beside the array."""
    schedule: Schedule = Schedule()
    """Controller switches."""
    host: Host = Host()
    """Launch overhead."""
    resources: Resources | None = None
    """FPGA resource coefficients."""
    sources: dict[str, Source]
    """Source of each value, by dotted path or a prefix of it."""

    @model_validator(mode="after")
    def _is_complete(self) -> Accelerator:
        offchip, *buffers = self.memories
        if offchip.bandwidth_bytes_per_s is None:
            raise ValueError(f"memories.{offchip.name}: the off-chip level needs bandwidth_bytes_per_s")
        if offchip.energy is not None and not offchip.energy.startswith("dram."):
            raise ValueError(
                f"memories.{offchip.name}.energy: the off-chip level takes dram.NAME; found {offchip.energy!r}"
            )
        for memory in buffers:
            if memory.capacity_bytes is None:
                raise ValueError(f"memories ({memory.name}): an on-chip buffer needs capacity_bytes")
        if wrong := _wrong_depths(self):
            raise ValueError(wrong)
        for what, names in (("memories", [m.name for m in self.memories]), ("units", [u.name for u in self.units])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what}: names must differ; found {names}")
        if wrong := _wrong_residency(self):
            raise ValueError(wrong)
        if ("zero_skipping" in self.compute.dataflows) != (self.skipping is not None):
            raise ValueError("skipping: dataflow zero_skipping and the part `skipping` belong together")
        if ("row_stationary" in self.compute.dataflows) != (self.row_stationary is not None):
            raise ValueError("row_stationary: dataflow row_stationary and the part `row_stationary` belong together")
        if ("tensor_core" in self.compute.dataflows) != (self.gpu is not None):
            raise ValueError("gpu: dataflow tensor_core and the part `gpu` belong together")
        multipliers = self.compute.multipliers
        if self.skipping is not None and self.skipping.law != "packed" and self.skipping.multipliers != multipliers:
            raise ValueError(
                f"skipping: its lanes have {self.skipping.multipliers} multipliers, the array {multipliers} "
                "(rows * cols * macs_per_pe)"
            )
        if self.gpu is not None and (wrong := _wrong_power(self.technology, self.gpu)):
            raise ValueError(wrong)
        _has_energies(self)
        if self.technology.fpga is not None and self.resources is None:
            raise ValueError("resources: an FPGA design needs its resource coefficients")
        return self

    @property
    def dram(self) -> Memory:
        """The off-chip level."""
        return self.memories[0]

    @property
    def buffers(self) -> tuple[Memory, ...]:
        """The on-chip levels."""
        return self.memories[1:]

    def overlap(self, depth: int = 1) -> float:
        """Share of the shorter of computing and of moving tiles to a depth that hides behind the longer: the least of
        its memories."""
        return min(memory.hidden for memory in self.at_depth(depth))

    def buffer_of(self, operand: Operand) -> Memory:
        """The on-chip buffer that holds an operand; of several, the one next to the array."""
        return next(memory for memory in reversed(self.buffers) if operand in memory.holds)

    @property
    def depths(self) -> int:
        """Depths of on-chip memories."""
        return self.memories[-1].depth

    def at_depth(self, depth: int) -> tuple[Memory, ...]:
        """Memories of a depth; 0 is the off-chip level."""
        return tuple(memory for memory in self.buffers if memory.depth == depth) if depth else self.memories[:1]

    def fanout_at(self, depth: int) -> Fanout | None:
        """How a depth fans out to what lies further in."""
        return next((memory.fanout for memory in self.at_depth(depth) if memory.fanout is not None), None)

    def copies(self, depth: int) -> int:
        """Copies of each memory of a depth; of the array for the depth after the last."""
        return math.prod(fanout.count for each in range(depth) if (fanout := self.fanout_at(each)) is not None)

    @property
    def nested(self) -> bool:
        """Whether there is more than one depth of memories on chip, or one that fans out."""
        return self.depths > 1 or self.copies(self.depths + 1) > 1

    @property
    def dram_bytes_per_s(self) -> float:
        """Off-chip bandwidth that long bursts reach."""
        assert self.dram.bandwidth_bytes_per_s is not None  # checked when the description was read
        return self.dram.bandwidth_bytes_per_s * self.dram.efficiency

    @property
    def peak_macs_per_s(self) -> float:
        """Dense multiply-accumulates per second at rate 1, of all copies of the array."""
        return self.compute.multipliers * self.copies(self.depths + 1) * self.technology.clock_hz

    @property
    def ahead_bytes(self) -> float | None:
        """Bytes of weights that a GPU's kernels hold which are launched ahead of those that they wait for; None where
        none are."""
        return self.gpu.ahead_bytes if self.gpu is not None and self.gpu.software.dependent_launch else None

    @property
    def launch_s(self) -> float:
        """Time before each op can start, in s: that of the host, but for kernels that a GPU launches ahead."""
        return self.host.launch_overhead_s if self.ahead_bytes is None else 0.0

    def unit_for(self, function: str) -> Unit | None:
        """The unit that runs a vector or index function: one that names it, else one that takes all."""
        named = [unit for unit in self.units if function in unit.functions]
        rest = [unit for unit in self.units if "*" in unit.functions]
        return next(iter(named + rest), None)

    def source_of(self, path: str) -> Source | None:
        """Source of the value at a dotted path: the entry for it, or for its longest prefix."""
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            if source := self.sources.get(".".join(parts[:length])):
                return source
        return None

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Dotted path and value of every parameter that the description sets (names and sources apart)."""
        skip = {"name", "family", "description", "sources"}
        yield from _leaves("", self.model_dump(exclude=skip, exclude_unset=True))


_FLAT: tuple[Dataflow, ...] = ("row_stationary", "zero_skipping", "tensor_core")
"""Dataflows whose laws bring their own hierarchy along."""


def _wrong_power(technology: Technology, gpu: Gpu) -> str:
    """What a card cannot be locked at or kept to; "" where nothing is wrong."""
    if technology.clock_hz > gpu.power.max_clock_hz:
        most = gpu.power.max_clock_hz
        return f"technology.clock_hz: {technology.clock_hz:g} Hz is beyond the card's {most:g} (gpu.power.max_clock_hz)"
    if gpu.limit_w <= technology.static_power_w:
        name = "gpu.tdp_w" if gpu.power.limit_w is None else "gpu.power.limit_w"
        return (
            f"{name}: {gpu.limit_w:g} W leave nothing above technology.static_power_w, {technology.static_power_w:g} W"
        )
    return ""


def _has_energies(accelerator: Accelerator) -> None:
    """Look up every energy that pricing needs; `AcceleratorError` names an entry that the table lacks."""
    table = energy_table(accelerator.technology.energy_table)
    for dtype in accelerator.compute.rates:
        table.mac_j(dtype)
    if accelerator.units:
        table.flop_j("fp32")
    table.register_j_per_bit  # noqa: B018
    for memory in accelerator.memories:
        memory_j_per_byte(table, memory)


def memory_j_per_byte(table: EnergyTable, memory: Memory) -> float:
    """Energy of a byte read from or written to a memory at the table's node, in J; raises what its lookups do."""
    if memory.j_per_byte is not None:
        return memory.j_per_byte
    if memory.name in table.memory_pj_per_byte:
        return table.memory_pj_per_byte[memory.name] * 1e-12
    assert memory.energy is not None  # the schema asks for one of them
    if memory.energy.startswith("dram."):
        return 8 * table.dram_j_per_bit(memory.energy.removeprefix("dram."))
    assert memory.capacity_bytes is not None  # the schema asks for it on chip
    return _sram_j_per_byte(table, memory.capacity_bytes / memory.instances)


@lru_cache(maxsize=4096)
def _sram_j_per_byte(table: EnergyTable, capacity_bytes: float) -> float:
    return 8 * float(table.sram_j_per_bit(capacity_bytes))


def _wrong_depths(accelerator: Accelerator) -> str:
    """What is wrong with the depths of the memories and what they hold, "" where nothing is."""
    offchip, *buffers = accelerator.memories
    if "depth" in offchip.model_fields_set:
        return f"memories.{offchip.name}.depth: the off-chip level comes first and has none; leave it out"
    deepest = 0
    for memory in buffers:
        if memory.depth not in (max(deepest, 1), deepest + 1):
            return (
                f"memories.{memory.name}.depth: is {memory.depth} after {deepest}; list memories from the off-chip one "
                "inwards, with depths 1, 2, ... and none left out"
            )
        deepest = memory.depth
    for depth in range(1, deepest + 1):
        names = [memory.name for memory in accelerator.at_depth(depth) if memory.fanout is not None]
        if len(names) > 1:
            return f"memories.{names[1]}.fanout: {names[0]} of the same depth has one; a depth fans out once"
        for operand in ("input", "weight", "output"):
            homes = [memory.name for memory in accelerator.at_depth(depth) if operand in memory.holds]
            if len(homes) > 1:
                return f"memories: one buffer of a depth may hold {operand!r}; found {homes}; give one another `depth`"
    for operand in ("input", "weight", "output"):
        if not any(operand in memory.holds for memory in buffers):
            return f"memories: an on-chip buffer must hold {operand!r}; add it to `holds` of one"
    if flat := [each for each in accelerator.compute.dataflows if each in _FLAT]:
        if accelerator.nested:
            return f"memories: dataflow {flat[0]} takes one depth and no fanout; leave `depth` and `fanout` out"
        if kept := [side for side in ("input", "weight", "output") if side not in offchip.holds]:
            return (
                f"memories.{offchip.name}.holds: dataflow {flat[0]} moves {', '.join(kept)} on and off the chip; list "
                "input, weight and output, or leave `holds` out"
            )
    return ""


def _wrong_residency(accelerator: Accelerator) -> str:
    """What is wrong with where results may stay, "" where nothing is."""
    for memory in accelerator.memories:
        if memory.takes_results and (memory is accelerator.dram or memory.depth > 1):
            return (
                f"memories.{memory.name}.takes_results: results stay in on-chip memories of depth 1, next to the "
                "off-chip one; leave it out"
            )
    for name in ("residency", "fuse"):
        if accelerator.gpu is not None and getattr(accelerator.schedule, name) != "none":
            return f"schedule.{name}: a GPU's kernels hand results on through its L2, as calibrated; leave it at none"
    return ""


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        children = (
            (item.get("name", i), {k: v for k, v in item.items() if k != "name"}) for i, item in enumerate(value)
        )  # type: ignore[assignment]
    else:
        yield path, value
        return
    for key, child in children:
        yield from _leaves(f"{path}.{key}" if path else str(key), child)

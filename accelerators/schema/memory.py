"""Memory levels and the formats that they keep operands in."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from zerocast.accelerators.schema.part import Part

Operand = Literal["input", "weight", "output"]
"""Operands of an einsum out = a * b: `input` is a (activations; output gradients in the backward passes),
`weight` is b (weights; the saved activations in the weight-gradient pass), `output` the result."""

FORMATS = ("uncompressed", "bitmask", "run_length", "coordinate", "csr", "nm_offsets")
"""Compression formats of a memory; `run_length` may give the width of its run field, 1 to 32 bits."""
_FORMAT = re.compile(rf"{'|'.join(FORMATS)}|run_length:([1-9]|[12]\d|3[0-2])")


Side = Literal["groups", "m", "n", "k"]
"""Sides of a product that a fan-out may spread tiles over: its groups, and those of out[m, n] = a[m, k] b[k, n]."""


class Fanout(Part):
    """Copies of everything further in that a memory feeds: the depths inside it and the array."""

    count: PositiveInt
    """Number of copies."""
    over: tuple[Side, ...] = Field(min_length=1)
    """Sides that their tiles may be spread over; sums are added up on the way back where k is listed."""
    multicast: bool = True
    """Whether what several copies need is read once for all of them."""

    @field_validator("over")
    @classmethod
    def _spreads_each_once(cls, over: tuple[Side, ...]) -> tuple[Side, ...]:
        if len(set(over)) < len(over):
            raise ValueError("name each side once")
        return over


class Memory(Part):
    """A memory level. The first is the off-chip one; on-chip buffers of one depth lie beside each other."""

    name: str
    """Unique name."""
    holds: tuple[Operand, ...] = ("input", "weight", "output")
    """Operands kept here; the others pass by. One that the off-chip level does not hold lives on chip for good."""
    depth: PositiveInt = 1
    """On-chip level: 1 next to the off-chip level, higher further in. Buffers of one depth hold parts of one tile."""
    fanout: Fanout | None = None
    """Copies of what lies further in; None for one. What is described further in is one of the copies."""
    capacity_bytes: PositiveFloat | None = None
    """Usable size in bytes, both halves of a double buffer counted; None for a level that is never full."""
    bandwidth_bytes_per_s: PositiveFloat | None = None
    """Off-chip level: peak bandwidth, reads and writes together, in bytes/s."""
    efficiency: float = Field(default=1.0, gt=0, le=1)
    """Share of the peak bandwidth that long bursts reach."""
    instances: PositiveInt = 1
    """Equal memories that share the capacity, one per PE or bank: an access costs the energy of one of them."""
    port_bytes_per_cycle: PositiveFloat | None = None
    """On-chip level: bytes that it feeds to (and, apart, takes from) the array in one cycle."""
    bytes_per_cycle: PositiveFloat | None = None
    """On-chip level that has others further in: bytes to and from them in one cycle, together; None for no limit."""
    double_buffered: bool = True
    """Whether the next tile loads while this one computes (each tile then takes its size twice)."""
    overlap: float | None = Field(default=None, ge=0, le=1)
    """On-chip level: share of the shorter of moving tiles and computing that hides behind the longer; None: all of it
    where `double_buffered`, none where not. A controller that loads part of the next tile early lies between."""
    takes_results: bool = False
    """On-chip level next to the off-chip one: whether results can stay here without `output` in `holds`, from where
    the memory that gathers their sums hands them over. A memory that holds outputs takes them anyway."""
    keeps_tiles: bool = True
    """On-chip level: whether a tile of an input or a weight that the next tile of outputs needs too is still there;
    false for a queue, or a buffer that is filled anew for every tile of outputs."""
    formats: dict[Operand, tuple[str, ...]] = Field(default_factory=dict)
    """Compression formats that an operand may be kept in; uncompressed where none is named."""
    energy: str | None = None
    """Entry of the energy table that prices an access: `dram.NAME` (per bit) or `sram` (by capacity)."""
    j_per_byte: float | None = Field(default=None, ge=0)
    """Energy of one byte read or written, in J, in place of an entry of the table; `energy_scale` leaves it alone."""

    @property
    def hidden(self) -> float:
        """Share of the shorter of moving tiles and computing that hides behind the longer."""
        return float(self.double_buffered) if self.overlap is None else self.overlap

    @field_validator("holds")
    @classmethod
    def _holds_each_once(cls, holds: tuple[Operand, ...]) -> tuple[Operand, ...]:
        if len(set(holds)) < len(holds):
            raise ValueError("name each operand once")
        if not holds:
            raise ValueError("no operand reaches this level; list input, weight or output, or leave the level out")
        return holds

    @model_validator(mode="after")
    def _has_one_energy(self) -> Memory:
        if (self.energy is None) == (self.j_per_byte is None):
            raise ValueError("energy: give an entry of the energy table (dram.NAME, sram) or j_per_byte, one of them")
        return self

    @field_validator("formats")
    @classmethod
    def _formats_are_known(cls, formats: dict[Operand, tuple[str, ...]]) -> dict[Operand, tuple[str, ...]]:
        for operand, names in formats.items():
            if not names:
                raise ValueError(
                    f"{operand}: no format is named; list uncompressed or another, or leave the operand out"
                )
            for name in names:
                if not _FORMAT.fullmatch(name):
                    known = ", ".join(FORMATS).replace("run_length", "run_length[:BITS, 1 to 32]")
                    raise ValueError(f"{operand}: unknown format {name!r}; allowed: {known}")
        return formats

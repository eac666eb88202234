"""Memory levels and the formats that they keep operands in."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from zerocast.accelerators.schema.part import Part

Operand = Literal["input", "weight", "output"]
"""Operands of an einsum out = a * b: `input` is a (activations; output gradients in the backward passes),
`weight` is b (weights; the saved activations in the weight-gradient pass), `output` the result."""

FORMATS = ("uncompressed", "bitmask", "run_length", "coordinate", "csr", "nm_offsets")
"""Compression formats of a memory; `run_length` may give the width of its run field, 1 to 32 bits."""
_FORMAT = re.compile(rf"{'|'.join(FORMATS)}|run_length:([1-9]|[12]\d|3[0-2])")


class Memory(Part):
    """A memory level. The first is the off-chip one; the others are on-chip buffers beside each other."""

    name: str
    """Unique name."""
    holds: tuple[Operand, ...] = ("input", "weight", "output")
    """Operands kept here. Off chip these are all three: an operand that lives on chip for good is not modelled yet."""
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
    double_buffered: bool = True
    """Whether the next tile loads while this one computes (each tile then takes its size twice)."""
    keeps_tiles: bool = True
    """On-chip level: whether a tile of an input or a weight that the next tile of outputs needs too is still there;
    false for a queue, or a buffer that is filled anew for every tile of outputs."""
    formats: dict[Operand, tuple[str, ...]] = Field(default_factory=dict)
    """Compression formats that an operand may be kept in; uncompressed where none is named."""
    energy: str
    """Entry of the energy table that prices an access: `dram.NAME` (per bit) or `sram` (by capacity)."""

    @field_validator("holds")
    @classmethod
    def _holds_each_once(cls, holds: tuple[Operand, ...]) -> tuple[Operand, ...]:
        if len(set(holds)) < len(holds):
            raise ValueError("name each operand once")
        return holds

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

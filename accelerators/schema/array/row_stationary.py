"""Arrays that keep rows of filters and inputs in their processing elements."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from zerocast.accelerators.schema.part import Part

Criterion = Literal["dram_bytes", "cycles", "movement_j", "latency_s", "energy_j", "edp"]
"""A figure of a mapping to make small: bytes off chip, cycles of the array, energy of moving data, latency, all energy,
energy times delay."""


class RowStationary(Part):
    """An array of PEs with scratch pads (spads), each of which convolves one row of a filter with one of the input.

    What is not said here: the buffer that holds `input` and `output` is the global buffer (GLB), its port serves
    partial sums, reads and writes apart; the buffer that holds `weight` takes the filters of the next pass.
    """

    ifmap_spad_bytes: PositiveFloat
    """Spad of a PE for the sliding window of the input, in bytes."""
    filter_spad_bytes: PositiveFloat
    """Spad of a PE for filter rows, in bytes."""
    psum_spad_bytes: PositiveFloat
    """Spad of a PE for partial sums, in bytes."""
    ifmap_bus_bytes_per_cycle: PositiveFloat
    """Bytes of the input that the network on chip delivers in one cycle, to any number of PEs."""
    filter_bus_bytes_per_cycle: PositiveFloat
    """Bytes of filters that the network on chip delivers in one cycle, to any number of PEs."""
    psum_link_bytes_per_cycle: PositiveFloat
    """Bytes of partial sums that a PE passes to its neighbour in one cycle."""
    bank_bytes: PositiveFloat
    """Bank of the global buffer, in bytes; a bank holds either input or partial sums."""
    link_word_bytes: PositiveFloat
    """Word of the off-chip link; compressed values are packed into it whole."""
    pipeline_cycles: int = Field(default=0, ge=0)
    """Stages of a PE."""
    hop_pj_per_bit: float = Field(ge=0)
    """Energy of one bit delivered to a PE by the network on chip or by its neighbour, in pJ."""
    pe_clock_w: float = Field(default=0.0, ge=0)
    """Power of the clock network per PE in use, in W; the clock of a PE that is not used is gated."""
    criteria: tuple[Criterion, ...] = Field(default=("dram_bytes", "cycles", "movement_j"), min_length=1)
    """What decides between mappings where the objective is latency, the first first; the next one decides between those
    that come near the least by it. `[latency_s]` takes the quickest."""
    gated_share: float = Field(default=0.0, ge=0, le=1)
    """Share of a PE's power, its clock included, that a zero in a gated operand saves."""

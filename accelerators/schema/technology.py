"""What the chip is made in, and what an FPGA design takes of it."""

from __future__ import annotations

from pydantic import Field, PositiveFloat, PositiveInt

from accelerators.schema.part import Part


class FpgaPart(Part):
    """What an FPGA offers to the design, after the board's shell took its share."""

    part: str
    """Vendor's part name."""
    lut: PositiveInt
    """Look-up tables."""
    ff: PositiveInt
    """Flip-flops."""
    dsp: PositiveInt
    """DSP slices."""
    bram36: PositiveInt
    """36-kbit block RAMs."""
    uram: int = Field(ge=0)
    """288-kbit UltraRAMs."""


class Technology(Part):
    """What the chip is made in."""

    node_nm: PositiveFloat
    """Feature size in nm."""
    clock_hz: PositiveFloat
    """Clock of the array and the units, in Hz."""
    energy_table: str
    """Name of a file in `accelerators/tables/`."""
    energy_scale: PositiveFloat = 1.0
    """Factor on every on-chip entry of the energy table (node or FPGA overhead); DRAM is not scaled."""
    static_power_w: float = Field(default=0.0, ge=0)
    """Power drawn whether or not anything happens, in W."""
    fpga: FpgaPart | None = None
    """Set for FPGA designs: the budget that the resources must fit."""


class Cost(Part):
    """FPGA resources of one instance of a component."""

    lut: float = Field(default=0.0, ge=0)
    """Look-up tables."""
    ff: float = Field(default=0.0, ge=0)
    """Flip-flops."""
    dsp: float = Field(default=0.0, ge=0)
    """DSP slices."""


class Resources(Part):
    """FPGA resources per component; buffers are counted from their capacity and port width."""

    pe: Cost = Cost()
    """One processing element, its N:M multiplexer included."""
    lane: dict[str, Cost] = Field(default_factory=dict)
    """One lane of a unit, by unit name."""
    fixed: Cost = Cost()
    """Controller, DMA, interconnect."""
    uram_from_bytes: PositiveFloat = 65536
    """Buffers of this size and above are built from UltraRAM, smaller ones from block RAM."""

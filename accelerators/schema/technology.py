"""What the chip is made in, and what an FPGA design takes of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from zerocast.accelerators.schema.array.compute import check_dtypes
from zerocast.accelerators.schema.part import Part
from zerocast.accelerators.tables.energy import EnergyTable, parse_table


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


class Storage(Part):
    """How an on-chip buffer is built, where its capacity and its instances do not say."""

    share: PositiveFloat = 1.0
    """Bytes built for each byte of `capacity_bytes`: copies count more than once, a denser cell or code less."""
    macros: PositiveInt | None = None
    """Equal memories that it is cut into; None for as many as `instances`."""
    cells: Literal["memory", "registers"] = "memory"
    """Whether it is a macro of memory cells, or flip-flops with a multiplexer over them."""


class Technology(Part):
    """What the chip is made in."""

    node_nm: PositiveFloat
    """Feature size in nm."""
    clock_hz: PositiveFloat
    """Clock of the array and the units, in Hz."""
    energy_table: str | EnergyTable
    """Name of a file in `accelerators/tables/`, or a table of one's own: its path, relative to the accelerator's file,
    or what it holds."""
    energy_scale: PositiveFloat = 1.0
    """Factor on every on-chip entry of the energy table (node or FPGA overhead); DRAM is not scaled."""
    static_power_w: float = Field(default=0.0, ge=0)
    """Power drawn whether or not anything happens, in W."""
    flip_flop_clock_j: float = Field(default=0.0, ge=0)
    """Energy of a flip-flop at each cycle of the clock, used or not, in J; 0 where clocks are gated."""
    area_table: str | None = None
    """Name of an area table in `accelerators/tables/`, scaled to `node_nm`; None where no area is known (FPGAs)."""
    area_scale: PositiveFloat = 1.0
    """Factor on every area of the table, beside the scaling between nodes."""
    storage: dict[str, Storage] = Field(default_factory=dict)
    """How buffers are built, by name, for their area and their FPGA memories; cycles and energy know nothing of it."""
    die_mm2: PositiveFloat | None = None
    """Published area of the whole die, in mm2, in place of the table's; of a GPU's die the table then prices only
    operand multiplexers that differ from those of 2:4, which it contains."""
    fpga: FpgaPart | None = None
    """Set for FPGA designs: the budget that the resources must fit."""

    @field_validator("energy_table", mode="before")
    @classmethod
    def _is_a_name_or_a_table(cls, value: Any) -> Any:
        if not isinstance(value, str | dict | EnergyTable):
            raise ValueError("must be text")
        return parse_table(value, str(value.get("name", ""))) if isinstance(value, dict) else value


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
    """One multiplier's share of a processing element: registers, control, and the multiply-add itself where
    `multiply_add` is empty; its N:M multiplexer and its sums in flight are counted from the array's description."""
    multiply_add: dict[str, Cost] = Field(default_factory=dict)
    """One multiply-add, by the data type that the array is built for."""
    lane: dict[str, Cost] = Field(default_factory=dict)
    """One lane of a unit, by unit name."""
    fixed: Cost = Cost()
    """Controller, DMA, interconnect."""
    uram_from_bytes: PositiveFloat = 65536
    """Memories of this size and above are built from UltraRAM, smaller ones from block RAM."""

    @field_validator("multiply_add")
    @classmethod
    def _types_are_known(cls, costs: dict[str, Cost]) -> dict[str, Cost]:
        check_dtypes(costs)
        return costs

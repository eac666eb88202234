"""What a GPU draws beside the energy of its operations, and what it is kept to."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from zerocast.accelerators.schema.part import Part


class Power(Part):
    """Clock, voltage and power of a card. Energies of its table, and `clocks_w`, are those at `max_clock_hz`; at the
    clock that it runs at (`technology.clock_hz`) what is on chip falls with the square of the voltage."""

    max_clock_hz: PositiveFloat
    """Highest clock of the streaming multiprocessors, in Hz."""
    least_voltage: float = Field(gt=0, le=1)
    """Lowest voltage, over that at the highest clock."""
    knee: float = Field(gt=0, lt=1)
    """Share of the highest clock up to which the lowest voltage is enough; from there to 1 it rises in a line."""
    clocks_w: float = Field(ge=0)
    """Power of the clocks of a card that is at work, in W, on top of `technology.static_power_w`."""
    limit_macs_per_s: PositiveFloat
    """Rate of 16-bit multiply-accumulates at which arithmetic alone would draw `gpu.tdp_w`. Kernel times are calibrated
    with it; energies do not know it."""
    limit_w: PositiveFloat | None = None
    """Power that the card is kept to by lowering its clock, in W; None for `gpu.tdp_w`."""

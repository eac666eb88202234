"""Power of a GPU: the voltage of its clock, what it draws whatever runs, and the clock that its limit leaves it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.errors import SimulationError

Watts = Callable[[Accelerator], float]

LOWEST = 0.15
"""Lowest clock that a driver goes to, over the highest: 210 of 1,410 MHz on an A100 (assumption for others)."""
CLOSE = 0.003
"""Share by which power may miss the limit."""


def switching(accelerator: Accelerator) -> float:
    """Energy of an operation on chip over that in the energy table: the square of the voltage that the clock takes, as
    charge goes with it; 1 for an accelerator that is no GPU."""
    if accelerator.gpu is None:
        return 1.0
    power = accelerator.gpu.power
    beyond = max(accelerator.technology.clock_hz / power.max_clock_hz - power.knee, 0.0) / (1 - power.knee)
    return (power.least_voltage + (1 - power.least_voltage) * beyond) ** 2


def idle_w(accelerator: Accelerator) -> float:
    """Power of a card at work with nothing to do: the static one, and that of its clocks at their rate and voltage; of
    other accelerators the static one."""
    static = accelerator.technology.static_power_w
    if accelerator.gpu is None:
        return static
    power = accelerator.gpu.power
    rate = accelerator.technology.clock_hz / power.max_clock_hz
    return static + power.clocks_w * rate * switching(accelerator)


def streamed_j_per_byte(accelerator: Accelerator) -> float:
    """Energy of a byte that a kernel streams between the L2 and registers, its instructions included, in J."""
    technology = accelerator.technology
    per_bit = energy_table(technology.energy_table).streamed_j_per_bit
    return 8 * per_bit * technology.energy_scale * switching(accelerator)


def drawn_share(accelerator: Accelerator, joules: float, seconds: float) -> float:
    """Share of the energy of a kernel that runs again and again which the card can draw at its limit."""
    assert accelerator.gpu is not None
    return min(1.0, (accelerator.gpu.limit_w - idle_w(accelerator)) * seconds / max(joules, 1e-30))


def at_clock(accelerator: Accelerator, clock_hz: float) -> Accelerator:
    """The card locked at another clock of its multiprocessors; its memory keeps its own."""
    technology = accelerator.technology.model_copy(update={"clock_hz": clock_hz})
    return accelerator.model_copy(update={"technology": technology})


def within_limit(accelerator: Accelerator, watts: Watts) -> Accelerator:
    """The card at the highest clock at which it draws no more than its power limit.

    watts: its mean power at a clock, which rises with it. Raises `SimulationError` where it draws more at its lowest.
    """
    assert accelerator.gpu is not None
    limit, high = accelerator.gpu.limit_w, accelerator.technology.clock_hz
    too_much = watts(accelerator) / limit
    if too_much <= 1 + CLOSE:
        return accelerator
    low = min(LOWEST * accelerator.gpu.power.max_clock_hz, high)
    left = watts(at_clock(accelerator, low)) / limit
    if left > 1:
        raise SimulationError(
            f"{accelerator.name} draws {left * limit:.0f} W at its lowest clock, more than the {limit:g} W that it is "
            "kept to; raise gpu.power.limit_w"
        )
    while True:  # false position on logarithms, with halves so that it closes in from both sides
        share = np.clip(np.log(1 / left) / np.log(too_much / left), 0.1, 0.9)
        clock = low * (high / low) ** share
        drawn = watts(at_clock(accelerator, float(clock))) / limit
        if abs(drawn - 1) <= CLOSE or high / low < 1 + CLOSE:
            return at_clock(accelerator, float(clock))
        low, left, high, too_much = (clock, drawn, high, too_much) if drawn < 1 else (low, left, clock, drawn)

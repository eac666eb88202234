"""What a card's power limit leaves of the energy that an op would take."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.tables import energy_table


def streamed_j_per_byte(accelerator: Accelerator) -> float:
    """Energy of a byte between the off-chip memory and the registers of an SM, without the memory's own, in J."""
    technology = accelerator.technology
    return 8 * energy_table(technology.energy_table).streamed_j_per_bit * technology.energy_scale


def within_power(accelerator: Accelerator, joules: ArrayLike, seconds: ArrayLike) -> NDArray[np.float64]:
    """Share of an op's dynamic energy that the card can draw while the op lasts, beside its idle power: at its limit it
    lowers clock and voltage. 1 for an accelerator that is no GPU. Broadcasts."""
    if accelerator.gpu is None:
        return np.ones_like(np.asarray(joules, dtype=float))
    most = (accelerator.gpu.tdp_w - accelerator.technology.static_power_w) * np.asarray(seconds, dtype=float)
    return np.asarray(np.minimum(1.0, most / np.maximum(joules, 1e-30)), dtype=float)

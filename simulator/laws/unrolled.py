"""Arrays that take some places of several ranks at once, and a step for each such block of the loop nest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.laws.array import rate_of
from zerocast.simulator.laws.law import Array, Flags, PortTimes, Streaming, Unit, even_shares
from zerocast.simulator.products.gemm import Gemm

if TYPE_CHECKING:
    from zerocast.simulator.products import mapping as mappings


@dataclass(frozen=True, slots=True)
class Unrolled(Streaming):
    """`unroll` places of each rank at once; sums stay in the array while K streams."""

    dataflow: Dataflow = "unrolled"
    streams: str = "k"

    def grain(self, gemm: Gemm, accelerator: Accelerator) -> tuple[Unit, Unit, Unit]:
        """The elements that a step takes on average, since edges along every rank leave it partly idle."""
        units = gemm.units(accelerator.compute)
        return Fraction(gemm.m, units["m"]), Fraction(gemm.n, units["n"]), Fraction(gemm.k, units["k"])

    def folds_of_a_tile(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Array:
        """Steps along rows and columns, each of which keeps its sums."""
        units = gemm.units(accelerator.compute)
        return np.maximum(units["m"] / mapping.trips_m, 1.0) * np.maximum(units["n"] / mapping.trips_n, 1.0)

    def cycles(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags,
        masks: bool = False,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """One for each block of the product, or for each tile where tiles are smaller than a block."""
        reduced = steps * (mapping.trips_k - 1) + last
        return _blocks(gemm, accelerator, mapping.trips) * reduced / gemm.k, reduced, even_shares(gemm, mapping)

    def tile_cycles(self, tile: Gemm, accelerator: Accelerator, steps: Array) -> Array:
        """One for each block of a tile."""
        return _blocks(tile, accelerator, dict.fromkeys("mnk", 1.0)) * steps / tile.k

    def port_times(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags
    ) -> PortTimes:
        """A row of inputs for each step along N, a column of weights for each along M."""
        units, again = gemm.units(accelerator.compute), np.where(flows, 1.0, mapping.trips["k"])
        return PortTimes(units["n"], units["m"], again - 1, again)

    def losses(
        self, gemm: Gemm, accelerator: Accelerator, cycles: float, ideal: float, masks: bool = False
    ) -> Mapping[str, float]:
        """Blocks at the edges of ranks."""
        return {"edge": cycles - ideal}


def _blocks(gemm: Gemm, accelerator: Accelerator, trips: Mapping[str, ArrayLike]) -> Array:
    """Steps of the array. trips: how many tiles there are along m, n and k."""
    units = gemm.units(accelerator.compute)
    sides = [np.maximum(units[side], np.asarray(trips[side], dtype=float)) for side in "mnk"]
    return np.asarray(units["batch"] * sides[0] * sides[1] * sides[2] / rate_of(accelerator, gemm.types))

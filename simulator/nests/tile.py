"""Innermost tiles of a nest as products of their own: the array's cycles and its bytes at the buffers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, Compute, Dataflow
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import reduction_steps
from zerocast.simulator.laws.outputs import computed_share
from zerocast.simulator.products.gemm import ROLES, Gemm
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.traffic import PortBytes, port_bytes

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tile(Gemm):
    """One or many tiles of a product; sizes broadcast. whole: what they are cut from."""

    whole: Gemm | None = None

    def units(self, array: Compute) -> dict[str, Any]:
        """Steps of an array along the sides of a tile: of a side with one rank as many as its extent fills; of several,
        which the tile cuts somewhere, its share of all."""
        whole = self.whole
        assert whole is not None
        units, sizes = whole.units(array), dict(whole.roles)
        found: dict[str, Any] = {"batch": units["batch"] / whole.batch}
        for side in "mnk":
            several = [role for role in ROLES[side] if sizes.get(role, 1) > 1]
            plain = {"m": "out_cols", "n": "out_channels", "k": "in_channels"}[side]
            at_once = array.unroll.get(several[0] if several else plain, 1)  # type: ignore[call-overload]
            length, extent = getattr(whole, side), getattr(self, side)
            if len(several) < 2 and -(-length // at_once) == units[side]:
                found[side] = np.ceil(extent / at_once)
            else:
                found[side] = np.maximum(np.floor(extent * units[side] / length + 1e-9), 1.0)
        return found


def _tile(gemm: Gemm, m: Array, n: Array, k: Array) -> Tile:
    same = {each.name: getattr(gemm, each.name) for each in fields(gemm)}
    return Tile(**same | {"batch": 1, "m": m, "n": n, "k": k}, whole=gemm)


def tile_cycles(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, m: Array, n: Array, k: Array) -> Array:
    """The array's cycles for single tiles."""
    steps = reduction_steps(gemm, accelerator, dataflow, k)
    return law_of(dataflow).tile_cycles(_tile(gemm, m, n, k), accelerator, steps) * computed_share(
        gemm, accelerator, dataflow
    )


def tile_ports(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow, m: Array, n: Array, k: Array) -> PortBytes:
    """The array's bytes at the buffers for single tiles."""
    tile, one = _tile(gemm, m, n, k), np.ones_like(m * n * k)
    steps = reduction_steps(gemm, accelerator, dataflow, k)
    mapping = Mapping(dataflow, "mnk", m, n, k, one, one, one)
    return port_bytes(tile, accelerator, mapping, steps, steps, np.zeros_like(one, dtype=bool))

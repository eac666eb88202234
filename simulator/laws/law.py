"""What mappings, traffic and walks ask of the innermost array; each dataflow answers in a class of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.laws.array import rate_of
from zerocast.simulator.laws.outputs import computed_share
from zerocast.simulator.products.gemm import Gemm

if TYPE_CHECKING:
    from zerocast.simulator.products import mapping as mappings

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Unit = int | Fraction


@dataclass(frozen=True, slots=True)
class PortTimes:
    """Times that the array reads each input and each weight of the whole m x n x k from their buffers, and reads and
    writes each sum; broadcast over mappings."""

    input: Array | float
    weight: Array | float
    sum_read: Array | float
    sum_write: Array | float


@dataclass(frozen=True, slots=True)
class Law(ABC):
    """How an array computes a product in one dataflow.

    by_tile: whether buffer tiles are folds of their own; else each tile has its share of the whole's cycles, which the
    row then takes apart (`losses`). by_block: outputs that nobody asks for are left out in blocks that the law's own
    cycles do not know of (`laws.outputs`).
    """

    dataflow: Dataflow
    by_tile: ClassVar[bool] = False
    by_block: ClassVar[bool] = True

    @property
    def loads_operand(self) -> bool:
        """Whether folds keep an operand in the PEs, which is loaded before they stream."""
        return False

    @abstractmethod
    def grain(self, gemm: Gemm, accelerator: Accelerator) -> tuple[Unit, Unit, Unit]:
        """Of what units the tiles along M, N and K are made, so that no step of the array is partly idle."""

    def goes_on(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Flags:
        """Whether a fold's stream goes on from one buffer tile to the next, so that the array neither fills, loads nor
        drains between them."""
        return np.asarray(False)

    def completes(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Flags:
        """Whether sums leave the array when they are complete: it keeps them while it streams all of K."""
        return np.asarray(False)

    @abstractmethod
    def cycles(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags,
        masks: bool = False,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """Array cycles of the whole product without ports, the reduction steps left of its K, and of a batch item's
        cycles the share of a tile by whether it is the last along m, n and k [2, 2, 2, ...], as if each began anew.

        steps, last: reduction steps of a full tile along K and of the last one; flows: `goes_on`; masks: with the
        nonzeros of the data, for laws that know more than their mean.
        """

    @abstractmethod
    def tile_cycles(self, tile: Gemm, accelerator: Accelerator, steps: Array) -> Array:
        """Array cycles of tiles as products of their own, of so many reduction steps."""

    @abstractmethod
    def port_times(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags
    ) -> PortTimes:
        """How often words pass between buffers and array; arguments as in `cycles`."""

    def ideal_cycles(
        self, gemm: Gemm, accelerator: Accelerator, steps_share: ArrayLike, masks: bool = False
    ) -> ArrayLike:
        """Cycles of a full array with every skippable zero skipped, `steps_share` of K left."""
        rate = accelerator.compute.multipliers * rate_of(accelerator, gemm.types)
        asked = gemm.mask.density if computed_share(gemm, accelerator, self.dataflow) < 1 else 1.0
        return gemm.macs * np.minimum(steps_share, 1.0) * asked / rate

    def output_computed(self, gemm: Gemm, accelerator: Accelerator) -> float:
        """Share of the outputs that take time, computed or waited for."""
        return computed_share(gemm, accelerator, self.dataflow)

    def losses(
        self, gemm: Gemm, accelerator: Accelerator, cycles: float, ideal: float, masks: bool = False
    ) -> Mapping[str, float]:
        """By cause, what of the array's cycles without ports is not ideal."""
        return {}


@dataclass(frozen=True, slots=True)
class Streaming(Law):
    """Arrays whose folds stream one rank, `streams`, while they keep what depends on the other two."""

    streams: str

    @property
    def loads_operand(self) -> bool:
        """All but arrays that stream K, which keep sums."""
        return self.streams != "k"

    @abstractmethod
    def folds_of_a_tile(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Array:
        """Folds of the array in one full buffer tile."""

    def goes_on(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Flags:
        """A tile holds one fold (of sums: as many as the PEs keep), and no loop over tiles that the fold depends on
        runs inside that of the streamed rank."""
        compute = accelerator.compute
        together = compute.accumulators_per_pe if self.streams == "k" and compute.interleave else 1
        few = self.folds_of_a_tile(gemm, accelerator, mapping) <= together
        return np.asarray(few & (mapping.inside(self.streams)[0] == 1))

    def completes(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Flags:
        """Arrays that stream K, where a fold's stream goes on or K is one tile."""
        if self.streams != "k":
            return np.asarray(False)
        return np.asarray(self.goes_on(gemm, accelerator, mapping) | (mapping.trips_k == 1))


Sizes = dict[str, tuple[Array, Array]]
"""What full tiles have and what the last one has, by rank."""


def tile_extents_of(gemm: Gemm, mapping: mappings.Mapping) -> Sizes:
    """Extents of full tiles and of the last one along each rank."""
    return {
        rank: (tile := getattr(mapping, rank), getattr(gemm, rank) - (trips - 1) * tile)
        for rank, trips in mapping.trips.items()
    }


def by_last(sizes: Sizes) -> list[Array]:
    """The sizes along m, n and k, each pair along an axis of its own before all others."""
    dims = max(np.ndim(each) for pair in sizes.values() for each in pair)
    stacked = [np.stack(np.broadcast_arrays(*sizes[rank])) for rank in "mnk"]
    return [
        pair.reshape(*(2 if axis == place else 1 for axis in range(3)), *(1,) * (dims + 1 - pair.ndim), *pair.shape[1:])
        for place, pair in enumerate(stacked)
    ]


def even_shares(gemm: Gemm, mapping: mappings.Mapping) -> Array:
    """Shares of tiles of an array whose cycles do not depend on how buffers cut the product: those of its volume."""
    m, n, k = by_last(tile_extents_of(gemm, mapping))
    return np.asarray(m * n * k / (float(gemm.m) * gemm.n * gemm.k))

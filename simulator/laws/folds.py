"""Systolic arrays: a product is folds, each of which streams one rank past what the array keeps of the other two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.simulator.laws.array import array_cycles, folds_of, rate_of, reduction_steps, row_folds, skips, window_of
from zerocast.simulator.laws.law import Array, Flags, PortTimes, Sizes, Streaming, Unit, by_last, tile_extents_of
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads.patterns import NM

if TYPE_CHECKING:
    from zerocast.simulator.products import mapping as mappings


@dataclass(frozen=True, slots=True)
class Folds(Streaming):
    """Arrays that keep sums (K streams), weights (M streams) or inputs (N streams)."""

    by_tile: ClassVar[bool] = True

    def grain(self, gemm: Gemm, accelerator: Accelerator) -> tuple[Unit, Unit, Unit]:
        """Whole folds of the array, and along K whole N:M groups and full lanes."""
        compute = accelerator.compute
        lanes = max(int(compute.macs_per_pe * rate_of(accelerator, gemm.types)), 1)
        skipped = skips(gemm, accelerator, self.dataflow)
        pattern = getattr(gemm, skipped).structured if skipped else None
        laws: dict[Operand, NM | None] = {side: getattr(gemm, side).structured for side in ("input", "weight")}
        group = math.lcm(
            *(law.m for side, law in laws.items() if law and (side == skipped or _by_groups(accelerator, side)))
        )
        if self.streams == "k":
            kept = group if pattern is None else group * pattern.n // pattern.m
            return compute.rows, compute.cols, group * lanes // math.gcd(kept, lanes)
        density = 1.0 if pattern is None else pattern.density
        depth = -(-int(compute.rows * lanes / density) // group) * group
        if not compute.packs_kernel and gemm.conv is not None:
            depth = min(depth, gemm.k // gemm.conv.taps) * gemm.conv.taps
        return (1, compute.cols, depth) if self.streams == "m" else (compute.cols, 1, depth)

    def folds_of_a_tile(self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping) -> Array:
        """Folds by rows and columns of the array."""
        compute = accelerator.compute
        steps = reduction_steps(gemm, accelerator, self.dataflow, mapping.k)
        depth = np.ceil(steps / (compute.macs_per_pe * rate_of(accelerator, gemm.types)))
        return folds_of(compute, self.dataflow, mapping.m, mapping.n, depth, window_of(gemm, mapping).taps)

    def cycles(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags,
        masks: bool = False,
    ) -> tuple[Array, Array, Array]:  # fmt: skip
        """Exact over full and edge tiles: tiles along each rank are of two sizes (full, and the rest), so the product
        is the sum over their eight combinations. Where a fold's stream goes on from tile to tile (`flows`), the tiles
        along the streamed rank count as one."""
        reduced = steps * (mapping.trips_k - 1) + last
        sizes = tile_extents_of(gemm, mapping) | {"k": (steps, last)}
        counts = {rank: (trips - 1, np.ones_like(trips)) for rank, trips in mapping.trips.items()}

        def cycles_of(sizes: Sizes) -> Array:
            m, n, k = by_last(sizes)
            return array_cycles(accelerator, gemm.types, self.dataflow, m, n, k, (mapping.m, mapping.n, steps),
                                window_of(gemm, mapping))  # fmt: skip

        each = cycles_of(sizes)
        cycles = apart = _total(each, counts)
        if flows.any():
            trips = mapping.trips[self.streams]
            whole = reduced if self.streams == "k" else np.full_like(trips, getattr(gemm, self.streams))
            one = np.zeros_like(trips), np.ones_like(trips)
            together = cycles_of(sizes | {self.streams: (whole, whole)})
            cycles = np.where(flows, _total(together, counts | {self.streams: one}), apart)
        return gemm.batch * cycles, reduced, each / apart

    def tile_cycles(self, tile: Gemm, accelerator: Accelerator, steps: Array) -> Array:
        """Folds of each tile, filled and drained anew."""
        return array_cycles(accelerator, tile.types, self.dataflow, tile.m, tile.n, steps)

    def port_times(
        self, gemm: Gemm, accelerator: Accelerator, mapping: mappings.Mapping, steps: Array, last: Array, flows: Flags
    ) -> PortTimes:
        """Arrays that keep sums read a row of inputs for each fold along N and a column of weights for each fold along
        M; the others read what they keep once a tile, and partial sums once per fold along K."""
        compute, again = accelerator.compute, np.where(flows, 1.0, mapping.trips[self.streams])
        if self.streams == "k":
            return PortTimes(np.ceil(gemm.n / compute.cols), np.ceil(gemm.m / compute.rows), again - 1, again)
        lanes, taps = compute.macs_per_pe * rate_of(accelerator, gemm.types), window_of(gemm, mapping).taps
        full, rest = (row_folds(compute, depth / lanes, taps) for depth in (steps, last))
        visits = (mapping.trips_k - 1) * full + rest
        if self.streams == "m":
            return PortTimes(np.ceil(gemm.n / compute.cols), again, visits - 1, visits)
        return PortTimes(again, np.ceil(gemm.m / compute.cols), visits - 1, visits)


def _by_groups(accelerator: Accelerator, side: Operand) -> bool:
    """Whether a memory keeps an operand by N:M groups, which tiles then do not cut."""
    return any("nm_offsets" in memory.formats.get(side, ()) for memory in accelerator.memories)


def _total(each: Array, counts: Sizes) -> Array:
    """Sum over all tiles, of eight kinds; one after the other, so that one mapping and many have the same bits."""
    m, n, k = by_last(counts)
    total: Array = np.asarray(0.0)
    for part in (parts := each * (m * n * k)).reshape(8, *parts.shape[3:]):
        total = total + part
    return total

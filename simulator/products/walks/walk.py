"""Time of a walk over all tiles of a product, for one mapping or a million, without visiting every tile.

Step i computes tile i while the link stores what tile i - 1 left and loads tile i + 1; the next step begins when both
are done (`side_by_side` of other than doubled buffers). First load and last store stand alone. Along a rank all tiles
but the last are of one size, so that a step depends only on where each loop stands: at its first trip, at the last but
one, at the last or between them. Steps that stand alike are one kind, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import ORDERS, Mapping
from zerocast.simulator.products.walks.kinds import every_walk
from zerocast.simulator.products.walks.pipeline import side_by_side

if TYPE_CHECKING:
    from zerocast.simulator.products.gemm_cost import ArrayCost
    from zerocast.simulator.products.traffic import TileBytes

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]


def tile_shares(size: int, tile: Array, trips: Array) -> tuple[Array, Array]:
    """Extents of a full tile and of the last one along a rank, against their mean."""
    return tile * trips / size, (size - (trips - 1) * tile) * trips / size


def ends_bytes(gemm: Gemm, mapping: Mapping, tile: TileBytes) -> Array:
    """Bytes of the first load and of the last store."""
    (m, last_m), (n, last_n), (k, _) = (
        tile_shares(getattr(gemm, rank), getattr(mapping, rank), mapping.trips[rank]) for rank in "mnk"
    )
    return np.asarray(tile.input * m * k + tile.weight * n * k + tile.output * last_m * last_n)


def walked_cycles(
    gemm: Gemm, accelerator: Accelerator, mapping: Mapping, part: ArrayCost, bytes_per_cycle: ArrayLike
) -> Array:
    """Cycles of the whole product behind a link of some bytes per cycle; broadcasts over mappings."""
    order = ORDERS.index(mapping.order) if isinstance(mapping.order, str) else mapping.order
    tile = part.tile
    told = (order, mapping.m, mapping.n, mapping.k, *(mapping.trips[rank] for rank in "mnk"), tile.input, tile.weight,
            tile.output, tile.partial, part.busy_cycles, bytes_per_cycle, ends_bytes(gemm, mapping, tile),
            *(mapping.holds(side) for side in ("input", "weight", "output")))  # fmt: skip
    shape = np.broadcast_shapes(*(np.shape(each) for each in told))
    flat = [np.ravel(each if np.shape(each) == shape else np.broadcast_to(each, shape)) for each in told]
    own = part.tile_shares.shape[3:]
    by_last = part.tile_shares.reshape(8, *(1,) * (len(shape) - len(own)), *own)
    by_last = np.broadcast_to(by_last, (8, *shape)).reshape(8, -1)
    found = np.empty(by_last.shape[1])
    for start in range(0, len(found), _IN_CACHE):
        at = slice(start, start + _IN_CACHE)
        found[at] = _walked(gemm, accelerator, by_last[:, at], *(each[at] for each in flat))
    return found.reshape(shape)


_IN_CACHE = 1024
"""Mappings that are walked together."""


def _walked(
    gemm: Gemm, accelerator: Accelerator, by_last: Array, order: Index, m: Array, n: Array, k: Array, trips_m: Array,
    trips_n: Array, trips_k: Array, inputs: Array, weights: Array, outputs: Array, sums: Array, busy: Array,
    rate: Array, ends: Array, in_held: Flags, weight_held: Flags, out_held: Flags,
) -> Array:  # fmt: skip
    """Cycles of flat mappings. What a step computes, loads and stores is looked up in a table of the few values that
    each mapping has of it; which of them, and how many such steps there are, `every_walk` tells."""
    walks, items, many = every_walk(), min(gemm.batch, 3), len(order)
    ranks = [(gemm.m, m, trips_m), (gemm.n, n, trips_n), (gemm.k, k, trips_k)]
    # the last but one stands out where the last is smaller
    stands = [np.minimum(trips, 3.0 + (trips * tile > size)).astype(np.intp) for size, tile, trips in ranks]
    length = items * stands[0] * stands[1] * stands[2]
    begin = np.cumsum(length) - length
    of = np.repeat(np.arange(many), length)
    first = walks.start[items - 1, order, stands[0] - 1, stands[1] - 1, stands[2] - 1]
    step = np.arange(len(of)) + np.repeat(first - begin, length)

    def figure(table: Array, code: Index) -> Array:
        """For each step one of the figures [codes, mappings] of its mapping."""
        return np.take(table, code * many + of)

    def how(side: Operand, held: Flags) -> Index:
        """The step of each mapping in a list by how tiles are kept: kept, held, or loaded anew at every step."""
        if not accelerator.buffer_of(side).keeps_tiles:
            return step + 2 * walks.steps
        return step + np.repeat(held * walks.steps, length)

    along_m, along_n, along_k = (np.stack(tile_shares(*rank)) for rank in ranks)
    partial = np.where(out_held, 0.0, sums)
    loads = figure(_tiles(inputs, along_m, along_k), walks.input[how("input", in_held)])
    loads += figure(_tiles(weights, along_n, along_k), walks.weight[how("weight", weight_held)])
    loads += figure(_tiles(partial, along_m, along_n), walks.sums[step])
    areas = (along_m[:, None] * along_n).reshape(4, many)
    left = np.concatenate([np.zeros((1, many)), partial * areas, outputs * areas])
    link = (loads + figure(left, walks.stored[step])) / np.repeat(rate, length)
    between = [np.stack([np.ones(many), trips - stand + 1]) for (_, _, trips), stand in zip(ranks, stands, strict=True)]
    counts = (between[0][:, None, None] * between[1][:, None] * between[2]).reshape(8, many)
    count = figure(np.concatenate([counts, (gemm.batch - items + 1.0) * counts]), walks.between[step])
    compute = figure(by_last * (busy / gemm.batch), walks.last[step])
    steps = count * side_by_side(compute, link, accelerator.overlap())
    return np.asarray(ends / rate + np.add.reduceat(steps, begin))


def _tiles(size: Array, one: Array, two: Array) -> Array:
    """Nothing, and tiles of a mean size by whether they are the last along two ranks [5, mappings]."""
    sizes = (size * one)[:, None] * two
    return np.concatenate([np.zeros_like(sizes[0, :1]), sizes.reshape(4, -1)])

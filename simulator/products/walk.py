"""Time of a walk over all tiles of a product, for one mapping or a million, without visiting every tile.

Step i computes tile i while the link stores what tile i - 1 left and loads tile i + 1; the next step begins when both
are done (`side_by_side` of other than doubled buffers). First load and last store stand alone. Along a rank all tiles
but the last are of one size, so that a step depends only on where each loop stands: at its first trip, at the last but
one, at the last or between them. Steps that stand alike are one kind, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import ORDERS, Mapping
from zerocast.simulator.products.pipeline import side_by_side

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
    order, m, n, k, *trips, inputs, weights, outputs, sums, busy, rate, ends, in_held, weight_held, out_held = (
        np.ravel(each if np.shape(each) == shape else np.broadcast_to(each, shape)) for each in told
    )
    flat = replace(mapping, order=order, m=m, n=n, k=k, trips_m=trips[0], trips_n=trips[1], trips_k=trips[2])
    kinds = _Kinds(gemm, flat)
    at_m, at_n, at_k = kinds.loops
    many = kinds.many

    def fresh(side: Operand, one: _Loop, two: _Loop, free: _Loop, held: Flags) -> Flags:
        """Whether the next tile of an operand is loaded: an index that it depends on moves, or it is not kept."""
        if not accelerator.buffer_of(side).keeps_tiles:
            return np.ones_like(kinds.item_ends)
        return (one.moves | two.moves | kinds.item_ends) & ~(many(held) & free.next_past)

    next_m, next_n, next_k = (loop.share(loop.next_last) for loop in kinds.loops)
    loads = np.where(fresh("input", at_m, at_k, at_n, in_held), many(inputs) * next_m * next_k, 0.0)
    loads += np.where(fresh("weight", at_n, at_k, at_m, weight_held), many(weights) * next_n * next_k, 0.0)
    partial = many(np.where(out_held, 0.0, sums))
    loads += np.where((at_m.moves | at_n.moves) & at_k.next_past, partial * next_m * next_n, 0.0)
    left = np.where(at_k.before_last, many(outputs), partial)
    left *= at_m.share(at_m.before_last) * at_n.share(at_n.before_last)
    stores = np.where(at_m.moved | at_n.moved | kinds.item_begins, left, 0.0)
    link = (np.where(kinds.is_last, 0.0, loads) + np.where(kinds.is_first, 0.0, stores)) / many(rate)
    own = part.tile_shares.shape[3:]
    by_last = part.tile_shares.reshape(8, *(1,) * (len(shape) - len(own)), *own)
    by_last = np.broadcast_to(by_last, (8, *shape)).reshape(8, -1)
    share = by_last[4 * at_m.last + 2 * at_n.last + at_k.last, kinds.of]
    steps = kinds.count * side_by_side(share * many(busy / gemm.batch), link, accelerator.overlap())
    return (ends / rate + np.add.reduceat(steps, kinds.starts)).reshape(shape)


@dataclass(frozen=True, slots=True)
class _Loop:
    """Where the loop over a rank stands, by kind of step. last: at its last trip. moves, moved: its index changes to
    the next tile, and has changed since the one before. next_last, before_last: whether it stands at its last trip in
    the next tile, in the one before. next_past: in the next tile past the first."""

    full: Array
    short: Array
    last: Flags
    moves: Flags
    moved: Flags
    next_last: Flags
    before_last: Flags
    next_past: Flags

    def share(self, last: Flags) -> Array:
        """Extents of tiles against their mean, by whether they are the last."""
        return np.where(last, self.short, self.full)


class _Kinds:
    """Kinds of step of the walks of mappings, listed one mapping after the other [kinds].

    of: the mapping of each; starts: where each mapping's begin. count: how many steps are of a kind. item_begins,
    item_ends: the first and the last tile of a batch item; is_first, is_last: of the product.
    """

    def __init__(self, gemm: Gemm, mapping: Mapping) -> None:
        items, stands = min(gemm.batch, 3), {}
        for rank, trips in mapping.trips.items():  # the last but one stands out where the last is smaller
            stands[rank] = np.minimum(trips, 3.0 + (trips * getattr(mapping, rank) > getattr(gemm, rank)))
        of_item = (stands["m"] * stands["n"] * stands["k"]).astype(np.intp)
        self._rows = of_item * items
        self.starts = np.r_[0, np.cumsum(self._rows)[:-1]]
        self.of = self.many(np.arange(len(of_item)))
        at = np.arange(len(self.of)) - self.many(self.starts)
        item, place = np.divmod(at, self.many(of_item)) if items > 1 else (np.zeros(1, dtype=np.intp), at)
        self.item_begins, self.item_ends = place == 0, place == self.many(of_item - 1)
        self.is_first, self.is_last = self.item_begins & (item == 0), self.item_ends & (item == items - 1)
        self.count = np.where(item == 1, gemm.batch - items + 1.0, 1.0)
        shown = replace(mapping, trips_m=stands["m"], trips_n=stands["n"], trips_k=stands["k"])
        self.loops = [self._loop(getattr(gemm, rank), mapping, rank, shown, place) for rank in "mnk"]

    def many(self, figure: NDArray[Any]) -> NDArray[Any]:
        """A figure of each mapping, for each of its kinds."""
        return np.repeat(figure, self._rows)

    def _loop(self, size: int, mapping: Mapping, rank: str, shown: Mapping, place: Index) -> _Loop:
        """The loop of a rank. shown: the mappings with where their loops stand for trips; place: of each kind in its
        item."""
        inside, stands = shown.inside(rank)[0].astype(np.intp), shown.trips[rank].astype(np.intp)
        several, inner = self.many(stands), self.many(inside)
        turn, within = np.divmod(place, inner)
        stand = turn % several
        first, last = stand == 0, stand == several - 1
        begins, ends = within == 0, within == inner - 1
        middle = self.many(mapping.trips[rank] - stands + 1)
        self.count = self.count * np.where(stand == 1, middle, 1.0)
        full, short = (self.many(share) for share in tile_shares(size, getattr(mapping, rank), mapping.trips[rank]))
        return _Loop(
            full, short, last, moves=ends & (several > 1), moved=begins & (several > 1),
            next_last=np.where(ends, (stand == several - 2) | (several == 1), last),
            before_last=np.where(begins, first, last), next_past=np.where(ends, ~last, ~first),
        )  # fmt: skip

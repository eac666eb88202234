"""The kinds of step of every walk over the tiles of a product.

Step i computes tile i while the link stores what tile i - 1 left and loads tile i + 1. It depends only on where each
loop stands: at its first trip, at the last but one, at the last or between them. Steps that stand alike are one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from zerocast.simulator.products.mapping import ORDERS, Mapping

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Walks:
    """The kinds of step of every walk, one walk after the other.

    start: of a walk by batch items, order and where the loops over m, n and k stand [3, 6, 4, 4, 4]. steps: how many
    there are. The rest are codes of each step:
    last: 4 + 2 + 1 for the last tile along m, n and k.
    between: 8 + 4 + 2 + 1 for steps that stand for all those between the first and the last ones of items, m, n and k.
    input, weight: 0 where no tile is loaded, else 1 + 2 + 1 for the last along the first and second of the operand's
    ranks [3 x steps]: tiles are kept until an index changes, held while the third loop repeats, or not kept.
    sums: the same of sums that are fetched again. stored: the same of what leaves, 4 more where it is complete.
    """

    start: Index
    steps: int
    last: Index
    between: Index
    input: Index
    weight: Index
    sums: Index
    stored: Index


@cache
def every_walk() -> Walks:
    items, order, *stands = (each.ravel() for each in np.indices((3, len(ORDERS), 4, 4, 4)))
    items, stands = items + 1, [stand + 1 for stand in stands]
    of_item = stands[0] * stands[1] * stands[2]
    length = items * of_item
    start = np.cumsum(length) - length
    of = np.repeat(np.arange(len(length)), length)
    item, place = np.divmod(np.arange(len(of)) - start[of], of_item[of])
    shown = Mapping("", order, *np.ones((3, 1)), *(stand.astype(float) for stand in stands))  # type: ignore[arg-type]
    m, n, k = (_Loop.at(place, shown.inside(rank)[0].astype(np.intp)[of], stand[of])
               for rank, stand in zip("mnk", stands, strict=True))  # fmt: skip
    item_begins, item_ends = place == 0, place == of_item[of] - 1
    is_first, is_last = item_begins & (item == 0), item_ends & (item == items[of] - 1)

    def loaded(one: _Loop, two: _Loop, free: _Loop) -> Index:
        kept = one.moves | two.moves | item_ends
        return np.concatenate([
            np.where(loads & ~is_last, 1 + 2 * one.next_last + two.next_last, 0)
            for loads in (kept, kept & ~free.next_past, np.ones_like(kept))
        ])  # fmt: skip

    again = (m.moves | n.moves) & k.next_past & ~is_last
    leaves = (m.moved | n.moved | item_begins) & ~is_first
    return Walks(
        start.reshape(3, len(ORDERS), 4, 4, 4), len(of), 4 * m.last + 2 * n.last + k.last,
        8 * (item == 1) + 4 * m.between + 2 * n.between + k.between,
        loaded(m, k, n), loaded(n, k, m), np.where(again, 1 + 2 * m.next_last + n.next_last, 0),
        np.where(leaves, 1 + 4 * k.before_last + 2 * m.before_last + n.before_last, 0),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Loop:
    """Where the loop over a rank stands, by step. last: at its last trip; between: at its second, which stands for all
    that are alike. moves, moved: its index changes to the next tile, and has changed since the one before. next_last,
    before_last: whether it stands at its last trip in the next tile, in the one before. next_past: in the next tile
    past the first."""

    last: Flags
    between: Flags
    moves: Flags
    moved: Flags
    next_last: Flags
    before_last: Flags
    next_past: Flags

    @classmethod
    def at(cls, place: Index, inner: Index, stands: Index) -> _Loop:
        """At a place of its batch item, where loops of so many steps lie inside it and it stands in so many."""
        turn, within = np.divmod(place, inner)
        stand = turn % stands
        first, last, begins, ends = stand == 0, stand == stands - 1, within == 0, within == inner - 1
        return cls(
            last, stand == 1, moves=ends & (stands > 1), moved=begins & (stands > 1),
            next_last=np.where(ends, (stand == stands - 2) | (stands == 1), last),
            before_last=np.where(begins, first, last), next_past=np.where(ends, ~last, ~first),
        )  # fmt: skip

"""Which lane gets which element of a rank, in which round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Deal

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dealt:
    """A rank of `size` elements dealt to `lanes` lanes in `rounds` rounds of up to `tile` elements each."""

    size: int
    lanes: int
    tile: int
    block: int

    @property
    def rounds(self) -> int:
        """Rounds until every element is dealt."""
        return -(-self.size // (self.lanes * self.tile))

    @property
    def holders(self) -> NDArray[np.intp]:
        """round * lanes + lane of each element, [size]."""
        element = np.arange(self.size)
        turn, place = np.divmod(element, self.lanes * self.tile)
        return turn * self.lanes + place // self.block % self.lanes

    def kinds(self) -> list[tuple[int, NDArray[np.int64]]]:
        """Rounds that are alike: how many, and the elements of each lane, [lanes]. Only the last can differ."""
        whole, rest = divmod(self.size, self.lanes * self.tile)
        parts = [(whole, self.lanes * self.tile)] * (whole > 0) + [(1, rest)] * (rest > 0)
        held = [np.arange(size) // self.block % self.lanes for _, size in parts]
        return [
            (count, np.bincount(lanes, minlength=self.lanes)) for (count, _), lanes in zip(parts, held, strict=True)
        ]

    @property
    def shares(self) -> NDArray[np.int64]:
        """Elements of each lane in each round, [rounds, lanes]."""
        return np.bincount(self.holders, minlength=self.rounds * self.lanes).reshape(self.rounds, self.lanes)

    def sums(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Sum of [.., size, K] over the elements of each lane: [.., rounds * lanes, K]."""
        groups = self.rounds * self.lanes
        if self.tile == 1:
            missing = groups - self.size
            return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, missing), (0, 0)]) if missing else values
        order = np.argsort(self.holders, kind="stable")
        held = np.bincount(self.holders, minlength=groups)
        starts = np.concatenate([[0], np.cumsum(held)[:-1]])
        filled = held > 0
        out = np.zeros((*values.shape[:-2], groups, values.shape[-1]), dtype=values.dtype)
        ordered = values if self.block == self.tile else values[..., order, :]
        out[..., filled, :] = np.add.reduceat(ordered, starts[filled], axis=-2)
        return out

    def places(self) -> NDArray[np.intp]:
        """Elements of each lane, [rounds, lanes, slots], in order; `size` stands for none."""
        order = np.argsort(self.holders, kind="stable")
        held = np.bincount(self.holders, minlength=self.rounds * self.lanes)
        slot = np.arange(self.size) - np.repeat(np.cumsum(held) - held, held)
        out = np.full((self.rounds * self.lanes, max(int(held.max()), 1)), self.size, dtype=np.intp)
        out[self.holders[order], slot] = order
        return out.reshape(self.rounds, self.lanes, -1)


def deal(size: int, how: Deal, times: int = 1) -> Dealt:
    """Deal a rank of `size` elements; `times` elements of it stand for one in the description."""
    tile = -(-size // how.lanes) if how.tile is None else how.tile * times
    tile = min(tile, -(-size // how.lanes)) if how.lanes == 1 else tile
    block = tile if how.block is None else min(how.block * times, tile)
    return Dealt(size, how.lanes, tile, block)

"""Mappings of a matrix product onto an array and its buffers.

A mapping is a dataflow (what stays in the array), a tile (extents of M, N, K kept in the buffers) and the order
of the three loops over tiles, outermost first. All numbers may be arrays: one `Mapping` then stands for many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.law import Unit
from zerocast.simulator.products.gemm import ROLES, Gemm

ORDERS: tuple[str, ...] = tuple("".join(order) for order in permutations("mnk"))

EVERY_ORDER = np.arange(len(ORDERS))[:, None, None, None]
"""All of `ORDERS` along a first axis of their own, before those of a grid of tiles."""

_PLACES = {rank: np.array([order.index(rank) for order in ORDERS]) for rank in "mnk"}

_WITHIN = {a + b: _PLACES[a] > _PLACES[b] for a, b in permutations("mnk", 2)}
"""Whether the first rank's loop lies inside the second's, by order."""

THIN_ABOVE = 40
"""Tile sizes kept per rank; longer lists are thinned to evenly spread ones on a log scale. Against the whole list
this costs at most 0.3 % of latency on 100 products drawn up to 8,192 a side."""

ALL_UP_TO = 12
"""Ranks of up to this many units try every tile size."""


@dataclass(frozen=True, slots=True)
class Block:
    """The places of a convolution that a tile of m takes, as a mapping gives them by rank, with the kernel positions
    that its k holds: a box of the output, and so of the input."""

    samples: int
    output: tuple[int, int]
    kernel: tuple[int, int]

    def words(self, gemm: Gemm, k: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elements of the input that a tile of depth k spans: all between its first and its last window."""
        span = [
            (out - 1) * stride + (taps - 1) * dilation + 1
            for out, taps, stride, dilation in zip(
                self.output, self.kernel, *((gemm.conv.stride, gemm.conv.dilation) if gemm.conv else ((1, 1), (1, 1))),
                strict=True,
            )
        ]  # fmt: skip
        return self.samples * math.prod(span) * k / math.prod(self.kernel)


@dataclass(frozen=True, slots=True)
class Mapping:
    """dataflow by name; loop order by name, or numbers into `ORDERS`; tile extents in elements, trips = number of tiles
    along each rank. held: operands whose tiles stay, once fetched, while the loop that they do not depend on repeats
    (`traffic.held`); they have a larger tile of their own. block: of a tile that is given by rank. keeps: operands that
    are to be held, whatever the room, where that is given."""

    dataflow: Dataflow
    order: str | NDArray[np.intp]
    m: NDArray[np.float64]
    n: NDArray[np.float64]
    k: NDArray[np.float64]
    trips_m: NDArray[np.float64]
    trips_n: NDArray[np.float64]
    trips_k: NDArray[np.float64]
    held: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    block: Block | None = None
    keeps: tuple[str, ...] | None = None
    _inside: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def at(self, index: tuple[int, ...]) -> Mapping:
        """The single mapping at one index of the broadcast arrays."""
        named = isinstance(self.order, str)
        arrays = (self.m, self.n, self.k, self.trips_m, self.trips_n, self.trips_k)
        full = np.broadcast_arrays(*arrays, *(() if named else (self.order,)))
        order = self.order if isinstance(self.order, str) else ORDERS[int(full[-1][index])]
        held = {side: np.broadcast_to(flags, full[0].shape)[index] for side, flags in self.held.items()}
        m, n, k, trips_m, trips_n, trips_k = (array[index] for array in full[:6])
        return Mapping(self.dataflow, order, m, n, k, trips_m, trips_n, trips_k, held, self.block, self.keeps)

    def holds(self, side: str) -> NDArray[np.bool_]:
        """Whether the tiles of an operand stay while the loop that it does not depend on repeats."""
        return np.asarray(self.held.get(side, False))

    def inside(self, rank: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tiles that the two other loops step through inside a rank's loop, and outside of it."""
        if rank in self._inside:
            return self._inside[rank]
        order = ORDERS.index(self.order) if isinstance(self.order, str) else self.order
        first, second = (other for other in "mnk" if other != rank)
        within, trips = [_WITHIN[other + rank][order] for other in (first, second)], self.trips
        inner = np.where(within[0], trips[first], 1.0) * np.where(within[1], trips[second], 1.0)
        self._inside[rank] = inner, trips[first] * trips[second] / inner
        return self._inside[rank]

    def position(self, rank: str) -> NDArray[np.intp]:
        """Place of a rank's loop: 0 outermost, 2 innermost."""
        return np.asarray(self.order.index(rank)) if isinstance(self.order, str) else _PLACES[rank][self.order]

    @property
    def trips(self) -> dict[str, NDArray[np.float64]]:
        """Number of tiles by rank name."""
        return {"m": self.trips_m, "n": self.trips_n, "k": self.trips_k}


def mapping_of(
    gemm: Gemm, dataflow: Dataflow, order: str | NDArray[np.intp], m: ArrayLike, n: ArrayLike, k: ArrayLike
) -> Mapping:
    """The mapping with tiles of m x n x k elements (cut to the problem's size)."""
    extents = [np.minimum(np.asarray(e, dtype=float), d) for e, d in ((m, gemm.m), (n, gemm.n), (k, gemm.k))]
    trips = [np.ceil(d / e) for e, d in zip(extents, (gemm.m, gemm.n, gemm.k), strict=True)]
    return Mapping(dataflow, order, *extents, *trips)


def block_of(gemm: Gemm) -> Block | None:
    """The box of a convolution that the product's mapping gives its tiles, or None where it gives none."""
    tile, sizes = (gemm.given or Given()).level(0).tile, dict(gemm.roles)
    if not any(getattr(tile, role) for role in ROLES["m"]):
        return None
    samples, rows, cols, down, across = (
        getattr(tile, role) or sizes.get(role, 1) for role in (*ROLES["m"], "kernel_rows", "kernel_cols")
    )
    return Block(samples, (rows, cols), (down, across))


def orders_of(gemm: Gemm) -> NDArray[np.intp]:
    """Loop orders of the mapspace, as numbers into `ORDERS`: all, or the one that the product gives."""
    order = gemm.given.level(0).order if gemm.given is not None else None
    return np.arange(len(ORDERS)) if order is None else np.array([ORDERS.index(order)])


@lru_cache(maxsize=1024)
def tile_extents(extent: int, unit: Unit, limit: int = THIN_ABOVE) -> NDArray[np.float64]:
    """Tile extents worth trying along a rank: for each number of tiles the smallest tile that gives it.

    A larger tile with the same number of tiles takes more buffer and moves the same bytes; it can only be quicker
    where folds interleave in fuller groups or the last tile is short, which tells where tiles are few: ranks of
    up to `ALL_UP_TO` units try every size. Lists longer than `limit` are thinned evenly on a log scale (first and
    last stay).
    """
    units = -(-extent // unit)
    sizes = np.arange(1, units + 1) if units <= ALL_UP_TO else _smallest_tiles(units)
    if len(sizes) > limit:
        wanted = np.geomspace(sizes[0], sizes[-1], limit)
        above = np.clip(np.searchsorted(sizes, wanted), 1, len(sizes) - 1)
        nearer = np.where(wanted - sizes[above - 1] < sizes[above] - wanted, above - 1, above)
        sizes = sizes[distinct(nearer)]
    extents = np.minimum(np.ceil(sizes * float(unit) - 1e-9), extent)
    extents.flags.writeable = False  # others are given the same array
    return extents


def _smallest_tiles(units: int) -> NDArray[np.int64]:
    """The values of ceil(units / t) over t = 1, 2, ..., ascending, in O(sqrt(units)).

    Up to the root every count t gives its own value; the small values s are those that their own count returns.
    """
    root = math.isqrt(units)
    low = np.arange(1, root + 2)
    large = -(-units // low)
    small = low[-(-units // -(-units // low)) == low]
    return distinct(np.sort(np.concatenate([small, large])))


def distinct(ascending: NDArray[Any]) -> NDArray[Any]:
    """Values without those that are there twice."""
    return ascending[np.r_[True, ascending[1:] > ascending[:-1]]]


def mapspace(gemm: Gemm, accelerator: Accelerator, limit: int = THIN_ABOVE) -> Iterator[Mapping]:
    """One `Mapping` of arrays [orders, m tiles, n tiles, k tiles] per dataflow.

    Without offline scheduling only the first dataflow of the list is tried. What the product gives of its mapping takes
    the place of the lists: such a tile need not be of whole units.
    """
    given = gemm.given or Given()
    dataflows = accelerator.compute.dataflows if accelerator.schedule.offline else accelerator.compute.dataflows[:1]
    for dataflow in dataflows if given.dataflow is None else (given.dataflow,):
        units = dict(zip("mnk", law_of(dataflow).grain(gemm, accelerator), strict=True))
        fixed = {rank: getattr(given.level(0).tile, rank) for rank in "mnk"}
        m, n, k = (
            np.array([float(fixed[rank])]) if fixed[rank] else tile_extents(getattr(gemm, rank), units[rank], limit)
            for rank in "mnk"
        )
        grid = mapping_of(gemm, dataflow, EVERY_ORDER, m[:, None, None], n[None, :, None], k[None, None, :])
        yield replace(grid, block=block_of(gemm), keeps=given.level(0).held)

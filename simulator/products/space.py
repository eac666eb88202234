"""The tiles of a mapspace in one list, and what fits buffers of several sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.laws import law_of
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import ArrayCost, array_cost
from zerocast.simulator.products.mapping import ORDERS, Mapping, mapspace, orders_of
from zerocast.simulator.products.traffic import PortBytes, TileBytes, held, loaded_bytes, tile_sizes
from zerocast.simulator.products.walks.walk import ends_bytes

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]

_EXTENTS = ("m", "n", "k", "trips_m", "trips_n", "trips_k")
_COSTS = ("array_cycles", "port_cycles", "steps_share", "macs")


class Space:
    """The mapspace of a product on designs of one structure, and what its mappings cost apart from rates.

    Tiles of all dataflows stand in one list [tiles], loop orders along an axis before it. orders: numbers of those that
    may be taken. ends_bytes: of the first load and the last store. grid: number of the dataflow. count: tiles in all.
    flows: whether a fold's stream goes on from tile to tile [orders, tiles], on which what the array costs depends.
    busy: cycles of array and ports, of streams that tiles cut and of those that go on [2, tiles].
    every: all of it as a mapping; tile, sizes: its tiles off chip and in the buffers. distinct: whether an order is no
    other with loops of one trip moved.
    """

    def __init__(self, gemm: Gemm, accelerator: Accelerator, limit: int) -> None:
        self.gemm, self.accelerator, self.orders = gemm.free, accelerator, orders_of(gemm)
        grids = list(mapspace(gemm, accelerator, limit))
        lists = [_flat(self.gemm, accelerator, grid, self.orders) for grid in grids]
        joined = {name: np.concatenate([columns[name] for columns in lists], axis=-1) for name in lists[0]}
        self.flows, complete, self._shares = (joined.pop(name) for name in ("flows", "complete", "shares"))
        self.grid = np.repeat(np.arange(len(grids)), [len(columns["m"]) for columns in lists])
        self.count = joined["trips_m"] * joined["trips_n"] * joined["trips_k"]
        self.dataflows, self._columns = [grid.dataflow for grid in grids], joined
        self.busy = np.maximum(joined["array_cycles"], joined["port_cycles"])
        self._block, self._keeps = grids[0].block, grids[0].keeps
        every = np.arange(len(self.count))
        self.every, self.tile = self.mapping(every, self.orders[:, None]), self._tile(every)
        self.ends_bytes = ends_bytes(self.gemm, self.every, self.tile)
        self.distinct = _distinct(self.every, self.orders)
        self.sizes = tile_sizes(self.gemm, accelerator, self.every, complete)

    def mapping(self, at: Any, order: str | Index) -> Mapping:
        """Some of the tiles as mappings; the dataflow is that of the first."""
        dataflow = self.dataflows[int(np.atleast_1d(self.grid[at])[0])]
        extents = {name: self._columns[name][at] for name in _EXTENTS}
        return Mapping(dataflow, order, **extents, block=self._block, keeps=self._keeps)

    def part(self, at: Any, flows: Flags | Index) -> ArrayCost:
        """Array costs of some of the tiles, by whether a fold's stream goes on."""
        pick = self._picked(at, flows)
        ports = PortBytes(*map(pick, _names(PortBytes)))
        shares = self._shares[:, at].reshape(2, 2, 2, *np.shape(at))
        return ArrayCost(
            **{name: pick(name) for name in _COSTS},
            ports=ports,
            tile=self._tile(at),
            tile_shares=shares,
        )

    def macs_and_ports(self, at: Any, flows: Flags) -> tuple[Array, PortBytes]:
        """What of the array costs of some of the tiles takes energy."""
        pick = self._picked(at, flows)
        return pick("macs"), PortBytes(*map(pick, _names(PortBytes)))

    def busy_cycles(self, at: Any, flows: Flags) -> Array:
        """`ArrayCost.busy_cycles` of some of the tiles."""
        return self.busy[np.asarray(flows).astype(np.intp), at]

    def _tile(self, at: Any) -> TileBytes:
        return TileBytes(*(self._columns[name][at] for name in _names(TileBytes)))  # type: ignore[arg-type]

    def _picked(self, at: Any, flows: Flags | Index) -> Callable[[str], Array]:
        """What gives a figure of some of the tiles by its name."""
        which = np.asarray(flows).astype(np.intp)
        return lambda name: self._columns[name][which, at]


class Rooms:
    """What fits the buffers of some designs, what is held in them, and what then crosses the link.

    of: the room of each design. mid_bytes: over the link but the first load and the last store [rooms, orders, tiles],
    inf where it does not fit; least_bytes: of the order of the fewest [rooms, tiles].
    """

    def __init__(self, space: Space, capacity_bytes: dict[str, Array], most_tiles: int) -> None:
        self._held: dict[str, tuple[Index, Flags]] = {}
        self._space = space
        every, gemm, designs = space.every, space.gemm, len(next(iter(capacity_bytes.values())))
        sizes, moved = np.zeros((len(space.accelerator.buffers), designs), dtype=np.intp), []
        for place, memory in enumerate(space.accelerator.buffers):
            capacity, sizes[place] = np.unique(capacity_bytes[memory.name], return_inverse=True)
            fits, found = held(gemm, memory, every, space.sizes, capacity[:, None, None])
            shape = (len(capacity), *space.flows.shape)
            told = [np.broadcast_to(flags, shape) for flags in (fits, *found.values())]
            kinds, which = _alike(told)
            sizes[place] = which[sizes[place]]
            fits, *flagged = (flags[kinds] for flags in told)
            found = dict(zip(found, flagged, strict=True))
            total = np.where(fits, 0.0, np.inf)
            for side in memory.holds:
                flags = found.get(side, np.zeros((len(kinds), 1, 1), dtype=bool))
                self._held[side] = sizes[place], np.broadcast_to(flags, total.shape)
                moved_bytes = loaded_bytes(gemm, every, space.tile, side, flags)
                total += moved_bytes * 2 if side == "output" else moved_bytes
            moved.append(total)
        code = np.ravel_multi_index(tuple(sizes), tuple(len(total) for total in moved))
        _, first, self.of = np.unique(code, return_index=True, return_inverse=True)
        rooms = sizes[:, first]
        outputs = gemm.batch * every.trips_m * every.trips_n * space.tile.output
        self.mid_bytes = np.where(space.distinct, outputs - space.ends_bytes, np.inf) + moved[0][rooms[0]]
        for total, at in zip(moved[1:], rooms[1:], strict=True):
            self.mid_bytes += total[at]
        if (many := space.count > most_tiles).any():
            here = np.isfinite(self.mid_bytes[:, :, ~many]).any(axis=(1, 2))
            self.mid_bytes[np.ix_(here, np.arange(len(space.orders)), many)] = np.inf
        self.least_bytes = self.mid_bytes.min(axis=1)

    @cached_property
    def fewest_cycles(self) -> Array:
        """The fewest cycles of array and ports that any mapping takes, by room."""
        cycles = np.where(self._space.flows, self._space.busy[1], self._space.busy[0])
        return np.where(np.isfinite(self.mid_bytes), cycles, np.inf).min(axis=(1, 2))

    def held(self, design: Index, tile: Index, order: Index) -> dict[str, Flags]:
        """Operands whose tiles stay under some mappings, by the places of their orders."""
        return {side: flags[at[design], order, tile] for side, (at, flags) in self._held.items()}


def _alike(told: list[Flags]) -> tuple[Index, Index]:
    """Of sizes [sizes, ...] those that some flag tells apart from those before, and which of them each is like: sizes
    that make no difference to a product are one."""
    if len(told[0]) == 1:
        return np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.intp)
    keys = [row.tobytes() for row in np.packbits(np.stack(told, axis=1).reshape(len(told[0]), -1), axis=1)]
    kinds = [keys.index(key) for key in dict.fromkeys(keys)]
    return np.array(kinds), np.array([kinds.index(keys.index(key)) for key in keys])


def _distinct(mapping: Mapping, orders: Index) -> Flags:
    """Whether a loop order [orders, tiles] is the first of those that differ in loops of one trip alone."""
    if len(orders) < len(ORDERS):
        return np.ones((1, 1), dtype=bool)
    several = np.sum([(trips > 1) << bit for bit, trips in enumerate(mapping.trips.values())], axis=0)
    return _IS_FIRST[:, several]


def _sequences(several: int) -> list[str]:
    """Each order with the loops of several trips alone, of which `several` has a bit each."""
    return ["".join(rank for rank in order if several >> "mnk".index(rank) & 1) for order in ORDERS]


_IS_FIRST = np.array([[kept.index(each) == at for at, each in enumerate(kept)] for kept in map(_sequences, range(8))]).T
"""Whether an order is the first of its sequence [orders, which loops have several trips]."""


def _flat(gemm: Gemm, accelerator: Accelerator, grid: Mapping, orders: Index) -> dict[str, Any]:
    """Figures of the tiles of one dataflow, each as a list; of the array's costs two, for streams that tiles cut and
    that go on; `flows` and `complete` are lists for each order."""
    plain = replace(grid, order=ORDERS[0])
    shape = np.broadcast_shapes(plain.m.shape, plain.n.shape, plain.k.shape)

    def listed(figure: ArrayLike, *leading: int) -> NDArray[Any]:
        return np.broadcast_to(figure, (*leading, *shape)).reshape(*leading, -1)

    grid = replace(grid, order=orders[:, None, None, None])
    law = law_of(grid.dataflow)
    told = {"flows": law.goes_on(gemm, accelerator, grid), "complete": law.completes(gemm, accelerator, grid)}
    figures: dict[str, Any] = {name: listed(flags, len(orders)) for name, flags in told.items()}
    both = np.array([False, True] if told["flows"].any() else [False]).reshape(-1, 1, 1, 1)
    part = array_cost(gemm, accelerator, plain, flows=both)
    shares = part.tile_shares.reshape(8, *part.tile_shares.shape[3:])
    figures |= {"shares": listed(shares.reshape(8, *shares.shape[-3:]), 8)}
    figures |= {name: listed(getattr(plain, name)) for name in _EXTENTS}
    figures |= {name: listed(getattr(part.tile, name)) for name in _names(TileBytes)}
    figures |= {name: listed(getattr(part, name), 2) for name in _COSTS}
    return figures | {name: listed(getattr(part.ports, name), 2) for name in _names(PortBytes)}


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))

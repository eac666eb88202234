"""Nested mappings, executed tile by tile in plain Python: what every memory reads and writes, and the steps it takes.

The program: loops over the tiles of each depth, copies side by side, and at each memory a load of each operand's tile,
placed just inside the innermost loop that cuts it. Everything is enumerated and counted as sets; nothing is a formula.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

OF = {"input": "mk", "weight": "nk", "output": "mn"}


@dataclass(frozen=True)
class Loops:
    """One depth: extents by side, order of its loops outermost first, copies side by side by side (g: groups)."""

    tile: dict[str, int]
    order: str
    spread: dict[str, int]


@dataclass(frozen=True)
class Event:
    """One tile of the array: by depth (0: the product) its range along each side, and for depths 1 to D + 1 the
    copy and the trips of the loops, in the order of the loops. turn: of the batch; item: which one."""

    ranges: tuple[dict[str, tuple[int, int]], ...]
    copies: tuple[tuple[int, ...], ...]
    trips: tuple[tuple[int, ...], ...]
    item: int

    def where(self, depth: int) -> tuple[Any, ...]:
        """Which copy of the memories at a depth it runs under."""
        return self.copies[:depth]

    def holds(self, depth: int, operand: str) -> tuple[Any, ...]:
        """The operand's tile at a depth."""
        return (self.item, *(self.ranges[depth][side] for side in OF[operand]))


def size(tile: tuple[Any, ...]) -> int:
    """Elements of a tile."""
    (a, b), (c, d) = tile[1:]
    return int((b - a) * (d - c))


def events(sizes: dict[str, int], batch: int, levels: list[Loops]) -> list[Event]:
    """All tiles of the array in the order of time: copies side by side share their trips."""
    groups = [level.spread.get("g", 1) for level in levels]
    wide = 1
    for count in groups:
        wide *= count
    found = []
    whole = {side: (0, extent) for side, extent in sizes.items()}
    for item in range(batch):
        turn, place = divmod(item, wide)
        path = []
        for count in reversed(groups):
            place, at = divmod(place, count)
            path.insert(0, at)
        found += [
            Event(ranges, tuple((g, *c) for g, c in zip(path, copies, strict=True)), ((turn,), *trips), item)
            for ranges, copies, trips in _inside((whole,), levels)
        ]
    return sorted(found, key=lambda event: (event.trips, event.copies))


def _inside(ranges: tuple[dict[str, tuple[int, int]], ...], levels: list[Loops]) -> Any:
    if not levels:
        yield ranges, (), ()
        return
    level, outer = levels[0], ranges[-1]
    choices = []
    for side in level.order:
        (start, end), tile, spread = outer[side], level.tile[side], level.spread.get(side, 1)
        tiles = [(at, min(at + tile, end)) for at in range(start, end, tile)]
        choices.append([(side, number // spread, number % spread, tile) for number, tile in enumerate(tiles)])
    for picked in itertools.product(*choices):
        trips = tuple(trip for _, trip, _, _ in picked)
        copy = tuple(place for _, place in sorted((side, place) for side, _, place, _ in picked))
        inner = {side: tile for side, _, _, tile in picked}
        for every, copies, deeper in _inside((*ranges, inner), levels[1:]):
            yield every, (copy, *copies), (trips, *deeper)


class Interpreter:
    """A product under one nested mapping. ways: depths whose memories hold each operand, outermost first; multicast: by
    the depth that fans out, whether it reads once what several copies need."""

    def __init__(
        self, sizes: dict[str, int], batch: int, levels: list[Loops], ways: dict[str, list[int]],
        multicast: dict[int, bool],
    ) -> None:  # fmt: skip
        self.levels, self.ways, self.multicast = levels, ways, multicast
        self.sizes, self.array = sizes, len(levels)
        self.events = events(sizes, batch, levels)
        self.read: dict[tuple[int, str], int] = defaultdict(int)
        self.write: dict[tuple[int, str], int] = defaultdict(int)
        for operand in ("input", "weight"):
            self._bring(operand)
        self._add_up()

    def steps(self, depth: int) -> int:
        """Tiles of a depth in turn, on the busiest copy."""
        return len({event.trips[: depth + 1] for event in self.events})

    def cycles(self) -> int:
        """Cycles of a multiplier per copy: steps wait for the largest tile."""
        longest: dict[Any, int] = defaultdict(int)
        for event in self.events:
            work = 1
            for start, end in event.ranges[-1].values():
                work *= end - start
            longest[event.trips] = max(longest[event.trips], work)
        return sum(longest.values())

    def _epoch(self, event: Event, depth: int, operand: str) -> tuple[Any, ...]:
        """Trips of the loops around the load of an operand at a depth."""
        every: list[tuple[str, int, int]] = []
        outer = dict(self.sizes)
        for level, trips in zip(self.levels[:depth], event.trips[1:], strict=False):
            for side, trip in zip(level.order, trips, strict=True):
                step = level.tile[side] * level.spread.get(side, 1)
                every.append((side, trip, -(-outer[side] // step)))
            outer = level.tile
        last = max(
            (place for place, (side, _, trips) in enumerate(every) if side in OF[operand] and trips > 1), default=-1
        )
        return (*event.trips[0], *(trip for _, trip, _ in every[: last + 1]))

    def _apart(self, event: Event, top: int, depth: int) -> tuple[Any, ...]:
        """What keeps reads of one tile at a memory apart: its copy, and copies further in that are not multicast."""
        return tuple(
            event.copies[level] if level < top or not self.multicast.get(level, True) else () for level in range(depth)
        )

    def _bring(self, operand: str) -> None:
        way = self.ways[operand]
        for top, depth in itertools.pairwise(way):
            arrive = {(e.where(depth), self._epoch(e, depth, operand), e.holds(depth, operand)) for e in self.events}
            leave = {(self._apart(e, top, depth), self._epoch(e, depth, operand), e.holds(depth, operand))
                     for e in self.events}  # fmt: skip
            self.write[depth, operand] += sum(size(tile) for _, _, tile in arrive)
            self.read[top, operand] += sum(size(tile) for _, _, tile in leave)
        top, free = way[-1], "n" if operand == "input" else "m"
        longest: dict[Any, int] = defaultdict(int)  # every multiplication reads; copies in step read together
        for e in self.events:
            start, end = e.ranges[-1][free]
            key = self._apart(e, top, self.array), e.trips, e.holds(self.array, operand)
            longest[key] = max(longest[key], end - start)
        self.read[top, operand] += sum(size(tile) * turns for (_, _, tile), turns in longest.items())

    def _add_up(self) -> None:
        """Sums: copies that share an output are added up on the way out; what a memory knows of them comes back to the
        first of these copies."""
        way = [*self.ways["output"], self.array]
        known: set[Any] = set()  # (memory, epoch, tile) that starts with sums
        for place, (top, depth) in enumerate(itertools.pairwise(way)):
            groups: dict[Any, dict[Any, None]] = {}
            for e in self.events:
                mine = () if place == 0 else (*e.where(top), self._epoch(e, top, "output"), e.holds(top, "output"))
                epoch = e.trips if depth == self.array else self._epoch(e, depth, "output")
                key = (e.where(top), mine, epoch, e.holds(depth, "output"))
                groups.setdefault(key, {})[e.where(depth)] = None
            seen: set[Any] = set()
            after: set[Any] = set()
            for (copy, mine, epoch, tile), inner in groups.items():
                words = size(tile)
                old = mine in known or (copy, mine, tile) in seen
                seen.add((copy, mine, tile))
                self.write[top, "output"] += words
                if depth < self.array:
                    self.read[depth, "output"] += words * len(inner)
                if old:
                    self.read[top, "output"] += words
                    if depth < self.array:
                        self.write[depth, "output"] += words
                        after.add((*next(iter(inner)), epoch, tile))
            known = after

"""How area changes from one technology node to another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.tables.reading import find_table, log_log

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class NodeScaling:
    """Area of the same circuit at each node, of logic and of memories, each in any one unit."""

    name: str
    logic: Points
    memory: Points
    sources: dict[str, str]

    def logic_factor(self, from_nm: float, to_nm: float) -> float:
        """Area of logic at node `to_nm` over that at `from_nm`; log-log between the nodes of the table.

        Raises `AcceleratorError` for a node outside the table: shrinking has slowed too much to extend it.
        """
        return self._factor(self.logic, from_nm, to_nm)

    def memory_factor(self, from_nm: float, to_nm: float) -> float:
        """Area of a memory at node `to_nm` over that at `from_nm`, as `logic_factor`."""
        return self._factor(self.memory, from_nm, to_nm)

    def _factor(self, points: Points, from_nm: float, to_nm: float) -> float:
        first, last = points[0][0], points[-1][0]
        for node in (from_nm, to_nm):
            if not first <= node <= last:
                raise AcceleratorError(
                    f"technology.node_nm: area scaling {self.name} spans {first:g} to {last:g} nm, not {node:g} nm; "
                    "set another node, or technology.area_table=null for a design without an area"
                )
        return _ratio(points, from_nm, to_nm)


@cache
def _ratio(points: Points, from_nm: float, to_nm: float) -> float:
    there, here = log_log(points, [to_nm, from_nm])
    return float(there / here)


@cache
def node_scaling(name: str) -> NodeScaling:
    """The scaling table of that name; `AcceleratorError` names the ones there are."""
    raw = find_table("scaling", name, "scaling")

    def points(section: str) -> Points:
        return tuple(sorted((float(node), float(area)) for node, area in raw[section]["points"]))

    sources = {section: raw[section]["source"] for section in ("logic", "memory")}
    return NodeScaling(raw["name"], points("logic"), points("memory"), sources)

"""Area tables: what one component takes, each entry with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.tables.reading import find_table, log_log
from zerocast.accelerators.tables.scaling import NodeScaling, node_scaling

_SINGLE = (
    "integer_add_um2_per_bit", "register_um2_per_bit", "mux2_um2_per_bit", "gate_um2", "leading_nonzero_um2_per_bit",
    "prefix_um2_per_adder_bit", "memory_port_bytes", "logic_utilisation", "memory_utilisation", "control_share",
)  # fmt: skip


@dataclass(frozen=True)
class AreaTable:
    """Areas in um2 of cells at the table's node. Lookups raise `AcceleratorError` for an entry that it lacks.

    integer_add_um2_per_bit, register_um2_per_bit, mux2_um2_per_bit: one bit of a ripple adder, a flip-flop, one bit
    of a choice between two. gate_um2: a NAND of two inputs. leading_nonzero_um2_per_bit: one candidate of a
    priority encoder. prefix_um2_per_adder_bit: one bit of an adder in a parallel prefix sum over a bit mask.
    memory_port_bytes: widest port of one memory macro. logic_utilisation, memory_utilisation: share of the placed
    area that cells and macros fill. control_share: controllers, configuration and clock, of all other logic.
    """

    name: str
    node_nm: float
    scaling: NodeScaling
    multiply_um2: dict[str, float]
    float_add_um2: dict[str, float]
    memory_points: tuple[tuple[float, float], ...]
    integer_add_um2_per_bit: float
    register_um2_per_bit: float
    mux2_um2_per_bit: float
    gate_um2: float
    leading_nonzero_um2_per_bit: float
    prefix_um2_per_adder_bit: float
    memory_port_bytes: float
    logic_utilisation: float
    memory_utilisation: float
    control_share: float
    sources: dict[str, str]

    def multiplier_um2(self, dtype: str) -> float:
        """A multiplier of two numbers of that type."""
        if dtype not in self.multiply_um2:
            has = ", ".join(self.multiply_um2)
            raise AcceleratorError(f"area table {self.name}: multiply_um2 has no {dtype!r}; it has {has}")
        return self.multiply_um2[dtype]

    def adder_um2(self, dtype: str, bits: int) -> float:
        """An adder of sums of `bits` bits: floating-point for floating types (fp16 up to 16 bits, fp32 above)."""
        if dtype.startswith("int"):
            return self.integer_add_um2_per_bit * bits
        return self.float_add_um2["fp16" if bits <= 16 else "fp32" if bits <= 32 else "fp64"]

    def memory_um2(self, capacity_bytes: ArrayLike) -> NDArray[np.float64]:
        """A memory macro of that capacity with its periphery; broadcasts.

        Density comes from the table's points. Below the smallest a memory takes what flip-flops would, if less.
        """
        capacity = np.asarray(capacity_bytes, dtype=float)
        density = np.minimum(log_log(self.memory_points, np.maximum(capacity, 1.0)), self.register_um2_per_bit)
        return np.asarray(8 * capacity * density)


@cache
def area_table(name: str) -> AreaTable:
    """The area table of that name; `AcceleratorError` names the ones there are."""
    raw = find_table("area", name, "technology.area_table")
    sources = {"memory_um2_per_bit": raw["memory_um2_per_bit"]["source"]}

    def values(section: str) -> dict[str, float]:
        entries: dict[str, Any] = raw[section]
        sources.update({f"{section}.{key}": entry["source"] for key, entry in entries.items()})
        return {key: float(entry["value"]) for key, entry in entries.items()}

    multiply, add = values("multiply_um2"), values("float_add_um2")
    single = {key: float(raw[key]["value"]) for key in _SINGLE}
    sources |= {key: raw[key]["source"] for key in _SINGLE}
    scaling = node_scaling(raw["scaling"])
    return AreaTable(
        name=raw["name"],
        node_nm=float(raw["node_nm"]),
        scaling=scaling,
        multiply_um2=multiply,
        float_add_um2=add,
        memory_points=tuple((float(size), float(density)) for size, density in raw["memory_um2_per_bit"]["points"]),
        **single,
        sources=sources | {f"scaling.{part}": source for part, source in scaling.sources.items()},
    )

"""Energy tables: what one action costs, each entry with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.tables.reading import find_table, log_log


@dataclass(frozen=True)
class EnergyTable:
    """Energies in pJ at the table's node. Lookups raise `AcceleratorError` for an entry it lacks."""

    name: str
    node_nm: float
    mac_pj: dict[str, float]
    flop_pj: dict[str, float]
    register_pj_per_bit: float
    sram_points: tuple[tuple[float, float], ...]
    dram_pj_per_bit: dict[str, float]
    streamed_pj_per_bit: float
    sources: dict[str, str]

    def mac_j(self, dtype: str) -> float:
        """Energy of one multiply-accumulate in J."""
        return self._entry("mac_pj", self.mac_pj, dtype) * 1e-12

    def flop_j(self, dtype: str) -> float:
        """Energy of one vector operation in J."""
        return self._entry("flop_pj", self.flop_pj, dtype) * 1e-12

    def dram_j_per_bit(self, kind: str) -> float:
        """Energy of one bit moved to or from the off-chip memory `kind`, in J."""
        return self._entry("dram_pj_per_bit", self.dram_pj_per_bit, kind) * 1e-12

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of one bit on its way between an off-chip memory and a core's registers, without the memory's own, in
        J; 0 of tables whose buffers and registers are priced one by one."""
        return self.streamed_pj_per_bit * 1e-12

    def sram_j_per_bit(self, capacity_bytes: ArrayLike) -> NDArray[np.float64]:
        """Energy of one bit read from or written to a buffer of that capacity, in J; broadcasts.

        Piecewise linear in log-log between the table's points, extended by the outer slopes.
        """
        return log_log(self.sram_points, capacity_bytes) * 1e-12

    @property
    def register_j_per_bit(self) -> float:
        """Energy of one register bit read or written, in J."""
        return self.register_pj_per_bit * 1e-12

    def _entry(self, section: str, values: dict[str, float], key: str) -> float:
        if key not in values:
            raise AcceleratorError(f"energy table {self.name}: {section} has no {key!r}; it has {', '.join(values)}")
        return values[key]


@cache
def energy_table(name: str) -> EnergyTable:
    """The energy table of that name; `AcceleratorError` names the ones there are."""
    raw = find_table("energy", name, "technology.energy_table")
    sources: dict[str, str] = {"sram_pj_per_bit": raw["sram_pj_per_bit"]["source"]}

    def values(section: str) -> dict[str, float]:
        entries: dict[str, Any] = raw[section]
        sources.update({f"{section}.{key}": entry["source"] for key, entry in entries.items()})
        return {key: float(entry["value"]) for key, entry in entries.items()}

    sources["register_pj_per_bit"] = raw["register_pj_per_bit"]["source"]
    streamed = raw.get("streamed_pj_per_bit", {"value": 0.0, "source": "priced level by level"})
    sources["streamed_pj_per_bit"] = streamed["source"]
    return EnergyTable(
        name=raw["name"],
        node_nm=float(raw["node_nm"]),
        mac_pj=values("mac_pj"),
        flop_pj=values("flop_pj"),
        register_pj_per_bit=float(raw["register_pj_per_bit"]["value"]),
        sram_points=tuple((float(size), float(energy)) for size, energy in raw["sram_pj_per_bit"]["points"]),
        dram_pj_per_bit=values("dram_pj_per_bit"),
        streamed_pj_per_bit=float(streamed["value"]),
        sources=sources,
    )

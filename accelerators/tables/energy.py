"""Energy tables: what one action costs, each entry with its source; shipped ones, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, PositiveFloat, ValidationError, field_validator, model_validator

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema.array.compute import check_dtypes, widest
from zerocast.accelerators.schema.part import Part
from zerocast.accelerators.tables.reading import find_table, log_log


class EnergyTable(Part):
    """Energies in pJ at the table's node. Lookups raise `AcceleratorError` for an entry that it lacks.

    In a file an entry is a number, or {value, source}; that of SRAM a list of points (bytes, pJ per bit), or
    {points, source}.
    """

    kind: Literal["energy"] = "energy"
    """What the file holds."""
    name: str = Field(min_length=1)
    """Name of the table."""
    node_nm: PositiveFloat | None = None
    """Feature size in nm that the entries are of."""
    mac_pj: dict[str, float] = Field(default_factory=dict)
    """One multiply-accumulate by data type, or by those of input and weight, `fp16*int4`."""
    flop_pj: dict[str, float] = Field(default_factory=dict)
    """One operation of a vector unit by data type; fp32 stands for types that are not there."""
    register_pj_per_bit: float | None = Field(default=None, ge=0)
    """A register bit read or written."""
    sram_pj_per_bit: tuple[tuple[PositiveFloat, PositiveFloat], ...] = ()
    """A bit read from or written to a buffer, at some capacities in bytes, rising."""
    dram_pj_per_bit: dict[str, float] = Field(default_factory=dict)
    """A bit of an off-chip memory by its kind."""
    memory_pj_per_byte: dict[str, float] = Field(default_factory=dict)
    """A byte read from or written to a memory by its name in the description, before any other entry."""
    streamed_pj_per_bit: float = Field(default=0.0, ge=0)
    """A bit on its way between an off-chip memory and a core's registers, without the memory's own; 0 of tables whose
    buffers and registers are priced one by one."""
    sources: dict[str, str] = Field(default_factory=dict)
    """Source by entry."""

    def __hash__(self) -> int:
        return hash(self.name)

    @model_validator(mode="before")
    @classmethod
    def _entries_apart_from_sources(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        found, sources = dict(raw), dict(raw.get("sources", {}))

        def plain(path: str, entry: Any, key: str = "value") -> Any:
            if not isinstance(entry, Mapping):
                return entry
            if not {key} <= set(entry) <= {key, "source"}:
                raise ValueError(f"{path}: write a number, or {key} and source; found {', '.join(map(str, entry))}")
            if entry.get("source"):
                sources[path] = str(entry["source"])
            return entry[key]

        for section, value in found.items():
            if section == "sram_pj_per_bit":
                found[section] = plain(section, value, "points")
            elif section in ("register_pj_per_bit", "streamed_pj_per_bit"):
                found[section] = plain(section, value)
            elif section != "sources" and isinstance(value, Mapping):
                found[section] = {key: plain(f"{section}.{key}", entry) for key, entry in value.items()}
        return found | {"sources": sources}

    @field_validator("mac_pj", "flop_pj", "dram_pj_per_bit", "memory_pj_per_byte")
    @classmethod
    def _costs_no_less_than_nothing(cls, entries: dict[str, float]) -> dict[str, float]:
        if wrong := [key for key, value in entries.items() if value < 0]:
            raise ValueError(f"{wrong[0]}: an energy is 0 or more")
        return entries

    @field_validator("mac_pj", "flop_pj")
    @classmethod
    def _types_are_known(cls, entries: dict[str, float]) -> dict[str, float]:
        check_dtypes(part for key in entries for part in key.split("*"))
        return entries

    @field_validator("sram_pj_per_bit")
    @classmethod
    def _points_rise(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if points and (len(points) < 2 or any(a[0] >= b[0] for a, b in pairwise(points))):
            raise ValueError("give two points (bytes, pJ per bit) or more, capacities rising")
        return points

    def mac_j(self, dtype: str) -> float:
        """Energy of one multiply-accumulate in J; of a pair of types without an entry, that of the wider type."""
        return self._entry("mac_pj", dtype if dtype in self.mac_pj else widest(dtype)) * 1e-12

    def flop_j(self, dtype: str) -> float:
        """Energy of one vector operation in J; that of fp32 for a type without an entry."""
        return self._entry("flop_pj", dtype if dtype in self.flop_pj else "fp32") * 1e-12

    def dram_j_per_bit(self, kind: str) -> float:
        """Energy of one bit moved to or from the off-chip memory `kind`, in J."""
        return self._entry("dram_pj_per_bit", kind) * 1e-12

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of one streamed bit in J."""
        return self.streamed_pj_per_bit * 1e-12

    def sram_j_per_bit(self, capacity_bytes: ArrayLike) -> NDArray[np.float64]:
        """Energy of one bit read from or written to a buffer of that capacity, in J; broadcasts.

        Piecewise linear in log-log between the table's points, extended by the outer slopes.
        """
        if not self.sram_pj_per_bit:
            raise AcceleratorError(
                f"energy table {self.name} has no sram_pj_per_bit; give two points (bytes, pJ per bit) or more there, "
                "or an entry of memory_pj_per_byte for each buffer"
            )
        return log_log(self.sram_pj_per_bit, capacity_bytes) * 1e-12

    @property
    def register_j_per_bit(self) -> float:
        """Energy of one register bit read or written, in J."""
        if self.register_pj_per_bit is None:
            raise AcceleratorError(f"energy table {self.name} has no register_pj_per_bit; add it (0 if MACs have it)")
        return self.register_pj_per_bit * 1e-12

    def _entry(self, section: str, key: str) -> float:
        values: dict[str, float] = getattr(self, section)
        if key not in values:
            has = f"it has {', '.join(values)}" if values else "the section is empty"
            raise AcceleratorError(f"energy table {self.name}: {section} has no {key!r}; {has}; add it")
        return values[key]


def energy_table(table: str | EnergyTable) -> EnergyTable:
    """The shipped energy table of that name, or the table itself; `AcceleratorError` names the ones there are."""
    return table if isinstance(table, EnergyTable) else _shipped(table)


@cache
def _shipped(name: str) -> EnergyTable:
    return parse_table(find_table("energy", name, "technology.energy_table"), name)


def parse_table(raw: Any, origin: str) -> EnergyTable:
    """Check what a table's file holds; `AcceleratorError` names `origin` and each mistake."""
    from zerocast.accelerators.library import explain

    try:
        return EnergyTable.model_validate(raw)
    except ValidationError as error:
        raise AcceleratorError(f"energy table {origin}: {explain(error, raw, EnergyTable)}") from None


def table_at(path: Path) -> dict[str, Any]:
    """What a user's own energy table holds, checked. Raises `AcceleratorError` for a file that is none."""
    if not path.is_file():
        raise AcceleratorError(f"technology.energy_table: no file {str(path)!r}; write one, or name a shipped table")
    return _at(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _at(path: Path, changed_ns: int) -> dict[str, Any]:
    from zerocast.accelerators.library import read_file

    raw = read_file(path)
    parse_table(raw, str(path))
    return raw

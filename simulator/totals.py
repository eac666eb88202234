"""Totals of a simulation: what is compared between designs, without the rows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from zerocast.simulator.result import Result

SUMMED = (
    "macs", "effectual_macs", "cycles", "ideal_cycles", "dram_read_bytes", "dram_write_bytes", "buffer_read_bytes",
    "buffer_write_bytes", "mac_j", "register_j", "buffer_j", "dram_j", "vector_j",
)  # fmt: skip
"""Columns of the rows that are summed over all ops."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a workload costs on one design: `Result` without its rows.

    energy_j: dynamic and static. cycles, ideal_cycles: of all resources together. resources: of an FPGA design.
    uncosted: ops that nothing runs, which are in no total. area_mm2: None where it is not known.
    """

    latency_s: float
    energy_j: float
    static_j: float
    macs: float
    effectual_macs: float
    cycles: float
    ideal_cycles: float
    dram_read_bytes: float
    dram_write_bytes: float
    buffer_read_bytes: float
    buffer_write_bytes: float
    mac_j: float
    register_j: float
    buffer_j: float
    dram_j: float
    vector_j: float
    peak_bytes: int
    resources: dict[str, float] = field(default_factory=dict)
    uncosted: tuple[str, ...] = ()
    area_mm2: float | None = None


COLUMNS = tuple(f.name for f in fields(Totals) if f.name not in ("resources", "uncosted", "area_mm2"))
"""The plain numbers among the totals."""


def totals(result: Result) -> Totals:
    """The totals of a result."""
    return Totals(
        latency_s=result.latency_s,
        energy_j=result.energy_j,
        static_j=result.static_j,
        **{column: result.total(column) for column in SUMMED},
        peak_bytes=result.footprint.peak_bytes,
        resources=dict(result.resources),
        uncosted=result.uncosted,
        area_mm2=result.area_mm2,
    )

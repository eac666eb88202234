"""The result of a simulation: one row per op and pass, a timeline, totals. Units are in the column names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zerocast.simulator.gemm import Gemm
from zerocast.simulator.given import dump_page
from zerocast.workloads.ir import Workload

if TYPE_CHECKING:
    import pandas


Fallback = Literal["", "refused", "slower"]


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op. Latency is the op's own, as if it ran alone; start and end come from the schedule.

    bound: what sets the latency: `compute`, `fill` (skew and drain are more than half of the array's cycles),
    `port`, `dram`, `unit`, `launch`, or `uncosted` where the accelerator has nothing to run the op on.
    costed: False for an op that nothing runs, which is in no total. fallback: why N:M weights run on a dense kernel,
    `refused` by the sparse one or `slower` on it; else "".
    ideal_cycles: cycles of a full array with every skippable zero skipped; utilisation = ideal / cycles spent.
    lost_*_cycles: why cycles are more than the ideal ones (`simulator.engine.losses`; of systolic arrays, whose folds
    lose by fill and edges alike, all but memory stays 0); port: an engine waiting for a buffer's port; memory: waiting
    for the off-chip link.
    expected_cycles: what the analytic fidelity gives for `cycles` under the same mapping; 0 where there is but one.
    spread_s: one standard deviation of the latency under random zeros.
    memories: of several depths, read_bytes, write_bytes and energy_j of each memory by its name, as JSON.
    low_s, high_s: on a GPU, bounds of the latency that 9 of 10 measurements are to keep; 0 elsewhere.
    """

    op: str
    layer: str
    phase: str
    kind: str
    function: str
    resource: str
    macs: int = 0
    effectual_macs: float = 0.0
    flops: float = 0.0
    cycles: float = 0.0
    expected_cycles: float = 0.0
    ideal_cycles: float = 0.0
    latency_s: float = 0.0
    spread_s: float = 0.0
    low_s: float = 0.0
    high_s: float = 0.0
    start_s: float = 0.0
    end_s: float = 0.0
    lost_imbalance_cycles: float = 0.0
    lost_fragmentation_cycles: float = 0.0
    lost_padding_cycles: float = 0.0
    lost_edge_cycles: float = 0.0
    lost_conflict_cycles: float = 0.0
    lost_ramp_cycles: float = 0.0
    lost_wasted_cycles: float = 0.0
    lost_port_cycles: float = 0.0
    lost_memory_cycles: float = 0.0
    utilisation: float = 0.0
    bound: str = ""
    skipped: str = ""
    dataflow: str = ""
    order: str = ""
    tile_m: int = 0
    tile_n: int = 0
    tile_k: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    batch: int = 0
    input_density: float = 1.0
    weight_density: float = 1.0
    dram_read_bytes: float = 0.0
    dram_write_bytes: float = 0.0
    dram_input_bytes: float = 0.0
    dram_weight_bytes: float = 0.0
    dram_output_bytes: float = 0.0
    buffer_read_bytes: float = 0.0
    buffer_write_bytes: float = 0.0
    register_bytes: float = 0.0
    mac_j: float = 0.0
    register_j: float = 0.0
    buffer_j: float = 0.0
    dram_j: float = 0.0
    vector_j: float = 0.0
    energy_j: float = 0.0
    costed: bool = True
    fallback: Fallback = ""
    memories: str = ""
    note: str = ""


def in_order(values: Iterable[float]) -> float:
    """Sum from the first value to the last. `sum` compensates for rounding on some versions of Python, which sums of
    arrays do not: one design and thousands must have the same bits."""
    total: float = 0
    for value in values:
        total += value
    return total


@dataclass(frozen=True)
class Footprint:
    """Off-chip memory of the workload in bytes. `peak_bytes` is the most that is alive at once."""

    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    saved_activation_bytes: int
    peak_bytes: int


class CriticalPath(NamedTuple):
    """Ops that wait for one another, in order, and how long they take together in s."""

    ops: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a workload costs on an accelerator.

    latency_s is the end of the schedule, with overlap; the sum of the rows' latencies is more where ops overlap.
    ran: the ops as they ran, after the controller's rewrites; along: for an op, those whose output it takes on the fly.
    layers: for each weight, why it was left dense, or "". resources: of an FPGA design. area: mm2 by component, of a
    design that has an area table or the area of its die. notes: what a reader must know to believe the numbers.
    found: for each weight that holds zeros of its own, what they keep to. products: of each einsum, with the mappings
    that they took.
    """

    workload: str
    accelerator: str
    fidelity: str
    clock_hz: float
    peak_macs_per_s: float
    dram_bytes_per_s: float
    rows: tuple[OpRow, ...] = field(repr=False)
    latency_s: float
    static_j: float
    footprint: Footprint
    ran: Workload | None = field(default=None, repr=False)
    along: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    meta: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resources: Mapping[str, float] = field(default_factory=dict)
    area: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict, repr=False)
    products: Mapping[str, tuple[Gemm, ...]] = field(default_factory=dict, repr=False)

    def total(self, column: str) -> float:
        """Sum of a numeric column over all ops."""
        return float(in_order(getattr(row, column) for row in self.rows))

    @property
    def energy_j(self) -> float:
        """Dynamic and static energy in J."""
        return self.total("energy_j") + self.static_j

    def critical_path(self) -> CriticalPath:
        """The chain of ops, each waiting for the one before, whose own latencies add up to the most: no second array
        or unit, and no better order of the ops, can make the workload quicker than that.

        An op that takes another's output on the fly starts with it, so that of the two the longer one counts.
        """
        import networkx

        if self.ran is None:
            return CriticalPath((), 0.0)
        own = {row.op: row.latency_s for row in self.rows}
        graph = self.ran.graph()
        for before, after, edge in graph.edges(data=True):
            edge["seconds"] = own[after] - (min(own[before], own[after]) if before in self.along.get(after, ()) else 0)
        graph.add_edges_from(("", op, {"seconds": own[op]}) for op in own)
        ops = networkx.dag_longest_path(graph, weight="seconds")
        return CriticalPath(tuple(ops[1:]), networkx.path_weight(graph, ops, "seconds"))

    @property
    def area_mm2(self) -> float | None:
        """Area of the design in mm2; None where it is not known."""
        return sum(self.area.values()) if self.area else None

    @property
    def uncosted(self) -> tuple[str, ...]:
        """Ops that no part of the accelerator runs: they are in the table, and in no total."""
        return tuple(row.op for row in self.rows if not row.costed)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a table."""
        import pandas

        return pandas.DataFrame([asdict(row) for row in self.rows], columns=[f.name for f in fields(OpRow)])

    def summary(self) -> dict[str, Any]:
        """Totals and context, ready for JSON."""
        columns = ("macs", "effectual_macs", "cycles", "dram_read_bytes", "dram_write_bytes", "buffer_read_bytes",
                   "buffer_write_bytes", "mac_j", "register_j", "buffer_j", "dram_j", "vector_j")  # fmt: skip
        return {
            "workload": self.workload,
            "accelerator": self.accelerator,
            "fidelity": self.fidelity,
            "latency_s": self.latency_s,
            "energy_j": self.energy_j,
            **{column: self.total(column) for column in columns},
            "static_j": self.static_j,
            "critical_path_s": self.critical_path().seconds,
            "footprint": asdict(self.footprint),
            "resources": dict(self.resources),
            "area_mm2": self.area_mm2,
            "area_mm2_by_component": dict(self.area),
            "meta": dict(self.meta),
            "layers_left_dense": {name: why for name, why in self.layers.items() if why},
            "zeros_found": dict(self.found),
            "uncosted_ops": list(self.uncosted),
            "notes": list(self.notes),
        }

    @property
    def mapping(self) -> str:
        """The mapping of every op as a page of YAML, which given to `simulate` gives the same bits."""
        return dump_page(self.products)

    def save_timeline(self, path: str | Path) -> None:
        """Write the schedule in the Chrome trace format (opens in Perfetto): one track per resource, in us."""
        tracks = {name: number for number, name in enumerate(dict.fromkeys(row.resource for row in self.rows), 1)}
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}}
            for name, number in tracks.items()
        ]
        for row in self.rows:
            args = {"phase": row.phase, "bound": row.bound, "dataflow": row.dataflow, "utilisation": row.utilisation}
            events.append({
                "ph": "X", "pid": 1, "tid": tracks[row.resource], "name": row.op, "cat": row.phase,
                "ts": row.start_s * 1e6, "dur": (row.end_s - row.start_s) * 1e6, "args": args,
            })  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")

"""The result of a simulation: one row per op and pass, a timeline, totals. Units are in the column names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zerocast.simulator.cost import COLUMNS, OVER_OPS, OpRow, in_order
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.given import dump_page
from zerocast.simulator.program.storage import PLAIN, Storage
from zerocast.workloads.ir import Workload

if TYPE_CHECKING:
    import pandas


CLASSES = (
    "weights", "master copies", "optimizer state", "gradients", "activations kept", "transient", "cache", "indices",
    "inputs", "constants",
)  # fmt: skip
"""Classes of what lies off chip. Kept are activations that a backward pass reads; gradients are those of weights, all
others are transient."""


@dataclass(frozen=True)
class Footprint:
    """Off-chip memory of the workload in bytes. `peak_bytes` is the most that is alive at once, `peak` what it is made
    of, by class; `over_time` what is alive while each op runs. Classes with nothing are left out."""

    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    saved_activation_bytes: int
    peak_bytes: int
    peak: Mapping[str, int] = field(default_factory=dict)
    over_time: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Fit:
    """What fits an off-chip memory of `capacity_bytes`.

    largest_batch: None for a workload that knows none. cards: that hold it with layers dealt whole, None where one
    layer is too large; card_bytes: of the fullest. offload_bytes: beyond one memory; offload_s: time to bring them
    over the host's link in each step, None where the link is not known.
    """

    capacity_bytes: int
    largest_batch: int | None
    cards: int | None
    card_bytes: int
    offload_bytes: int = 0
    offload_s: float | None = 0.0


@dataclass(frozen=True)
class Resident:
    """A tensor that stays in an on-chip memory between two ops, both included. bytes: that it takes there; saved_bytes:
    that it need not move off chip."""

    tensor: str
    memory: str
    first_op: str
    last_op: str
    bytes: int
    saved_bytes: int


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
    that they took. residents: what stays on chip between ops; without_residents: latency, energy and off-chip bytes of
    the same run without them, by column; empty where the accelerator lets nothing stay. storage: how what ran lies off
    chip; fit: what fits there.
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
    residents: tuple[Resident, ...] = field(default=(), repr=False)
    without_residents: Mapping[str, float] = field(default_factory=dict)
    storage: Storage = field(default=PLAIN, repr=False)
    fit: Fit | None = None

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

        An op that takes another's output on the fly starts no earlier than it and ends no earlier: the longer one
        counts. Weights that came in behind the op before are no part of an op's own latency.
        """
        import networkx

        if self.ran is None:
            return CriticalPath((), 0.0)
        events = networkx.DiGraph()  # (op, False) is its start, (op, True) its end
        for row in self.rows:
            own = min(row.latency_s, row.end_s - row.start_s)
            events.add_edge((row.op, False), (row.op, True), seconds=own)
        for before, after in self.ran.graph().edges():
            along = before in self.along.get(after, ())
            for ended in (False, True) if along else (True,):
                events.add_edge((before, ended), (after, along and ended), seconds=0.0)
        path = networkx.dag_longest_path(events, weight="seconds")
        return CriticalPath(tuple(dict.fromkeys(op for op, _ in path)), networkx.path_weight(events, path, "seconds"))

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

        return pandas.DataFrame([asdict(row) for row in self.rows], columns=[column.name for column in COLUMNS])

    def summary(self) -> dict[str, Any]:
        """Totals and context, ready for JSON."""
        return {
            "workload": self.workload,
            "accelerator": self.accelerator,
            "fidelity": self.fidelity,
            "latency_s": self.latency_s,
            **{column: self.total(column) for column in OVER_OPS},
            "energy_j": self.energy_j,
            "static_j": self.static_j,
            "critical_path_s": self.critical_path().seconds,
            "footprint": {name: value for name, value in asdict(self.footprint).items() if name != "over_time"},
            "fit": None if self.fit is None else asdict(self.fit),
            "resources": dict(self.resources),
            "area_mm2": self.area_mm2,
            "area_mm2_by_component": dict(self.area),
            "meta": dict(self.meta),
            "layers_left_dense": {name: why for name, why in self.layers.items() if why},
            "zeros_found": dict(self.found),
            "uncosted_ops": list(self.uncosted),
            "residents": [asdict(resident) for resident in self.residents],
            "without_residents": dict(self.without_residents),
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

"""What things cost: one table of columns, which rows of ops, figures of many designs and totals of runs all read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fallback = Literal["", "refused", "slower"]
Adds = Literal["never", "over products", "over ops"]
"""What a column may be summed over: nothing, the products of one op, or (these too) all ops of a run."""


class Column(NamedTuple):
    """One column: its name, what it is in words, its unit ("" for counts and labels), and what it adds up over."""

    name: str
    words: str
    unit: str = ""
    adds: Adds = "never"


def _column(default: Any, words: str, unit: str = "", adds: Adds = "never") -> Any:
    return field(default=default, metadata={"words": words, "unit": unit, "adds": adds})


@dataclass(frozen=True, slots=True)
class OpRow:
    """One op. Latency is the op's own, as if it ran alone; start and end come from the schedule.

    bound: what sets the latency: `compute`, `fill` (skew and drain are more than half of the array's cycles),
    `port`, `dram`, `unit`, `launch`, or `uncosted` where the accelerator has nothing to run the op on.
    costed: False for an op that nothing runs, which is in no total. fallback: why N:M weights run on a dense kernel,
    `refused` by the sparse one or `slower` on it; else "".
    ideal_cycles: cycles of a full array with every skippable zero skipped; utilisation = ideal / cycles spent.
    lost_*_cycles: why cycles are more than the ideal ones (`simulator.laws.lanes.losses`; of systolic arrays, whose
    folds lose by fill and edges alike, all but memory stays 0); port: an engine waiting for a buffer's port; memory:
    waiting for the off-chip link.
    output_density: share of the outputs that are asked for; output_computed: of those that take time,
    computed with others or waited for.
    expected_cycles: what the analytic fidelity gives for `cycles` under the same mapping; 0 where there is but one.
    spread_s: one standard deviation of the latency under random zeros.
    resident_saved_bytes, resident_saved_j: what the op moves off chip, and takes, less than if nothing stayed on chip.
    memories: of several depths, read_bytes, write_bytes and energy_j of each memory by its name, as JSON.
    dense_kernel_s, sparse_kernel_s: on a GPU, latencies of the dense and of the 2:4 kernel of N:M weights, whichever
    runs; 0 elsewhere.
    low_s, high_s: on a GPU, bounds of the latency that 9 of 10 measurements are to keep; 0 elsewhere.
    """

    op: str
    layer: str
    phase: str
    kind: str
    function: str
    resource: str
    macs: int = _column(0, "MACs", adds="over ops")
    effectual_macs: float = _column(0.0, "effectual MACs", adds="over ops")
    flops: float = _column(0.0, "operations", adds="over products")
    cycles: float = _column(0.0, "cycles", adds="over ops")
    expected_cycles: float = _column(0.0, "expected cycles", adds="over products")
    ideal_cycles: float = _column(0.0, "ideal cycles", adds="over ops")
    latency_s: float = _column(0.0, "latency", "s", "over products")
    spread_s: float = _column(0.0, "standard deviation of the latency", "s", "over products")
    low_s: float = _column(0.0, "lower bound of the latency", "s", "over products")
    high_s: float = _column(0.0, "upper bound of the latency", "s", "over products")
    dense_kernel_s: float = _column(0.0, "latency of the dense kernel", "s", "over products")
    sparse_kernel_s: float = _column(0.0, "latency of the 2:4 kernel", "s", "over products")
    start_s: float = _column(0.0, "start", "s")
    end_s: float = _column(0.0, "end", "s")
    lost_imbalance_cycles: float = _column(0.0, "cycles lost to imbalance", adds="over products")
    lost_fragmentation_cycles: float = _column(0.0, "cycles lost to fragmentation", adds="over products")
    lost_padding_cycles: float = _column(0.0, "cycles lost to padding", adds="over products")
    lost_edge_cycles: float = _column(0.0, "cycles lost at edges", adds="over products")
    lost_conflict_cycles: float = _column(0.0, "cycles lost to conflicts", adds="over products")
    lost_ramp_cycles: float = _column(0.0, "cycles lost to ramps", adds="over products")
    lost_wasted_cycles: float = _column(0.0, "cycles wasted", adds="over products")
    lost_port_cycles: float = _column(0.0, "cycles lost to ports", adds="over products")
    lost_memory_cycles: float = _column(0.0, "cycles lost to the link", adds="over products")
    utilisation: float = _column(0.0, "utilisation")
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
    batch: int = _column(0, "batch", adds="over products")
    input_density: float = 1.0
    weight_density: float = 1.0
    output_density: float = 1.0
    output_computed: float = 1.0
    dram_read_bytes: float = _column(0.0, "DRAM reads", "B", "over ops")
    dram_write_bytes: float = _column(0.0, "DRAM writes", "B", "over ops")
    dram_input_bytes: float = _column(0.0, "DRAM traffic of inputs", "B", "over products")
    dram_weight_bytes: float = _column(0.0, "DRAM traffic of weights", "B", "over products")
    dram_output_bytes: float = _column(0.0, "DRAM traffic of outputs", "B", "over products")
    buffer_read_bytes: float = _column(0.0, "buffer reads", "B", "over ops")
    buffer_write_bytes: float = _column(0.0, "buffer writes", "B", "over ops")
    register_bytes: float = _column(0.0, "register traffic", "B", "over products")
    mac_j: float = _column(0.0, "multiply-add energy", "J", "over ops")
    register_j: float = _column(0.0, "register energy", "J", "over ops")
    buffer_j: float = _column(0.0, "buffer energy", "J", "over ops")
    dram_j: float = _column(0.0, "DRAM energy", "J", "over ops")
    vector_j: float = _column(0.0, "vector energy", "J", "over ops")
    energy_j: float = _column(0.0, "energy", "J", "over ops")
    resident_saved_bytes: float = _column(0.0, "DRAM traffic saved by what stays on chip", "B", "over ops")
    resident_saved_j: float = _column(0.0, "energy saved by what stays on chip", "J", "over ops")
    costed: bool = True
    fallback: Fallback = ""
    memories: str = ""
    note: str = ""


COLUMNS = tuple(Column(each.name, **(each.metadata or {"words": each.name})) for each in fields(OpRow))
"""All columns of a row, in the order of the files."""
OVER_PRODUCTS = tuple(column.name for column in COLUMNS if column.adds != "never")
OVER_OPS = tuple(column.name for column in COLUMNS if column.adds == "over ops")
RESIDENT = ("resident_saved_bytes", "resident_saved_j")
"""Columns that compare with the same run without tensors that stay on chip."""
TOTALS = (
    Column("latency_s", "latency", "s"), Column("energy_j", "energy", "J"), Column("static_j", "static energy", "J"),
    *(column for column in COLUMNS if column.adds == "over ops" and column.name != "energy_j"),
    Column("peak_bytes", "peak memory", "B"),
)  # fmt: skip
"""The plain numbers of a run. Its latency is the schedule's, its energy has the static part."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost of a product, an einsum or another op on each of some designs, arrays [designs].

    link_s: time that its bytes keep the link busy; weight_prologue_s: the part of it that loads the first weights.
    columns: by name, of those that add up; what is not named is 0.
    """

    link_s: Array
    weight_prologue_s: Array
    columns: dict[str, Array]

    @property
    def latency_s(self) -> Array:
        """Latency of the whole in s."""
        return self.columns["latency_s"]

    def plus(self, more: Mapping[str, float | Array]) -> Figures:
        """With more of some columns."""
        nothing = np.zeros_like(self.latency_s)
        added = {name: self.columns.get(name, nothing) + value for name, value in more.items()}
        return replace(self, columns=self.columns | added)

    def shared(self, share: float) -> Figures:
        """Those of the mean step, of an op that runs in that share of all steps."""
        columns = {name: share * value for name, value in self.columns.items()}
        return Figures(share * self.link_s, share * self.weight_prologue_s, columns)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a workload costs on one design: `Result` without its rows.

    figures: by name of `TOTALS`. resources: of an FPGA design. uncosted: ops that nothing runs, which are in no total.
    area_mm2: None where it is not known.
    """

    figures: dict[str, float]
    resources: dict[str, float] = field(default_factory=dict)
    uncosted: tuple[str, ...] = ()
    area_mm2: float | None = None

    def __getitem__(self, column: str) -> float:
        return self.figures[column]


def in_order(values: Iterable[Any]) -> Any:
    """Sum of numbers or arrays from the first to the last. `sum` compensates the rounding of numbers on some versions
    of Python, which sums of arrays do not: one design and thousands must have the same bits."""
    total: Any = 0
    for value in values:
        total += value
    return total

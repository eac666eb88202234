"""The columns of a result: totals of the simulation, and what follows from them and from the design."""

from __future__ import annotations

import math
from typing import Literal

from zerocast.accelerators import Accelerator
from zerocast.simulator.cost import TOTALS, Totals

FPGA = ("lut", "ff", "dsp", "bram36", "uram")
DERIVED = (
    "edp_js", "dram_bytes", "throughput_per_s", "throughput_per_w", "peak_macs_per_s", "dram_bytes_per_s",
    "uncosted_ops", "area_mm2",
)  # fmt: skip
STORED = (*(column.name for column in TOTALS), *DERIVED, *FPGA)
"""What is priced once per workload and design, and kept."""
METRICS = (*STORED, "accuracy")
"""All columns that constraints and objectives may name; the accuracy is the space's own."""
OF_SAMPLES = ("throughput_per_s", "throughput_per_w")
"""Columns that count samples."""
_RISING = {"throughput_per_s", "throughput_per_w", "peak_macs_per_s", "dram_bytes_per_s", "accuracy"}

Direction = Literal["min", "max"]


def direction(metric: str) -> Direction:
    """Whether less or more of a metric is better."""
    return "max" if metric in _RISING else "min"


def metrics(samples: float | None, accelerator: Accelerator, found: Totals) -> tuple[float, ...]:
    """Values of the columns `STORED`; NaN where the design or the workload has none. samples: of one step or
    of a whole run, None where the workload does not know its batch.

    edp_js: energy x latency in J s. throughput_per_s: samples a second, throughput_per_w: the same per watt, which
    is samples a joule; NaN for a workload that does not know its batch. uncosted_ops: how many ops have no unit to
    run on and are in no total. area_mm2: NaN for a template without an area table. lut to uram: of FPGA designs.
    """
    count = math.nan if samples is None else samples
    derived = {
        "edp_js": found["energy_j"] * found["latency_s"],
        "dram_bytes": found["dram_read_bytes"] + found["dram_write_bytes"],
        "throughput_per_s": count / found["latency_s"] if found["latency_s"] else math.nan,
        "throughput_per_w": count / found["energy_j"] if found["energy_j"] else math.nan,
        "peak_macs_per_s": accelerator.peak_macs_per_s,
        "dram_bytes_per_s": accelerator.dram_bytes_per_s,
        "uncosted_ops": len(found.uncosted),
        "area_mm2": math.nan if found.area_mm2 is None else found.area_mm2,
        **{name: found.resources.get(name, math.nan) for name in FPGA},
    }
    totals = [found[column.name] for column in TOTALS]
    return tuple(float(value) for value in (*totals, *(derived[name] for name in (*DERIVED, *FPGA))))

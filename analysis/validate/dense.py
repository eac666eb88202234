"""The dense control: published cycles of the TPU-like array, and SCALE-Sim 3's recorded answers."""

from __future__ import annotations

import re
from collections.abc import Callable

from zerocast.accelerators import load
from zerocast.accelerators.schema import Dataflow
from zerocast.analysis.validate.comparison import Comparison, against, reference_rows
from zerocast.simulator import best_mapping
from zerocast.simulator.compute import array_cycles
from zerocast.simulator.gemm import plain_gemm

DATAFLOWS: dict[str, Dataflow] = {
    "os": "output_stationary",
    "ws": "weight_stationary",
    "is": "input_stationary",
}

SCALESIM_COUNTS = "it numbers cycles from 0 and prints the last one: one less than it takes"


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    say("dense arrays against published cycles and SCALE-Sim 3")
    return tpu_rows() + scalesim_rows()


def tpu_rows() -> list[Comparison]:
    """The array cycles of every TPU-like row: the reference counts no memory, so the mapping is chosen by cycles."""
    tpu = load("tpu-like-128")
    rows = []
    for row in reference_rows("published.csv"):
        shape = re.fullmatch(r"M(\d+)-N(\d+)-K(\d+)", row["workload"])
        if row["system"] == "TPU-like 128x128" and shape:
            m, n, k = map(int, shape.groups())
            cost = best_mapping(plain_gemm(m, n, k, "bf16", 16), tpu, "cycles")
            rows.append(against("dense", f"tpu-like-128 {row['workload']}", float(cost.cycles),
                                float(row["value"]), "cycles", 0.0, row["source"]))  # fmt: skip
    return rows


def scalesim_rows() -> list[Comparison]:
    """Array cycles, fill and drain included, of every recorded SCALE-Sim 3 run."""
    rows = []
    for row in reference_rows("scalesim3.csv"):
        array = load(f"systolic-{row['rows']}x{row['cols']}")
        m, n, k = int(row["M"]), int(row["N"]), int(row["K"])
        cycles = float(array_cycles(array, "fp16", DATAFLOWS[row["dataflow"]], m, n, k))
        what = f"{row['rows']}x{row['cols']} {row['dataflow']} {m}x{n}x{k}"
        source = (
            f"{row['tool']} {row['version']}, recorded with analysis/references/record_scalesim.py; {SCALESIM_COUNTS}"
        )
        rows.append(against("dense", what, cycles, float(row["total_cycles"]), "cycles", 0.01, source))
    return rows

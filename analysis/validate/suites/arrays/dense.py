"""The dense control: published cycles of the TPU-like array, and SCALE-Sim 3's recorded answers.

Compared is what users get: the cycles of a product as `zerocast gemm` prices it, with the template's buffers and link.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from zerocast.accelerators import load
from zerocast.accelerators.schema import Dataflow
from zerocast.analysis.validate.comparison import Comparison, against, reference_rows
from zerocast.simulator import best_mapping
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.gemm import plain_gemm

DATAFLOWS: dict[str, Dataflow] = {
    "os": "output_stationary",
    "ws": "weight_stationary",
    "is": "input_stationary",
}

SCALESIM_COUNTS = "it numbers cycles from 0 and prints the last one, so that 1 is added"


PARTS = ("tpu", "scalesim")


def parts() -> tuple[str, ...]:
    """References that can be compared alone."""
    return PARTS


def compare(say: Callable[[str], None], part: str | None = None) -> list[Comparison]:
    """All comparisons of the suite, or those with one reference."""
    say("dense arrays against published cycles and SCALE-Sim 3")
    rows = {"tpu": tpu_rows, "scalesim": scalesim_rows}
    return [row for name in ([part] if part else PARTS) for row in rows[name]()]


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
    """Cycles, fill and drain included, of every recorded SCALE-Sim 3 run, on the array with that run's dataflow alone.

    SCALE-Sim prints the number of the last cycle, counted from 0: one less than it takes. It ran with unlimited memory:
    the mapping is chosen by cycles.
    """
    pricers: dict[tuple[str, str, str], Pricer] = {}
    rows = []
    for row in reference_rows("scalesim3.csv"):
        array = row["rows"], row["cols"], row["dataflow"]
        if array not in pricers:
            one = {"compute.dataflows": [DATAFLOWS[row["dataflow"]]]}
            pricers[array] = Pricer(load(f"systolic-{row['rows']}x{row['cols']}", one), "cycles")
        m, n, k = int(row["M"]), int(row["N"]), int(row["K"])
        cycles = pricers[array].gemm(plain_gemm(m, n, k, "fp16", 16)).cycles
        what = f"{row['rows']}x{row['cols']} {row['dataflow']} {m}x{n}x{k}"
        source = (
            f"{row['tool']} {row['version']}, recorded with analysis/references/record_scalesim.py; {SCALESIM_COUNTS}"
        )
        rows.append(against("dense", what, cycles, 1 + float(row["total_cycles"]), "cycles", 0.0, source))
    return rows

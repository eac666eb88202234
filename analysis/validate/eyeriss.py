"""Eyeriss v1 against the measured silicon: AlexNet's convolutions, batch 4 (JSSC 2017, table V)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelerators import load
from analysis.validate.comparison import Comparison, against, information, reference_rows
from simulator.gemm import Conv, Gemm, Operand
from simulator.row_stationary import RowStationaryCost, row_stationary_cost
from workloads.patterns import DENSE, Uniform

TOLERANCES = {"processing": 0.08, "total": 0.12, "global buffer": 0.10, "DRAM": 0.10, "power": 0.20}
"""Relative error allowed for each measured figure of a layer."""


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the chip."""
    say("Eyeriss v1 against measured AlexNet layers")
    rows = reference_rows("eyeriss.csv")
    found = [comparison for row in rows for comparison in _layer(row)]
    return found + _zeros(rows[2])


def layer_of(row: dict[str, str], zeros: bool = True) -> Gemm:
    """The convolution of a reference row as one group's product, with the zeros measured in its input.

    Images have the padding that gives the row's output.
    """
    number = {key: float(value) for key, value in row.items() if key not in ("layer", "source")}
    samples, channels, filters, kernel, out = (
        int(number[key]) for key in ("samples", "channels", "filters", "kernel", "output")
    )
    conv = Conv(samples, channels, int(number["height"]), int(number["width"]), (kernel, kernel), (out, out),
                (int(number["stride"]),) * 2, (1, 1))  # fmt: skip
    m, k = samples * out * out, channels * kernel * kernel
    inputs = Uniform(1 - number["ifmap_zeros_percent"] / 100) if zeros else DENSE
    outputs = Uniform(number["output_density"]) if zeros else DENSE
    return Gemm(
        int(number["groups"]), m, filters, k, Operand(conv.positions * channels, 16, inputs, (("c", k),)),
        Operand(filters * k, 16), Operand(m * filters, 16, outputs, (("k", filters),)), "int16", conv,
    )  # fmt: skip


def figures(cost: RowStationaryCost) -> dict[str, tuple[float, str]]:
    """What the chip's table gives, with its unit."""
    return {
        "processing": (cost.processing_cycles / load("eyeriss-v1").technology.clock_hz * 1e3, "ms"),
        "total": (cost.latency_s * 1e3, "ms"),
        "global buffer": (cost.glb_bytes / 1e6, "MB"),
        "DRAM": (cost.dram_bytes / 1e6, "MB"),
        "power": (cost.energy.chip_j / cost.latency_s * 1e3, "mW"),
    }


_COLUMNS = {"processing": "processing_ms", "total": "total_ms", "global buffer": "glb_mb", "DRAM": "dram_mb",
            "power": "power_mw"}  # fmt: skip


def _layer(row: dict[str, str]) -> list[Comparison]:
    cost = row_stationary_cost(layer_of(row), load("eyeriss-v1"))
    note = "zeros of the output before pooling: workload files of the Sparseloop MICRO 2022 artifact"
    return [
        against("zeroskip", f"eyeriss-v1 AlexNet {row['layer']}: {what}", value, float(row[_COLUMNS[what]]), unit,
                TOLERANCES[what], row["source"], note if what in ("DRAM", "total") else "")
        for what, (value, unit) in figures(cost).items()
    ]  # fmt: skip


def _zeros(row: dict[str, str]) -> list[Comparison]:
    """Zeros leave the processing time alone and save energy and traffic."""
    chip = load("eyeriss-v1")
    sparse, dense = (row_stationary_cost(layer_of(row, zeros), chip) for zeros in (True, False))
    ratios = {
        "processing time": sparse.processing_cycles / dense.processing_cycles,
        "chip energy": sparse.energy.chip_j / dense.energy.chip_j,
        "DRAM traffic": sparse.dram_bytes / dense.dram_bytes,
    }
    still = ratios["processing time"] == 1.0
    first, *others = [
        information("zeroskip", f"eyeriss-v1 {row['layer']}: {what} with zeros, against without", value, "x")
        for what, value in ratios.items()
    ]
    return [replace(first, reference=1.0, error=ratios["processing time"] - 1, tolerance=0.0, ok=still,
                    source="zeros are gated, not skipped: JSSC 2017"), *others]  # fmt: skip

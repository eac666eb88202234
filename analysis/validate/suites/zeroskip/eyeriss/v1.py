"""Eyeriss v1 against the measured silicon (JSSC 2017): AlexNet's convolutions (table V) under the mappings that the
search finds, VGG-16's (table VI) under given passes."""

from __future__ import annotations

from dataclasses import replace

from zerocast.accelerators import load
from zerocast.accelerators.schema.given import Given
from zerocast.analysis.validate.comparison import Comparison, against, information, reference_rows
from zerocast.analysis.validate.suites.zeroskip.layers import layers, without_zeros, workload_of
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, Row
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.rows import Passes, RowCost, RowProduct, best_rows
from zerocast.simulator.products.gemm import Gemm, gemms

TOLERANCES = {"processing": 0.08, "total": 0.12, "global buffer": 0.10, "DRAM": 0.10, "power": 0.20}
"""Relative error allowed for each measured figure of a layer."""

COLUMNS = {"processing": "processing_ms", "total": "total_ms", "global buffer": "glb_mb", "DRAM": "dram_mb",
           "power": "power_mw"}  # fmt: skip
"""Column of `eyeriss.csv` for each measured figure."""

ZEROS_OF = "conv3"
"""The layer whose zeros are taken away to see what they are worth."""


def compare() -> list[Comparison]:
    """All comparisons of the chip."""
    rows = reference_rows("eyeriss.csv")
    found = [comparison for row in rows for comparison in _layer(row)]
    found += [comparison for row in rows if row["layer"] == ZEROS_OF for comparison in _zeros(row)]
    return found + [comparison for row in reference_rows("eyeriss_vgg16.csv") for comparison in _under_given_pass(row)]


def gemm_of(row: Row, zeros: bool = True, network: str = "alexnet") -> Gemm:
    """The convolution of a reference row as one group's product, with the zeros measured in its feature maps.

    The chip's weights are dense. Raises `SimulationError` for a layer that the network in `layers.csv` does not have.
    """
    known = {layer.name: layer for layer in layers(network)}
    if row["layer"] not in known:
        raise SimulationError(f"layers.csv: {network} has no layer {row['layer']!r}; choose {', '.join(known)}")
    layer = replace(known[row["layer"]], weight_density=1.0, output_density=float(row.get("output_density", 1)))
    workload = workload_of([layer if zeros else without_zeros(layer)], "int16", int(row["samples"]))
    (op,) = workload.einsums
    (gemm,) = gemms(workload, op)
    return gemm


def figures(cost: RowCost) -> dict[str, tuple[float, str]]:
    """What the chip's table gives, with its unit."""
    return {
        "processing": (float(cost.cycles) / load("eyeriss-v1").technology.clock_hz * 1e3, "ms"),
        "total": (float(cost.latency_s) * 1e3, "ms"),
        "global buffer": (float(cost.glb_bytes) / 1e6, "MB"),
        "DRAM": (float(cost.dram_bytes) / 1e6, "MB"),
        "power": (float(cost.chip_j / cost.latency_s) * 1e3, "mW"),
    }


def _layer(row: Row) -> list[Comparison]:
    cost = best_rows(gemm_of(row), load("eyeriss-v1"))
    note = "zeros of the output before pooling: workload files of the Sparseloop MICRO 2022 artifact"
    return [
        against(SUITE, f"eyeriss-v1 AlexNet {row['layer']}: {what}", value, float(row[COLUMNS[what]]), unit,
                TOLERANCES[what], row["source"], note if what in ("DRAM", "total") else "")
        for what, (value, unit) in figures(cost).items()
    ]  # fmt: skip


def _under_given_pass(row: Row) -> list[Comparison]:
    """Processing time and buffer traffic, neither of which zeros change."""
    given = Given.model_validate({"pass": {name: int(row[name]) for name in Passes.__slots__}})
    cost = best_rows(replace(gemm_of(row, zeros=False, network="vgg16"), given=given), load("eyeriss-v1"))
    note = "given pass, derived from the active PEs, the accesses and the sizes of the buffers"
    return [
        against(SUITE, f"eyeriss-v1 VGG-16 {row['layer']}: {what}", value, float(row[COLUMNS[what]]), unit,
                TOLERANCES[what], row["source"], note)
        for what, (value, unit) in figures(cost).items() if COLUMNS[what] in row
    ]  # fmt: skip


def _zeros(row: Row) -> list[Comparison]:
    """Under one mapping, zeros leave the processing time alone and save energy and traffic."""
    chip = load("eyeriss-v1")
    mapped = RowProduct(gemm_of(row), [chip]).mapped
    dense, sparse = (best_rows(replace(gemm_of(row, zeros), given=mapped.given), chip) for zeros in (False, True))
    what = f"eyeriss-v1 {row['layer']}: {{}} with zeros, against without"
    time = float(sparse.cycles / dense.cycles)
    energy = float(sparse.chip_j / dense.chip_j)
    traffic = float(sparse.dram_bytes / dense.dram_bytes)
    return [
        against(SUITE, what.format("processing time"), time, 1.0, "x", 0.0, "zeros are gated, not skipped: JSSC 2017"),
        information(SUITE, what.format("chip energy"), energy, "x"),
        information(SUITE, what.format("DRAM traffic"), traffic, "x"),
    ]

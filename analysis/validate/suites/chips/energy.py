"""Predicted power and energy against published ones. No constant of the tables is fitted to these rows.

Chip means all but the off-chip memory, as publications count it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, published, reference_rows
from zerocast.analysis.validate.suites.zeroskip import eie
from zerocast.analysis.validate.suites.zeroskip.eyeriss import v1 as eyeriss_v1
from zerocast.analysis.validate.suites.zeroskip.layers import layers, workload_of
from zerocast.analysis.validate.suites.zeroskip.rows import product_of, rows_of
from zerocast.simulator import OpRow, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.laws.rows import RowCost, best_rows

SUITE = "energy"
TOLERANCE = 0.3
"""Error allowed: nodes, voltages and activity factors differ by as much between publications of one operation."""
EIE_LAYER = "Alex-7"
SIGMA_PRODUCT = "M1632-N36548-K1024"


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    say("power and energy against published designs")
    return [published(SUITE, row, PREDICTED[row["system"], row["what"]](), TOLERANCE)
            for row in reference_rows("energy.csv")]  # fmt: skip


def chip_j(rows: Iterable[OpRow]) -> float:
    """Energy of multipliers, registers and buffers, in J."""
    return sum(row.mac_j + row.register_j + row.buffer_j for row in rows)


def _eyeriss_v1() -> list[tuple[int, RowCost]]:
    """MACs of all groups, and cost, of each measured layer."""
    chip = load("eyeriss-v1")
    products = [eyeriss_v1.gemm_of(row) for row in reference_rows("eyeriss.csv")]
    return [(gemm.macs, best_rows(gemm, chip)) for gemm in products]


def _eyeriss_v1_efficiency() -> float:
    costs = _eyeriss_v1()
    return sum(macs for macs, _ in costs) / sum(float(cost.chip_j) for _, cost in costs) / 1e9


def _eyeriss_v1_arithmetic() -> float:
    (_, first), *_ = _eyeriss_v1()
    return 100 * float(first.mac_j / first.chip_j)


def _eyeriss_v2() -> float:
    return 1 / chip_j(simulate(workload_of(layers("mobilenet_half_128"), "int8"), load("eyeriss-v2")).rows)


def _eie() -> OpRow:
    (row,) = (row for row in rows_of("EIE", "theoretical_time") if row["workload"] == EIE_LAYER)
    return Pricer(load("eie")).gemm(eie.product_for(EIE_LAYER, float(row["value"])))


def _eie_arithmetic() -> float:
    row, skipping = _eie(), load("eie").skipping
    assert skipping is not None  # the template is such an engine
    return row.mac_j / row.latency_s / skipping.lanes * 1e3


def _sigma() -> float:
    (row,) = (row for row in rows_of("SIGMA", "cycles") if row["workload"] == SIGMA_PRODUCT)
    return _watts(Pricer(load("sigma")).gemm(product_of(row, "bf16", 16)))


def _cambricon_x() -> float:
    result = simulate(workload_of(layers("vgg16"), "int16"), load("cambricon-x"))
    return chip_j(result.rows) / result.latency_s


def _watts(row: OpRow) -> float:
    return chip_j([row]) / row.latency_s


PREDICTED: dict[tuple[str, str], Callable[[], float]] = {
    ("eyeriss-v1", "AlexNet convolutions: work per joule of the chip"): _eyeriss_v1_efficiency,
    ("eyeriss-v1", "AlexNet conv1: power of the multipliers"): _eyeriss_v1_arithmetic,
    ("eyeriss-v2", "sparse MobileNet 0.5-128: inferences per joule of the chip"): _eyeriss_v2,
    ("eie", "Alex-7: power of a PE's arithmetic"): _eie_arithmetic,
    ("eie", "Alex-7: power of the chip"): lambda: _watts(_eie()),
    ("sigma", "M1632-N36548-K1024: power of the chip"): _sigma,
    ("cambricon-x", "VGG-16 convolutions: power of the chip"): _cambricon_x,
}
"""What each row of `references/energy.csv` is held against, by its system and what it is."""

"""HiSparse (FPGA 2022): sparse matrix times vector on HBM, pruned layers and graphs."""

from __future__ import annotations

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, fact, numbers, rows_of
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.gemm import plain_gemm
from zerocast.workloads.patterns import DENSE, Uniform

NOTES = {
    "pruned layer": "the launch overhead is calibrated on the three Transformer matrices",
    "graph": "zeros count as uniformly random, but follow the vertices' degrees: uneven streams are not in the model",
}
"""What to know about rows by the kind of their zeros."""


def compare(tolerance: float = 0.15) -> list[Comparison]:
    """Run time of one matrix-vector product of every HiSparse row, launch overhead included.

    The published throughput counts two operations for each nonzero. The zeros of graphs follow the vertices' degrees,
    so that streams are unequal and padded to the longest, which the published size and density do not tell.
    """
    accelerator, rows = load("hisparse-u280"), []
    pricer = Pricer(accelerator)
    for row in rows_of("HiSparse", "throughput_fixed"):
        height, width = numbers(row, row["workload"], "1x1")
        density = float(fact(row, "density"))
        gemm = plain_gemm(1, height, width, "fp32", 32, DENSE, Uniform(density))
        measured = 2 * height * width * density / float(row["value"]) / 1e3
        time = (pricer.gemm(gemm).latency_s + accelerator.host.launch_overhead_s) * 1e6
        rows.append(against(SUITE, f"hisparse {fact(row, 'matrix')} {row['workload']}", time, measured, "us", tolerance,
                            row["source"], NOTES[fact(row, "zeros")]))  # fmt: skip
    return rows

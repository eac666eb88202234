"""HiSparse (FPGA 2022): sparse matrix times vector on HBM, pruned layers and graphs."""

from __future__ import annotations

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.zeroskip.rows import SUITE, fact, numbers, rows_of, shown
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gemm import plain_gemm
from zerocast.workloads.patterns import DENSE, Uniform


def compare(tolerance: float = 0.15) -> list[Comparison]:
    """Run time of one matrix-vector product of every HiSparse row, launch overhead included.

    The published throughput counts two operations for each nonzero. Graphs are shown only: their zeros follow the
    vertices' degrees, so that streams are unequal and padded to the longest, which the published size and density do
    not tell; and their many sums leave through one channel after the last product, which the model spreads over all.
    """
    accelerator, rows = load("hisparse-u280"), []
    pricer = Pricer(accelerator)
    for row in rows_of("HiSparse", "throughput_fixed"):
        height, width = numbers(row, row["workload"], "1x1")
        density, kind = float(fact(row, "density")), fact(row, "zeros")
        gemm = plain_gemm(1, height, width, "fp32", 32, DENSE, Uniform(density))
        measured = 2 * height * width * density / float(row["value"]) / 1e3
        time = (pricer.gemm(gemm).latency_s + accelerator.host.launch_overhead_s) * 1e6
        what = f"hisparse {fact(row, 'matrix')} {row['workload']}"
        if kind == "pruned layer":
            rows.append(against(SUITE, what, time, measured, "us", tolerance, row["source"],
                                "the launch overhead is calibrated on the three Transformer matrices"))  # fmt: skip
        else:
            rows.append(shown(what, time, measured, "us", row["source"],
                              f"zeros of a {kind}: uneven streams and the drain are not in the model"))  # fmt: skip
    return rows

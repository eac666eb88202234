"""Dual-side sparse tensor core (DSTC, ISCA 2021): latency against the density of both operands."""

from __future__ import annotations

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, fact, product_of, rows_of
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.products.gemm import plain_gemm


def compare(tolerance: float = 0.08, most: int = 1024) -> list[Comparison]:
    """Latency of every DSTC row over that of the dense product, walked with drawn masks.

    Products are cut to `most` along each rank: the single core takes tiles of 32 x 32 one after another, so that its
    time is a sum over tiles and indices of K that are all alike, and ratios do not depend on how many there are.
    """
    accelerator, rows = load("dstc"), []
    for row in rows_of("DSTC", "latency_normalised"):
        gemm = product_of(row, "fp16", 16, most)
        dense = engine_cycles(plain_gemm(gemm.m, gemm.n, gemm.k, "fp16", 16), accelerator, masks=True)
        ratio = engine_cycles(gemm, accelerator, masks=True).cycles / dense.cycles
        what = f"dstc {row['workload']}, densities {fact(row, 'A density')} and {fact(row, 'B density')}"
        rows.append(against(SUITE, what, ratio, float(row["value"]), "of dense", tolerance, row["source"],
                            "digitised from a figure by others"))  # fmt: skip
    return rows

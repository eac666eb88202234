"""The row of a product that a sparse kernel runs."""

from __future__ import annotations

import math
from dataclasses import replace

from zerocast.simulator.cost import OpRow
from zerocast.simulator.gpu.card import Card
from zerocast.simulator.gpu.sparse.choice import Option
from zerocast.simulator.products.gemm import Gemm

DATAFLOW = "sparse_kernel"
"""The dataflow of such a row; its order is the kernel's name."""


def sparse_row(row: OpRow, gemm: Gemm, option: Option, card: Card) -> OpRow:
    """The row of a product on another kernel, from its row on the tensor cores; energy is left as it was.

    Macs of the kernel count its stored zeros. What the floor holds of the gap between kernels is the host's.
    """
    kernel, times = option.kernel, option.times
    latency = option.seconds - min(card.gap_s, option.constants.floor_s)
    macs, weight = float(times.macs), float(times.matrix_bytes)
    ideal_s = macs / card.macs_per_s
    bar, level = option.bar, "measured" if option.measured else "not measured on such products of this generation"
    return replace(
        row, dataflow=DATAFLOW if kernel.zeros != "none" else row.dataflow, order=kernel.name,
        skipped="" if kernel.zeros == "none" else kernel.zeros, fallback="", bound=_bound(option),
        latency_s=latency, cycles=latency * card.clock_hz, ideal_cycles=ideal_s * card.clock_hz,
        low_s=latency * math.exp(-bar), high_s=latency * math.exp(bar), utilisation=min(ideal_s / latency, 1.0),
        flops=2.0 * macs, dram_weight_bytes=weight, dram_read_bytes=row.dram_input_bytes + weight,
        tile_m=gemm.m, tile_n=option.height, tile_k=kernel.width,
        note=f"{kernel.name}, {level}, 90 % within {math.expm1(-bar):+.0%} to {math.expm1(bar):+.0%}",
    )  # fmt: skip


def _bound(option: Option) -> str:
    """What sets the time: `launch` where none of the parts is half of it."""
    times = option.times
    parts = {"compute": times.compute_s, "port": times.gather_s, "dram": times.off_chip_s}
    name = max(parts, key=lambda part: float(parts[part]))
    return name if float(parts[name]) > 0.5 * option.seconds else "launch"

"""One PE of Eyeriss v2 on pointwise layers of MobileNet, held against counts over the real masks."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against, at_most
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, Row, fact, numbers, rows_of, zeros_of
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.workloads.patterns import Mask, Pattern

Bits = NDArray[np.bool_]


ONE_MAC = {
    "compute.rows": 1,
    "compute.cols": 1,
    "compute.macs_per_pe": 1,
    "skipping": {"law": "cartesian", "wait": "never", "arrangements": [{"m": {"lanes": 1}}]},
    "memories.input_buffer.formats": {"input": ["bitmask"]},
    "memories.weight_spads.formats": {"weight": ["bitmask"]},
}
"""Eyeriss v2 as the reference counts it: one lane, one product a cycle, no stall, no padding word."""


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A 1x1 convolution with its densities: channels in and out, output positions."""

    channels: int
    filters: int
    positions: int
    input_density: float
    weight_density: float

    @classmethod
    def of(cls, row: Row) -> Pointwise:
        """The layer of a row that says `C,M,E,F=..` and both densities."""
        c, m, e, f = numbers(row, fact(row, "C,M,E,F"), "1,1,1,1")
        return cls(c, m, e * f, float(fact(row, "input density")), float(fact(row, "weight density")))

    def gemm(self, inputs: Pattern, weights: Pattern) -> Gemm:
        """The layer as a product under two patterns."""
        return plain_gemm(self.positions, self.filters, self.channels, "int8", 8, inputs, weights)

    def masks(self, seed: int) -> tuple[Bits, Bits]:
        """Random masks of the layer's densities: inputs [positions, channels], weights [filters, channels]."""
        rng = np.random.default_rng(seed)
        inputs = rng.random((self.positions, self.channels)) < self.input_density
        return inputs, rng.random((self.filters, self.channels)) < self.weight_density


def compare(worst: float = 0.07, middle: float = 0.03, seed: int = 0) -> list[Comparison]:
    """Cycles of pointwise layers on one PE: with uniform densities against the ground truth of the real masks, and
    with random masks exactly."""
    accelerator, rows, exact = load("eyeriss-v2", ONE_MAC), [], []
    for at, row in enumerate(rows_of("Eyeriss v2 PE", "cycles")):
        layer, name = Pointwise.of(row), f"eyeriss-v2 PE {row['workload']}"
        uniform = layer.gemm(zeros_of(layer.input_density), zeros_of(layer.weight_density))
        cycles = engine_cycles(uniform, accelerator).cycles
        rows.append(against(SUITE, name, cycles, float(row["value"]), "cycles", worst, row["source"],
                            "uniform zeros; the real ones differ from channel to channel"))  # fmt: skip
        inputs, weights = layer.masks(seed + at)
        masked = layer.gemm(Mask.of(inputs, ("m", "k")), Mask.of(weights, ("n", "k")))
        exact.append(against(SUITE, f"{name}, random masks", engine_cycles(masked, accelerator, masks=True).cycles,
                             float(met_pairs(inputs, weights)), "cycles", 0.0,
                             "sum over channels of nonzero inputs times nonzero weights, counted apart"))  # fmt: skip
    if rows:
        errors = [abs(row.error or 0.0) for row in rows]
        rows.append(at_most(SUITE, "eyeriss-v2 PE, median error", median(errors), middle, rows[0].source))
    return rows + exact


def met_pairs(inputs: Bits, weights: Bits) -> int:
    """Products of two nonzeros: for each channel (last axis), nonzero inputs times nonzero weights."""
    pairs = 0
    for channel in range(inputs.shape[-1]):
        pairs += int(np.count_nonzero(inputs[:, channel])) * int(np.count_nonzero(weights[:, channel]))
    return pairs

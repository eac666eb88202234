"""Depthwise convolutions on a GPU: no matrix product to speak of, so libraries run them without tensor cores."""

from __future__ import annotations

import math
from itertools import permutations

from zerocast.accelerators.schema import Accelerator, Unit
from zerocast.simulator.gpu.streaming import streamed_s, streaming_of
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads.ir import Einsum


def is_depthwise(op: Einsum) -> bool:
    """Whether an einsum is a convolution in groups of one input or one output channel each, in whichever pass.

    PyTorch calls a convolution depthwise whose groups have one input channel each; one output channel leaves as little
    of a tensor-core tile. Read from the ranks: the image is indexed by windows (an output position and a kernel
    position, each with one of the two other tensors); input channels are shared by image and kernel, output channels by
    kernel and output, groups by all three. Ranks alone cannot tell a kernel from an output, nor channels from samples:
    the kernel has fewer positions, and where neither has, both readings must say depthwise.
    """
    ranks = [op.ranks_of(operand) for operand in range(3)]

    def extent(found: frozenset[str]) -> int:
        return math.prod(op.sizes[rank] for rank in found)

    readings = []
    for image, kernel, output in permutations(range(3)):
        taps, places = ranks[kernel] - ranks[output], ranks[output] - ranks[kernel]
        pairs = [frozenset(rank for rank, _ in affine) for affine in op.index[image]]
        windows = frozenset().union(*(pair for pair in pairs if pair & taps and pair & places))
        if windows and extent(taps & windows) <= extent(places & windows):
            channels = extent(taps & ranks[image] - windows), extent(ranks[kernel] & ranks[output] - ranks[image])
            readings.append(min(channels) == 1)
    return extent(ranks[0] & ranks[1] & ranks[2]) > 1 and bool(readings) and all(readings)


def direct_unit(gemm: Gemm, accelerator: Accelerator) -> Unit | None:
    """The unit that runs a product as a direct convolution; None for products of the tensor cores."""
    return accelerator.unit_for("conv2d") if gemm.direct else None


def direct_seconds(gemm: Gemm, accelerator: Accelerator, unit: Unit, dram_bytes: float) -> tuple[float, float]:
    """Seconds of the arithmetic, two operations a multiply-add on the unit's lanes, and of the off-chip bytes, which
    overlap: a roofline, held against no measurement."""
    flops_per_s = unit.lanes * unit.flops_per_lane * accelerator.technology.clock_hz
    share = streaming_of(accelerator).backward if gemm.direct == "backward" else 1.0
    return 2.0 * gemm.macs / flops_per_s, float(streamed_s(accelerator, dram_bytes)) / share

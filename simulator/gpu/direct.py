"""Depthwise convolutions on a GPU: no matrix product to speak of, so libraries run them without tensor cores."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator, Unit
from zerocast.simulator.gemm import Gemm


def direct_unit(gemm: Gemm, accelerator: Accelerator) -> Unit | None:
    """The unit that runs a product as a direct convolution: one output channel in each of several groups leaves a
    tensor-core tile all but empty. None for other products, and where there is no such unit."""
    depthwise = gemm.conv is not None and gemm.batch > 1 and gemm.n == 1
    return accelerator.unit_for("conv2d") if depthwise else None


def direct_seconds(gemm: Gemm, accelerator: Accelerator, unit: Unit, dram_bytes: float) -> tuple[float, float]:
    """Seconds of the arithmetic, two operations a multiply-add on the unit's lanes, and of the off-chip bytes, which
    overlap: a roofline, held against no measurement."""
    flops_per_s = unit.lanes * unit.flops_per_lane * accelerator.technology.clock_hz
    return 2.0 * gemm.macs / flops_per_s, dram_bytes / accelerator.dram_bytes_per_s

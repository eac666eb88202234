"""Kernels that only stream: elementwise work, normalisation, direct convolutions."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gpu.fit.calibration import calibration_of


def streamed_share(accelerator: Accelerator) -> float:
    """Share of the datasheet's off-chip bandwidth that a streaming kernel reaches: that of 16-bit products, since it is
    the memory's own (refresh, turning from reads to writes, rows that close); 1 for an accelerator that is no GPU.

    Raises `SimulationError` for a calibration that cannot be read.
    """
    if accelerator.gpu is None:
        return 1.0
    return calibration_of(accelerator.gpu.calibration).of("dense_16bit").constants.dram


def streamed_bytes_per_s(accelerator: Accelerator) -> float:
    """Off-chip bandwidth of a streaming kernel."""
    return accelerator.dram_bytes_per_s * streamed_share(accelerator)

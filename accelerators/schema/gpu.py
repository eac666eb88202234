"""Graphics processors with tensor cores."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from accelerators.schema.part import Part


class Gpu(Part):
    """A GPU whose library picks a tensor-core kernel for each product.

    What is not said here: `compute.rows` are the streaming multiprocessors, the buffer is the L2, and
    `technology.clock_hz` is the clock of the datasheet's rates.
    """

    calibration: str
    """Constants of the kernel times: a name in `accelerators/calibrations/`, or a YAML file by `zerocast calibrate`."""
    tdp_w: PositiveFloat
    """Power limit of the card, in W."""
    launch_floor_s: float = Field(ge=0)
    """Gap between kernels of a CUDA graph, contained in the calibrated times; `host.launch_overhead_s` adds it back
    and may be larger, for launches one by one."""
    sparse_types: tuple[str, ...] = ()
    """Data types with 2:4 sparse tensor cores for the weights."""

"""What the description of a row-stationary accelerator says about its PEs."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator, RowStationary
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm import Gemm


def part_of(accelerator: Accelerator) -> RowStationary:
    """Spads, network on chip and clock of the array."""
    assert accelerator.row_stationary is not None  # the schema asks for it with the dataflow
    return accelerator.row_stationary


def pe_rate(gemm: Gemm, accelerator: Accelerator) -> float:
    """Multiply-accumulates of a PE in one cycle; `SimulationError` for arithmetic that it lacks."""
    compute = accelerator.compute
    if gemm.dtype not in compute.rates:
        raise SimulationError(
            f"{accelerator.name} has no {gemm.dtype} arithmetic; compute.rates lists {', '.join(compute.rates)}"
        )
    return compute.macs_per_pe * compute.rates[gemm.dtype]

"""What the public specification of a card says, and which arithmetic it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zerocast.accelerators.schema import Accelerator, Gpu
from zerocast.simulator.errors import SimulationError

TypeClass = Literal["16bit", "fp8", "int8", "tf32", "fp32"]
TYPE_CLASSES: dict[str, TypeClass] = {
    "bf16": "16bit", "fp16": "16bit", "fp8": "fp8", "int8": "int8", "tf32": "tf32", "fp32": "fp32",
}  # fmt: skip
"""Data types that share constants: the tensor cores run bf16 and fp16 alike. Products in fp32 run on the CUDA cores."""


LIMIT_COST = {"bf16": 1.0, "fp16": 1.0, "fp8": 0.5, "int8": 0.5, "tf32": 2.0, "fp32": 4.0}
"""Energy of a multiply-accumulate over that of 16 bits as the limits of kernel times were calibrated (assumption)."""


@dataclass(frozen=True, slots=True)
class Card:
    """Specification of a card for one data type.

    sms: streaming multiprocessors. clock_hz: the clock of the datasheet's rates. macs_per_s: dense multiply-accumulates
    per second in the type; macs16_per_s: in 16 bits, as far as the SMs are built for them, or for fp32 in fp32: the
    unit in which constants say how SMs are fed. dram_bytes_per_s, l2_bytes: as in the datasheet. power_macs_per_s:
    rate at which arithmetic alone would draw the power limit.
    gap_s: gap between kernels of a CUDA graph, contained in their times. lanes_per_s: instructions that the lanes
    beside the tensor cores run in a second.
    """

    name: str
    sms: int
    clock_hz: float
    macs_per_s: float
    macs16_per_s: float
    dram_bytes_per_s: float
    l2_bytes: float
    power_macs_per_s: float
    gap_s: float = 0.0
    lanes_per_s: float = math.inf


def gpu_part(accelerator: Accelerator) -> Gpu:
    """The part `gpu` of an accelerator; `SimulationError` where it has none."""
    if accelerator.gpu is None:
        raise SimulationError(f"{accelerator.name} is no GPU; choose a template of family gpu")
    return accelerator.gpu


def type_class(accelerator: Accelerator, dtype: str) -> TypeClass:
    """The class whose constants a data type takes; `SimulationError` for a type that the card or the model lacks."""
    has = [name for name in accelerator.compute.rates if name in TYPE_CLASSES]
    if dtype not in has:
        raise SimulationError(f"{accelerator.name} has no kernels for products in {dtype}; it has {', '.join(has)}")
    return TYPE_CLASSES[dtype]


def card_of(accelerator: Accelerator, dtype: str) -> Card:
    """Figures of a card for one data type. Raises what `type_class` raises."""
    type_class(accelerator, dtype)
    compute, part = accelerator.compute, gpu_part(accelerator)
    capacity = accelerator.buffer_of("input").capacity_bytes
    assert capacity is not None  # the schema asks for it on chip
    assert accelerator.dram.bandwidth_bytes_per_s is not None
    peak, technology = accelerator.peak_macs_per_s, accelerator.technology
    rates, unit = compute.rates, accelerator.unit_for("dequantize")
    # half of the int8 rate is what an SM is built to feed, where GeForce cards halve 16 bits with 32-bit sums
    sixteen = max(rates.get("bf16", 0.0), rates.get("fp16", 0.0), rates.get("int8", 0.0) / 2)
    return Card(
        name=accelerator.name, sms=compute.rows, clock_hz=technology.clock_hz,
        macs_per_s=peak * rates[dtype], macs16_per_s=peak * (rates[dtype] if dtype == "fp32" else sixteen),
        dram_bytes_per_s=accelerator.dram.bandwidth_bytes_per_s, l2_bytes=capacity,
        power_macs_per_s=part.power.limit_macs_per_s / LIMIT_COST[dtype],
        gap_s=part.launch_floor_s,
        lanes_per_s=technology.clock_hz * unit.lanes if unit else math.inf,
    )  # fmt: skip

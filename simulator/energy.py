"""Price of actions: count times energy per action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.accelerators.schema.accelerator import memory_j_per_byte
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.laws.array import multiplied_as
from zerocast.simulator.laws.outputs import asked_share
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.pairs import SIDES, met_share
from zerocast.simulator.products.traffic import PortBytes

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy in J by component; broadcasts."""

    mac_j: Array
    register_j: Array
    buffer_j: Array
    dram_j: Array

    @property
    def total_j(self) -> Array:
        """All dynamic energy in J."""
        return self.mac_j + self.register_j + self.buffer_j + self.dram_j


def access_j_per_byte(accelerator: Accelerator, memory: Memory) -> float:
    """Energy of one byte read from or written to a memory level, in J."""
    technology = accelerator.technology
    energy = memory_j_per_byte(energy_table(technology.energy_table), memory)
    scaled = memory.energy is not None and not memory.energy.startswith("dram.")
    return technology.energy_scale * energy if scaled else energy


def executed_macs(gemm: Gemm, accelerator: Accelerator, steps_share: ArrayLike, skipped: str) -> Array:
    """Multiply-accumulates that cost energy: those not skipped (`steps_share` of all), less those gated.

    An operand whose zeros are gated or skipped one by one switches nothing, so only its nonzeros count, where they
    meet nonzeros of the other; zeros that the array does not see (mode none) are multiplied like any other number.
    `skipped` names the operand that the steps were skipped on: lanes that wait in step switch nothing. Nor does what
    would compute outputs that nobody asks for, where the array knows of them.
    """
    share = np.asarray(steps_share, dtype=float)
    if skipped and getattr(accelerator.sparsity, skipped).mode == "skip":
        share = np.ones_like(share)
    seen = [side for side in SIDES if getattr(accelerator.sparsity, side).mode in ("gate", "skip")]
    return gemm.macs * share * met_share(gemm, seen) * asked_share(gemm, accelerator)


def register_bits(gemm: Gemm, accelerator: Accelerator) -> int:
    """Register bits touched by one MAC: a PE reads both operands and its partial sum, and writes the sum back."""
    return gemm.input.bits + gemm.weight.bits + 2 * accelerator.compute.accumulate_bits


def gemm_energy(
    gemm: Gemm,
    accelerator: Accelerator,
    macs: ArrayLike,
    ports: PortBytes,
    dram_bytes: ArrayLike,
    j_per_byte: Mapping[str, ArrayLike],
) -> Energy:
    """Energy of a matrix product from its executed MACs, its buffer traffic and its off-chip bytes.

    Every off-chip byte also enters or leaves a buffer once. j_per_byte: of an access, by memory.
    """
    technology = accelerator.technology
    table = energy_table(technology.energy_table)
    scale = technology.energy_scale
    macs = np.asarray(macs, dtype=float)
    per_byte = {side: np.asarray(j_per_byte[accelerator.buffer_of(side).name])  # type: ignore[arg-type]
                for side in ("input", "weight", "output")}  # fmt: skip
    buffers = (
        ports.input_read * per_byte["input"]
        + ports.weight_read * per_byte["weight"]
        + (ports.output_read + ports.output_write) * per_byte["output"]
    )
    dram = np.asarray(dram_bytes, dtype=float)
    return Energy(
        mac_j=macs * table.mac_j(multiplied_as(accelerator, gemm.types)) * scale,
        register_j=macs * register_bits(gemm, accelerator) * table.register_j_per_bit * scale,
        buffer_j=buffers + dram * reduce(np.maximum, per_byte.values()),
        dram_j=dram * np.asarray(j_per_byte[accelerator.dram.name]),
    )

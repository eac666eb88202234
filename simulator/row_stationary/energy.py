"""Energy of a layer under a mapping, by component."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.energy import access_j_per_byte, register_bits
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.pairs import SIDES, met_share
from zerocast.simulator.row_stationary.layer import RowLayer
from zerocast.simulator.row_stationary.part import part_of
from zerocast.simulator.row_stationary.traffic import RowTraffic

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowEnergy:
    """Energy in J by component. clock: of the PEs in use; static: drawn throughout; dram: outside the chip."""

    mac_j: float
    spad_j: float
    hop_j: float
    glb_j: float
    clock_j: float
    static_j: float
    dram_j: float

    @property
    def chip_j(self) -> float:
        """All but the off-chip memory."""
        return self.mac_j + self.spad_j + self.hop_j + self.glb_j + self.clock_j + self.static_j

    @property
    def dynamic_j(self) -> float:
        """All but static power, off-chip memory included."""
        return self.mac_j + self.spad_j + self.hop_j + self.glb_j + self.clock_j + self.dram_j


def row_energy(
    gemm: Gemm, accelerator: Accelerator, layer: RowLayer, traffic: RowTraffic, pes: float, latency_s: float
) -> RowEnergy:
    """Energy of a layer, `pes` PEs of the array in use.

    A gated zero saves `gated_share` of a PE's power (JSSC 2017, section V): the MAC, the rest from the spads.
    """
    part, technology = part_of(accelerator), accelerator.technology
    table = energy_table(technology.energy_table)
    mac_j = table.mac_j(gemm.dtype) * technology.energy_scale
    spad_j = table.register_j_per_bit * technology.energy_scale * register_bits(gemm, accelerator)
    gating = [side for side in SIDES if getattr(accelerator.sparsity, side).mode == "gate"]
    zeros = layer.macs * (1 - met_share(gemm, gating))
    saved = part.gated_share * (mac_j + spad_j + part.pe_clock_w / technology.clock_hz)
    return RowEnergy(
        mac_j=layer.macs * mac_j - zeros * min(saved, mac_j),
        spad_j=layer.macs * spad_j - zeros * min(max(saved - mac_j, 0.0), spad_j),
        hop_j=float(traffic.hop_bits) * hop_j_per_bit(accelerator),
        glb_j=float(traffic.glb_bytes) * access_j_per_byte(accelerator, accelerator.buffer_of("output")),
        clock_j=pes * part.pe_clock_w * latency_s,
        static_j=technology.static_power_w * latency_s,
        dram_j=float(traffic.dram_bytes) * access_j_per_byte(accelerator, accelerator.dram),
    )


def movement_j(accelerator: Accelerator, traffic: RowTraffic) -> Array:
    """Energy in J of moving the data: link, GLB and array; spads are read as often under any mapping."""
    return (
        traffic.glb_bytes * access_j_per_byte(accelerator, accelerator.buffer_of("output"))
        + traffic.dram_bytes * access_j_per_byte(accelerator, accelerator.dram)
        + traffic.hop_bits * hop_j_per_bit(accelerator)
    )


def hop_j_per_bit(accelerator: Accelerator) -> float:
    """Energy in J of a bit delivered to a PE."""
    return part_of(accelerator).hop_pj_per_bit * 1e-12 * accelerator.technology.energy_scale

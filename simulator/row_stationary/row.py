"""The row of the result table for a product on a row-stationary array."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cost import OpRow
from zerocast.simulator.energy import executed_macs, register_bits
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.pairs import effectual_macs
from zerocast.simulator.row_stationary.cost import RowStationaryCost, row_stationary_cost
from zerocast.simulator.row_stationary.part import pe_rate


def row_stationary_row(gemm: Gemm, accelerator: Accelerator) -> OpRow:
    """Row of a product under its best mapping, which `note` names; op, layer and schedule times are left open.

    Ideal, lost edge (PEs not in use, passes that are not full), conflict (ports and buses), ramp and memory cycles
    add up to the latency. register_j takes spads, deliveries to PEs and the clock of the PEs in use. Static power is
    in no row: `simulate` charges it over the whole schedule. Buffer bytes and buffer_j are what the array reads from
    and writes to the global buffer, as in the published counts; filling it from the link is not in them.
    Raises what `row_stationary_cost` raises.
    """
    cost = row_stationary_cost(gemm, accelerator)
    compute, clock_hz, energy = accelerator.compute, accelerator.technology.clock_hz, cost.energy
    ideal = gemm.macs / (compute.rows * compute.cols * pe_rate(gemm, accelerator))
    executed = float(executed_macs(gemm, accelerator, 1.0, ""))
    return OpRow(
        op="", layer="", phase="FF", kind="einsum", function="gemm", resource="array", dataflow="row_stationary",
        macs=gemm.macs, effectual_macs=effectual_macs(gemm), flops=2.0 * executed,
        cycles=cost.processing_cycles, ideal_cycles=ideal, latency_s=cost.latency_s,
        utilisation=ideal / (cost.latency_s * clock_hz), bound=_bound(cost, clock_hz),
        lost_edge_cycles=cost.idle_cycles + cost.edge_cycles, lost_conflict_cycles=cost.port_cycles,
        lost_ramp_cycles=cost.ramp_cycles, lost_memory_cycles=cost.exposed_s * clock_hz,
        m=gemm.m, n=gemm.n, k=gemm.k, batch=gemm.batch,
        input_density=gemm.input.pattern.density, weight_density=gemm.weight.pattern.density,
        dram_read_bytes=cost.dram_input_read_bytes + cost.dram_weight_read_bytes,
        dram_write_bytes=cost.dram_output_write_bytes, dram_input_bytes=cost.dram_input_read_bytes,
        dram_weight_bytes=cost.dram_weight_read_bytes, dram_output_bytes=cost.dram_output_write_bytes,
        buffer_read_bytes=cost.glb_read_bytes, buffer_write_bytes=cost.glb_write_bytes,
        register_bytes=executed * register_bits(gemm, accelerator) / 8,
        mac_j=energy.mac_j, register_j=energy.spad_j + energy.hop_j + energy.clock_j, buffer_j=energy.glb_j,
        dram_j=energy.dram_j, energy_j=energy.dynamic_j, note=str(cost.mapping),
    )  # fmt: skip


def _bound(cost: RowStationaryCost, clock_hz: float) -> str:
    """What sets the latency; `port` where the buffer's ports and buses lose the most cycles."""
    exposed = cost.exposed_s * clock_hz
    if exposed > cost.processing_cycles:
        return "dram"
    if cost.port_cycles > max(cost.idle_cycles + cost.edge_cycles, cost.ramp_cycles, exposed):
        return "port"
    return "fill" if cost.ramp_cycles > 0.5 * cost.processing_cycles else "compute"

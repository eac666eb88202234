"""A product on a row-stationary array under the passes that each of some designs takes, and its row."""

from __future__ import annotations

from dataclasses import replace

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.cost import OpRow
from zerocast.simulator.energy import Energy, executed_macs
from zerocast.simulator.laws.rows.law import Passes, RowCost, pe_rate, row_layer
from zerocast.simulator.laws.rows.space import best_rows
from zerocast.simulator.objective import Objective
from zerocast.simulator.priced import EachDesign, columns, product_row
from zerocast.simulator.products.gemm import Gemm


class RowProduct(EachDesign[RowCost]):
    """A product under the passes that each design takes.

    There are no tiles to walk, and zeros change no cycles, so that fidelity `tile` is the closed form: what crosses
    the link compressed has a mask's own nonzeros either way.
    """

    @staticmethod
    def _best(gemm: Gemm, accelerator: Accelerator, objective: Objective) -> RowCost:
        return best_rows(gemm, accelerator, objective)

    @property
    def mapped(self) -> Gemm:
        """The product with the passes that the first design which something fits takes."""
        passes = {name: int(getattr(self.cost.passes, name)) for name in Passes.__slots__}
        return replace(self.gemm, given=Given.model_validate({"dataflow": "row_stationary", "pass": passes}))

    def row(self) -> OpRow:
        """The row of a product on a single design, without name and schedule; `note` names the passes.

        Ideal, lost edge (PEs not in use, passes that are not full), conflict (ports and buses), ramp and memory cycles
        add up to the latency. register_j takes spads, deliveries to PEs and the clock of the PEs in use. Static power
        is in no row: `simulate` charges it over the whole schedule. Buffer bytes and buffer_j are what the array reads
        from and writes to the global buffer, as in the published counts; filling it from the link is not in them.
        """
        sums, clock_hz = self.sums, self.accelerators[0].technology.clock_hz
        used = sums["ideal_cycles"] / (sums["latency_s"] * clock_hz)
        return product_row(self.gemm, "row_stationary", sums, utilisation=used, bound=_bound(sums),
                           note=str(self.cost.passes))  # fmt: skip

    def _columns(self, accelerator: Accelerator, cost: RowCost) -> dict[str, float]:
        gemm, compute, clock_hz = self.gemm, accelerator.compute, accelerator.technology.clock_hz
        all_pes, rate = compute.rows * compute.cols, pe_rate(gemm, accelerator)
        idle = cost.compute_cycles * (1 - cost.pes / all_pes)
        edge = (cost.compute_cycles * cost.pes - row_layer(gemm).macs / rate) / all_pes
        beside = cost.spad_j + cost.hop_j + cost.clock_j
        numbers = columns(
            gemm, accelerator, float(executed_macs(gemm, accelerator, 1.0, "")),
            Energy(cost.mac_j, beside, cost.glb_j, cost.dram_j),
            cycles=cost.cycles, ideal_cycles=gemm.macs / (all_pes * rate), latency_s=cost.latency_s,
            lost_edge_cycles=idle + edge, lost_conflict_cycles=cost.port_cycles, lost_ramp_cycles=cost.ramp_cycles,
            lost_memory_cycles=cost.exposed_s * clock_hz, dram_read_bytes=cost.dram_input + cost.dram_weight,
            dram_write_bytes=cost.dram_output, dram_input_bytes=cost.dram_input, dram_weight_bytes=cost.dram_weight,
            dram_output_bytes=cost.dram_output, buffer_read_bytes=cost.glb_input + cost.glb_psum,
            buffer_write_bytes=cost.glb_psum, energy_j=cost.energy_j,
        )  # fmt: skip
        return {name: float(value) for name, value in numbers.items()}


def _bound(sums: dict[str, float]) -> str:
    """What sets the latency; `port` where the buffer's ports and buses lose the most cycles."""
    exposed, port, ramp = (sums[f"lost_{cause}_cycles"] for cause in ("memory", "conflict", "ramp"))
    if exposed > sums["cycles"]:
        return "dram"
    if port > max(sums["lost_edge_cycles"], ramp, exposed):
        return "port"
    return "fill" if ramp > 0.5 * sums["cycles"] else "compute"

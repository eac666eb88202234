"""A product on a row-stationary array under the passes that each of some designs takes, and its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.cost import Figures, OpRow
from zerocast.simulator.energy import executed_macs, register_bits
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.rows.law import Passes, RowCost, pe_rate, row_layer
from zerocast.simulator.laws.rows.space import best_rows
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import Objective
from zerocast.simulator.products.pairs import effectual_macs


class RowProduct:
    """A product under the passes that each design takes. failed: by design, why no pass fits it; its figures mean
    nothing. `SimulationError` where none fits any.

    There are no tiles to walk, and zeros change no cycles, so that fidelity `tile` is the closed form: what crosses
    the link compressed has a mask's own nonzeros either way.
    """

    def __init__(self, gemm: Gemm, accelerators: Sequence[Accelerator], objective: Objective = "latency") -> None:
        self.gemm, self.accelerators = gemm.free, accelerators
        self.failed: dict[int, SimulationError] = {}
        self.costs: list[RowCost | None] = []
        for design, accelerator in enumerate(accelerators):
            try:
                self.costs.append(best_rows(gemm, accelerator, objective))
            except SimulationError as error:
                self.failed[design] = error
                self.costs.append(None)
        if len(self.failed) == len(self.costs):
            raise self.failed[0]

    @cached_property
    def figures(self) -> Figures:
        """What the product costs on each design."""
        sums = [_sums(self.gemm, accelerator, cost) if cost is not None else {}
                for accelerator, cost in zip(self.accelerators, self.costs, strict=True)]  # fmt: skip
        columns = {name: np.array([each.get(name, 0.0) for each in sums]) for name in max(sums, key=len)}
        moved = columns["dram_read_bytes"] + columns["dram_write_bytes"]
        link_s = moved / np.array([accelerator.dram_bytes_per_s for accelerator in self.accelerators])
        return Figures(np.minimum(link_s, columns["latency_s"]), np.zeros(len(sums)), columns)

    @property
    def mapped(self) -> Gemm:
        """The product with the passes that the first design which something fits takes."""
        cost = next(cost for cost in self.costs if cost is not None)
        passes = {name: int(getattr(cost.passes, name)) for name in Passes.__slots__}
        return replace(self.gemm, given=Given.model_validate({"dataflow": "row_stationary", "pass": passes}))

    def row(self) -> OpRow:
        """The row of a product on a single design, without name and schedule; `note` names the passes.

        Ideal, lost edge (PEs not in use, passes that are not full), conflict (ports and buses), ramp and memory cycles
        add up to the latency. register_j takes spads, deliveries to PEs and the clock of the PEs in use. Static power
        is in no row: `simulate` charges it over the whole schedule. Buffer bytes and buffer_j are what the array reads
        from and writes to the global buffer, as in the published counts; filling it from the link is not in them.
        """
        cost, gemm, accelerator = self.costs[0], self.gemm, self.accelerators[0]
        assert cost is not None  # a single design that nothing fits was refused
        sums, clock_hz = _sums(gemm, accelerator, cost), accelerator.technology.clock_hz
        row = OpRow(
            op="", layer="", phase="FF", kind="einsum", function="gemm", resource="array", dataflow="row_stationary",
            utilisation=sums["ideal_cycles"] / (sums["latency_s"] * clock_hz), bound=_bound(sums),
            m=gemm.m, n=gemm.n, k=gemm.k, input_density=gemm.input.pattern.density,
            weight_density=gemm.weight.pattern.density, note=str(cost.passes),
        )  # fmt: skip
        return replace(row, **sums | {"macs": gemm.macs, "batch": gemm.batch})  # type: ignore[arg-type]


def _sums(gemm: Gemm, accelerator: Accelerator, cost: RowCost) -> dict[str, float]:
    """Numbers of `OpRow` by name."""
    compute, clock_hz = accelerator.compute, accelerator.technology.clock_hz
    all_pes, rate = compute.rows * compute.cols, pe_rate(gemm, accelerator)
    executed = float(executed_macs(gemm, accelerator, 1.0, ""))
    idle = cost.compute_cycles * (1 - cost.pes / all_pes)
    edge = (cost.compute_cycles * cost.pes - row_layer(gemm).macs / rate) / all_pes
    numbers: dict[str, Any] = {
        "macs": gemm.macs, "effectual_macs": effectual_macs(gemm), "flops": 2.0 * executed, "batch": gemm.batch,
        "cycles": cost.cycles, "ideal_cycles": gemm.macs / (all_pes * rate), "latency_s": cost.latency_s,
        "lost_edge_cycles": idle + edge, "lost_conflict_cycles": cost.port_cycles,
        "lost_ramp_cycles": cost.ramp_cycles, "lost_memory_cycles": cost.exposed_s * clock_hz,
        "dram_read_bytes": cost.dram_input + cost.dram_weight, "dram_write_bytes": cost.dram_output,
        "dram_input_bytes": cost.dram_input, "dram_weight_bytes": cost.dram_weight,
        "dram_output_bytes": cost.dram_output, "buffer_read_bytes": cost.glb_input + cost.glb_psum,
        "buffer_write_bytes": cost.glb_psum, "register_bytes": executed * register_bits(gemm, accelerator) / 8,
        "mac_j": cost.mac_j, "register_j": cost.spad_j + cost.hop_j + cost.clock_j, "buffer_j": cost.glb_j,
        "dram_j": cost.dram_j, "energy_j": cost.energy_j,
    }  # fmt: skip
    return {name: float(value) for name, value in numbers.items()}


def _bound(sums: dict[str, float]) -> str:
    """What sets the latency; `port` where the buffer's ports and buses lose the most cycles."""
    exposed, port, ramp = (sums[f"lost_{cause}_cycles"] for cause in ("memory", "conflict", "ramp"))
    if exposed > sums["cycles"]:
        return "dram"
    if port > max(sums["lost_edge_cycles"], ramp, exposed):
        return "port"
    return "fill" if ramp > 0.5 * sums["cycles"] else "compute"

"""Cost of a layer under its best mapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.row_stationary.cycles import row_cycles
from zerocast.simulator.row_stationary.energy import RowEnergy, movement_j, row_energy
from zerocast.simulator.row_stationary.layer import RowLayer, row_layer
from zerocast.simulator.row_stationary.mapping import RowMapping, filter_words
from zerocast.simulator.row_stationary.mapspace import SLACK, candidates
from zerocast.simulator.row_stationary.part import pe_rate
from zerocast.simulator.row_stationary.traffic import link_bits, row_traffic


@dataclass(frozen=True, slots=True)
class RowStationaryCost:
    """Cost of a layer on a row-stationary array.

    glb bytes: what the array reads and writes; what the link brings is not in it, as in the
    published counts. idle_cycles and edge_cycles are those of `compute_cycles` that the PEs not in use and passes
    that are not full lose; ramp, port and exposed cycles come on top of it.
    """

    mapping: RowMapping
    active_pes: int
    processing_cycles: float
    compute_cycles: float
    idle_cycles: float
    edge_cycles: float
    ramp_cycles: float
    port_cycles: float
    exposed_s: float
    latency_s: float
    glb_read_bytes: float
    glb_write_bytes: float
    dram_input_read_bytes: float
    dram_weight_read_bytes: float
    dram_output_write_bytes: float
    energy: RowEnergy

    @property
    def glb_bytes(self) -> float:
        """Bytes through the ports of the global buffer."""
        return self.glb_read_bytes + self.glb_write_bytes

    @property
    def dram_bytes(self) -> float:
        """Bytes over the link."""
        return self.dram_input_read_bytes + self.dram_weight_read_bytes + self.dram_output_write_bytes


def row_stationary_cost(gemm: Gemm, accelerator: Accelerator) -> RowStationaryCost:
    """Cost of a product (a convolution, or a matrix product as 1 x 1 convolution) under its best mapping.

    Traffic off chip, the dearest by far, is made least first; of the mappings within `SLACK` of it those of fewest
    processing cycles count, and of those within `SLACK` the one that moves its data for the least energy (ties: least
    e, p, q, n, r, t). The mapping is fixed before the data are known, so their zeros have no part in it. With this
    order the mappings and GLB traffic of the AlexNet layers come out as measured.

    `SimulationError` where the kernel does not fit the array, the spads or the buffers, for arithmetic that the array
    lacks, and where the accelerator lists other dataflows too or keeps an operand on chip.
    """
    _check(accelerator)
    layer = row_layer(gemm)
    mappings = candidates(gemm, accelerator, layer)
    traffic = row_traffic(gemm, accelerator, layer, mappings, compressed=False)
    cycles = row_cycles(gemm, accelerator, layer, mappings).processing
    near = np.arange(mappings.m.size)
    for figure in (traffic.dram_bytes, cycles):
        near = near[figure[near] <= figure[near].min() * (1 + SLACK)]
    keys = (getattr(mappings, name)[near] for name in "trnqpe")  # the last is the first to tell mappings apart
    best = near[np.lexsort((*keys, movement_j(accelerator, traffic)[near]))[0]]
    return priced(gemm, accelerator, layer, mappings.at(int(best)))


def _check(accelerator: Accelerator) -> None:
    """Refuses what the dataflow does not know, rather than to price it wrongly."""
    others = [dataflow for dataflow in accelerator.compute.dataflows if dataflow != "row_stationary"]
    if others:
        raise SimulationError(
            f"{accelerator.name} lists row_stationary beside {', '.join(others)}; an array of row-stationary PEs runs "
            "no other dataflow, so leave one kind in compute.dataflows"
        )


def priced(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, mapping: RowMapping) -> RowStationaryCost:
    """Cost of a layer under one mapping.

    The array stands still while input comes in and output goes out, and for the filters of the first pass; the others
    come in while it works, and it waits only if they take longer than the processing (JSSC 2017, section V).
    """
    traffic = row_traffic(gemm, accelerator, layer, mapping)
    cycles = row_cycles(gemm, accelerator, layer, mapping)
    pes = layer.kernel[0] * mapping.e * mapping.r * mapping.t
    link, processing_s = accelerator.dram_bytes_per_s, float(cycles.processing) / accelerator.technology.clock_hz
    first = float(filter_words(layer, mapping)) * link_bits(gemm, accelerator, "weight") / 8
    rest = max(float(traffic.dram_weight) - first, 0.0)
    stands_s = (float(traffic.dram_input + traffic.dram_output) + first) / link
    exposed_s = stands_s + max(rest / link - processing_s, 0.0)
    latency_s = processing_s + exposed_s
    all_pes = accelerator.compute.rows * accelerator.compute.cols
    compute = float(cycles.compute)
    return RowStationaryCost(
        mapping=mapping,
        active_pes=int(pes),
        processing_cycles=float(cycles.processing),
        compute_cycles=compute,
        idle_cycles=compute * (1 - float(pes) / all_pes),
        edge_cycles=(compute * float(pes) - layer.macs / pe_rate(gemm, accelerator)) / all_pes,
        ramp_cycles=float(cycles.ramp),
        port_cycles=float(cycles.port),
        exposed_s=exposed_s,
        latency_s=latency_s,
        glb_read_bytes=float(traffic.glb_input + traffic.glb_psum_read),
        glb_write_bytes=float(traffic.glb_psum_write),
        dram_input_read_bytes=float(traffic.dram_input),
        dram_weight_read_bytes=float(traffic.dram_weight),
        dram_output_write_bytes=float(traffic.dram_output),
        energy=row_energy(gemm, accelerator, layer, traffic, float(pes), latency_s),
    )

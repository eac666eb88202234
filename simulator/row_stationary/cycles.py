"""Cycles that a mapping takes: PEs multiplying, ports and buses, filling and draining."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.row_stationary.layer import RowLayer
from zerocast.simulator.row_stationary.mapping import RowMapping, trips
from zerocast.simulator.row_stationary.part import part_of, pe_rate

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowCycles:
    """Core cycles of all groups; broadcasts.

    compute: PEs multiplying, every pass taken as full. port: what the GLB's ports for partial sums or the input bus
    need beyond that. ramp: filling spads and draining sums.
    """

    compute: Array
    port: Array
    ramp: Array

    @property
    def processing(self) -> Array:
        """Cycles during which the array works on passes."""
        return self.compute + self.port + self.ramp


def row_cycles(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, mapping: RowMapping) -> RowCycles:
    """Cycles of a layer under a mapping (or arrays of them); zeros in the data do not change them.

    A PE takes p q S cycles for a column of the output. Before it starts, filters and the first window come over their
    buses, since the spads hold no more than one pass; after it, sums climb R r PEs and leave through the GLB's port.
    """
    part, loops = part_of(accelerator), trips(layer, mapping)
    words_in, words_w = (
        part.ifmap_bus_bytes_per_cycle * 8 / gemm.input.bits,
        part.filter_bus_bytes_per_cycle * 8 / gemm.weight.bits,
    )
    psum_bytes = accelerator.compute.accumulate_bits / 8
    port = accelerator.buffer_of("output").port_bytes_per_cycle or math.inf
    (rows, taps), (_, columns) = layer.kernel, layer.output
    per_sample = mapping.p * mapping.q * taps * columns / pe_rate(gemm, accelerator)
    sums = mapping.p * mapping.t * mapping.e
    input_rows = ((mapping.e - 1) * layer.advance + layer.span[0]) * mapping.q * mapping.r
    slowest = np.maximum(sums * columns * psum_bytes / port, input_rows * (layer.padded[1] - layer.span[1]) / words_in)
    ramp = (
        rows * mapping.r * mapping.t * mapping.p * mapping.q * taps / words_w
        + input_rows * layer.span[1] / words_in
        + rows * mapping.r * np.ceil(mapping.p * psum_bytes / part.psum_link_bytes_per_cycle)
        + np.ceil(sums * psum_bytes / port)
        + part.pipeline_cycles
    )
    walks = layer.groups * layer.samples * loops.passes / loops.samples
    return RowCycles(
        compute=walks * per_sample,
        port=walks * np.maximum(slowest - per_sample, 0.0),
        ramp=layer.groups * loops.passes * ramp,
    )

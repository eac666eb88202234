"""Bytes that a mapping moves: over the link, through the global buffer (GLB) and between PEs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.row_stationary.layer import RowLayer
from zerocast.simulator.row_stationary.mapping import RowMapping, trips
from zerocast.simulator.row_stationary.part import part_of
from zerocast.simulator.traffic import element_bits
from zerocast.workloads.formats import RUN_BITS

Array = NDArray[np.float64]

SIDES = ("input", "weight", "output")


@dataclass(frozen=True, slots=True)
class RowTraffic:
    """Words and bytes moved for all groups; broadcasts.

    glb: bytes that the array reads from and writes to the GLB. dram: bytes over the link, compressed.
    hop_bits: bits delivered to PEs, by the network on chip or by a neighbour.
    """

    glb_input: Array
    glb_psum_read: Array
    glb_psum_write: Array
    dram_input: Array
    dram_weight: Array
    dram_output: Array
    hop_bits: Array

    @property
    def glb_bytes(self) -> Array:
        """Bytes through the GLB's ports."""
        return self.glb_input + self.glb_psum_read + self.glb_psum_write

    @property
    def dram_bytes(self) -> Array:
        """Bytes over the link."""
        return self.dram_input + self.dram_weight + self.dram_output


def row_traffic(
    gemm: Gemm, accelerator: Accelerator, layer: RowLayer, mapping: RowMapping, compressed: bool = True
) -> RowTraffic:
    """Traffic of a layer under a mapping (or arrays of them).

    Every pass reads and writes its partial sums, the first one included. Input is loaded again for each block of m
    filters, filters for each strip and group of samples, unless there is only one block of them to hold.
    """
    loops, (bits_in, bits_w) = trips(layer, mapping), (gemm.input.bits, gemm.weight.bits)
    bits_out = accelerator.compute.accumulate_bits
    ifmap = layer.samples * layer.channels * loops.rows * layer.padded[1]
    psums = layer.psums * loops.channels
    weight_loads = np.where(loops.channels * loops.filters == 1, 1.0, loops.samples * loops.strips)
    deliveries = layer.macs / (layer.kernel[1] * layer.output[1])  # rows of input against rows of filter
    hops = (
        layer.groups
        * (loops.samples * layer.output[0] * layer.weights * bits_w + psums * layer.kernel[0] * mapping.r * bits_out)
        + deliveries * layer.padded[1] / mapping.p * bits_in
    )
    groups = layer.groups / 8
    share = layer.share if compressed else 1.0
    link = {side: link_bits(gemm, accelerator, side) if compressed else getattr(gemm, side).bits for side in SIDES}
    return RowTraffic(
        glb_input=groups * ifmap * loops.filters * bits_in,
        glb_psum_read=groups * psums * bits_out,
        glb_psum_write=groups * psums * bits_out,
        dram_input=groups * ifmap * share * loops.blocks * link["input"],
        dram_weight=groups * layer.weights * weight_loads * link["weight"],
        dram_output=groups * layer.psums * np.ones_like(psums) * link["output"],
        hop_bits=hops,
    )


def link_bits(gemm: Gemm, accelerator: Accelerator, side: str) -> float:
    """Bits of an element on the link, in the smallest format; pairs of run and value fill its words whole.

    Three pairs of 5 + 16 bits take a 64-bit word, whose last bit says where the code ends (JSSC 2017, section IV).
    """
    operand, dram = getattr(gemm, side), accelerator.dram
    if not operand.bits:
        return 0.0  # an output that stays on chip has no code either
    word = 8 * part_of(accelerator).link_word_bytes
    choices = []
    for name in dram.formats.get(side, ("uncompressed",)):  # type: ignore[call-overload]
        bits = element_bits(dram.model_copy(update={"formats": {side: (name,)}}), side, operand)
        law, _, run = name.partition(":")
        pair = operand.bits + int(run or RUN_BITS)
        if law == "run_length" and bits < operand.bits and pair <= word:
            bits = min(bits / pair * word / (word // pair), operand.bits)
        choices.append(float(bits))
    return min(choices)

"""Row-stationary law: what a pass over rows moves, takes and costs. Broadcasts over mappings.

Chen, Krishna, Emer, Sze: Eyeriss, JSSC 2017, tables I and III; Chen, Emer, Sze, ISCA 2016. A PE convolves a row of a
filter with a row of the input; a PE set of R x e PEs makes e rows of the output. A pass works on p t filters and
q r channels: p and q inside each PE, t and r by sets side by side. The global buffer (GLB) keeps the partial sums of
m filters and n samples while the channels go by, pass after pass:

    for n samples, e output rows, m filters:        partial sums stay in the GLB
        for q r channels:                           load input into the GLB, nothing is processed meanwhile
            for p t filters of the m:               a pass; its filters were prefetched
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator, RowStationary
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.energy import access_j_per_byte, register_bits
from zerocast.simulator.laws.array import multiplied_as, rate_of
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.pairs import SIDES, met_share
from zerocast.simulator.products.traffic import element_bits
from zerocast.workloads.formats import RUN_BITS

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowLayer:
    """A convolution as the array sees it, one group of it; padding belongs to the input.

    kernel, span: rows and columns of the kernel, without and with dilation. output, padded: rows and columns. share:
    of the padded input that comes from memory.
    """

    groups: int
    samples: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    span: tuple[int, int]
    output: tuple[int, int]
    padded: tuple[int, int]
    stride: int
    share: float

    @property
    def advance(self) -> int:
        """Input rows that one more output row reads; those between the windows of a long stride are not read."""
        return min(self.stride, self.span[0])

    @property
    def psums(self) -> int:
        """Output elements of one group."""
        return self.samples * self.filters * math.prod(self.output)

    @property
    def weights(self) -> int:
        """Filter words of one group."""
        return self.filters * self.channels * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all groups."""
        return self.groups * self.psums * self.channels * math.prod(self.kernel)


def row_layer(gemm: Gemm) -> RowLayer:
    """The convolution of a product; one that is none becomes a 1 x 1 convolution on 1 x 1 images, a row a sample."""
    conv = gemm.conv
    if conv is None:
        one, share = (1, 1), min(gemm.input.unique / (gemm.m * gemm.k), 1.0)
        return RowLayer(gemm.batch, gemm.m, gemm.k, gemm.n, one, one, one, one, 1, share)
    span = tuple((taps - 1) * step + 1 for taps, step in zip(conv.kernel, conv.dilation, strict=True))
    padded = tuple((o - 1) * u + s for o, u, s in zip(conv.output, conv.stride, span, strict=True))
    words = conv.samples * conv.channels * math.prod(padded)
    return RowLayer(
        gemm.batch, conv.samples, conv.channels, gemm.n, conv.kernel, (span[0], span[1]), conv.output,
        (padded[0], padded[1]), conv.stride[0], min(gemm.input.unique / words, 1.0),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Passes:
    """Parameters of the mapping (JSSC 2017, table I); arrays broadcast over mappings.

    m filters and n samples whose partial sums the GLB keeps, e output rows of a PE set, p filters and q channels of
    a PE, r sets for different channels and t for different filters.
    """

    m: Array
    n: Array
    e: Array
    p: Array
    q: Array
    r: Array
    t: Array

    def at(self, index: int | Array | NDArray[np.bool_] | NDArray[np.intp]) -> Passes:
        """Those of the mappings that an index picks."""
        return Passes(*(np.asarray(side[index]) for side in np.broadcast_arrays(*self.columns)))  # type: ignore[index]

    @property
    def columns(self) -> tuple[Array, ...]:
        """All parameters."""
        return self.m, self.n, self.e, self.p, self.q, self.r, self.t

    def __str__(self) -> str:
        """A single mapping as its parameters: m96 n1 e7 p16 q1 r1 t2."""
        return " ".join(f"{name}{float(getattr(self, name)):g}" for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Trips:
    """Trips of the loops over passes, for one group; broadcasts.

    filters: passes for all filters of the layer; blocks: of m filters. rows: input rows that all strips of e output
    rows read, shared ones each time.
    """

    samples: Array
    strips: Array
    blocks: Array
    channels: Array
    filters: Array
    rows: Array


def trips(layer: RowLayer, passes: Passes) -> Trips:
    """Trips of the loops under a mapping."""
    strips, together = np.ceil(layer.output[0] / passes.e), passes.p * passes.t
    full = np.floor(layer.filters / passes.m)
    return Trips(
        samples=np.ceil(layer.samples / passes.n),
        strips=strips,
        blocks=np.ceil(layer.filters / passes.m),
        channels=np.ceil(layer.channels / (passes.q * passes.r)),
        filters=full * np.ceil(passes.m / together) + np.ceil((layer.filters - full * passes.m) / together),
        rows=(layer.output[0] - strips) * layer.advance + strips * layer.span[0],
    )


@dataclass(frozen=True, slots=True)
class RowCost:
    """What a product costs; every field broadcasts over mappings.

    glb: bytes that the array reads from and writes to the GLB; what the link brings is not in it, as in the published
    counts. dram: bytes over the link. hop_bits: delivered to PEs, by the network on chip or by a neighbour. compute:
    cycles of PEs multiplying, every pass taken as full; port: what the GLB's port for partial sums or the input bus
    need beyond that; ramp: filling spads and draining sums. clock_j: of the PEs in use; static_j: drawn throughout.
    """

    passes: Passes
    pes: Array
    compute_cycles: Array
    port_cycles: Array
    ramp_cycles: Array
    exposed_s: Array
    latency_s: Array
    glb_input: Array
    glb_psum: Array
    dram_input: Array
    dram_weight: Array
    dram_output: Array
    hop_bits: Array
    mac_j: Array
    spad_j: Array
    movement_j: Array
    glb_j: Array
    hop_j: Array
    dram_j: Array
    clock_j: Array
    static_j: Array

    @property
    def cycles(self) -> Array:
        """Cycles during which the array works on passes."""
        return self.compute_cycles + self.port_cycles + self.ramp_cycles

    @property
    def glb_bytes(self) -> Array:
        """Bytes through the GLB's ports; every partial sum is read and written in each pass."""
        return self.glb_input + self.glb_psum + self.glb_psum

    @property
    def dram_bytes(self) -> Array:
        """Bytes over the link."""
        return self.dram_input + self.dram_weight + self.dram_output

    @property
    def energy_j(self) -> Array:
        """All dynamic energy, off-chip memory included."""
        return self.mac_j + self.spad_j + self.hop_j + self.glb_j + self.clock_j + self.dram_j

    @property
    def chip_j(self) -> Array:
        """All energy but that of the off-chip memory."""
        return self.mac_j + self.spad_j + self.hop_j + self.glb_j + self.clock_j + self.static_j

    @property
    def edp(self) -> Array:
        """Energy times delay in Js."""
        return self.energy_j * self.latency_s


def row_cost(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, passes: Passes, compressed: bool = True) -> RowCost:
    """Cost of a product under a mapping (or arrays of them); zeros in the data change traffic and energy alone.

    The array stands still while input comes in and output goes out, and for the filters of the first pass; the others
    come in while it works, and it waits only if they take longer than the processing (JSSC 2017, section V).
    `SimulationError` for arithmetic that the array lacks.
    """
    loops, technology, link = trips(layer, passes), accelerator.technology, accelerator.dram_bytes_per_s
    groups, psums = layer.groups / 8, layer.psums * loops.channels
    ifmap = layer.samples * layer.channels * loops.rows * layer.padded[1]
    dram_input, dram_weight, dram_output = dram_bytes(gemm, accelerator, layer, passes, compressed)
    glb_input = groups * ifmap * loops.filters * gemm.input.bits
    glb_psum = groups * psums * accelerator.compute.accumulate_bits
    hop_bits = _hop_bits(gemm, accelerator, layer, passes)
    compute, port, ramp = _cycles(gemm, accelerator, layer, passes)
    working_s = (compute + port + ramp) / technology.clock_hz
    first = filter_words(layer, passes) * _on_link(gemm, accelerator, compressed)["weight"] / 8
    stands_s = (dram_input + dram_output + first) / link
    exposed_s = stands_s + np.maximum(np.maximum(dram_weight - first, 0.0) / link - working_s, 0.0)
    latency_s, pes = working_s + exposed_s, layer.kernel[0] * passes.e * passes.r * passes.t
    part = part_of(accelerator)
    hop_j = hop_bits * (part.hop_pj_per_bit * 1e-12 * technology.energy_scale)
    glb_j = (glb_input + glb_psum + glb_psum) * access_j_per_byte(accelerator, accelerator.buffer_of("output"))
    dram_j = (dram_input + dram_weight + dram_output) * access_j_per_byte(accelerator, accelerator.dram)
    mac_j, spad_j = (np.asarray(each) for each in _pe_j(gemm, accelerator, layer))
    return RowCost(
        passes, pes, compute, port, ramp, exposed_s, latency_s, glb_input, glb_psum, dram_input, dram_weight,
        dram_output, hop_bits, mac_j, spad_j, glb_j + dram_j + hop_j, glb_j, hop_j, dram_j,
        clock_j=pes * part.pe_clock_w * latency_s, static_j=technology.static_power_w * latency_s,
    )  # fmt: skip


def dram_bytes(
    gemm: Gemm, accelerator: Accelerator, layer: RowLayer, passes: Passes, compressed: bool
) -> tuple[Array, Array, Array]:
    """Bytes of input, weight and output over the link. Input is loaded again for each block of m filters, filters for
    each strip and group of samples, unless there is only one block of them to hold."""
    loops, groups, on_link = trips(layer, passes), layer.groups / 8, _on_link(gemm, accelerator, compressed)
    ifmap = layer.samples * layer.channels * loops.rows * layer.padded[1]
    loads = np.where(loops.channels * loops.filters == 1, 1.0, loops.samples * loops.strips)
    share = layer.share if compressed else 1.0
    return (
        groups * ifmap * share * loops.blocks * on_link["input"],
        groups * layer.weights * loads * on_link["weight"],
        groups * layer.psums * np.ones_like(loads) * on_link["output"],
    )


def _on_link(gemm: Gemm, accelerator: Accelerator, compressed: bool) -> dict[str, float]:
    """Bits of an element on the link, by operand."""
    sides = ("input", "weight", "output")
    every = {side: link_bits(gemm, accelerator, side) if compressed else getattr(gemm, side).bits for side in sides}
    return {side: 0.0 if getattr(gemm, side).on_chip else bits for side, bits in every.items()}


def _hop_bits(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, passes: Passes) -> Array:
    """Bits delivered to PEs: filters to the PEs of a row, sums from PE to PE and out, rows of input to PEs."""
    loops, sums = trips(layer, passes), layer.psums * layer.kernel[0] * accelerator.compute.accumulate_bits
    meetings = layer.macs / (layer.kernel[1] * layer.output[1])  # rows of input against rows of filter
    filters = loops.samples * layer.output[0] * layer.weights * gemm.weight.bits
    inputs = meetings * layer.padded[1] / passes.p * gemm.input.bits
    return layer.groups * (filters + loops.channels * passes.r * sums) + inputs


def _cycles(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, passes: Passes) -> tuple[Array, Array, Array]:
    """Cycles of PEs multiplying, of ports and buses beyond them, and of filling and draining.

    The last strip of output rows has as many sums and input rows as are left; its PEs take as long as all others.
    """
    loops, rows = trips(layer, passes), layer.output[0]
    full = loops.strips - 1
    multiplying, *strip = _pass_cycles(gemm, accelerator, layer, passes)
    _, *last = _pass_cycles(gemm, accelerator, layer, replace(passes, e=rows - full * passes.e))
    walks = layer.groups * loops.channels * loops.filters
    beyond, ramp = (walks * (full * each + end) for each, end in zip(strip, last, strict=True))
    return walks * layer.samples * loops.strips * multiplying, layer.samples * beyond, loops.samples * ramp


def _pass_cycles(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, passes: Passes) -> tuple[Array, Array, Array]:
    """Cycles of a sample in a pass (of PEs multiplying, of ports and buses beyond them) and of filling and draining.

    A PE takes p q S cycles for a column of the output. Before it starts, filters and the first window come over their
    buses, since the spads hold no more than one pass; after it, sums climb R r PEs and leave through the GLB's port.
    """
    part = part_of(accelerator)
    words_in = part.ifmap_bus_bytes_per_cycle * 8 / gemm.input.bits
    words_w = part.filter_bus_bytes_per_cycle * 8 / gemm.weight.bits
    psum_bytes = accelerator.compute.accumulate_bits / 8
    port = accelerator.buffer_of("output").port_bytes_per_cycle or math.inf
    (rows, taps), (_, columns) = layer.kernel, layer.output
    multiplying = passes.p * passes.q * taps * columns / pe_rate(gemm, accelerator)
    sums = passes.p * passes.t * passes.e
    input_rows = ((passes.e - 1) * layer.advance + layer.span[0]) * passes.q * passes.r
    slowest = np.maximum(sums * columns * psum_bytes / port, input_rows * (layer.padded[1] - layer.span[1]) / words_in)
    ramp = (
        rows * passes.r * passes.t * passes.p * passes.q * taps / words_w
        + input_rows * layer.span[1] / words_in
        + rows * passes.r * np.ceil(passes.p * psum_bytes / part.psum_link_bytes_per_cycle)
        + np.ceil(sums * psum_bytes / port)
        + part.pipeline_cycles
    )
    return multiplying, np.maximum(slowest - multiplying, 0.0), ramp


def _pe_j(gemm: Gemm, accelerator: Accelerator, layer: RowLayer) -> tuple[float, float]:
    """Energy of MACs and of spads in J. A gated zero saves `gated_share` of a PE's power (JSSC 2017, section V): the
    MAC, the rest from the spads."""
    part, technology = part_of(accelerator), accelerator.technology
    table = energy_table(technology.energy_table)
    mac_j = table.mac_j(multiplied_as(accelerator, gemm.types)) * technology.energy_scale
    spad_j = table.register_j_per_bit * technology.energy_scale * register_bits(gemm, accelerator)
    gating = [side for side in SIDES if getattr(accelerator.sparsity, side).mode == "gate"]
    zeros = layer.macs * (1 - met_share(gemm, gating))
    saved = part.gated_share * (mac_j + spad_j + part.pe_clock_w / technology.clock_hz)
    return (layer.macs * mac_j - zeros * min(saved, mac_j),
            layer.macs * spad_j - zeros * min(max(saved - mac_j, 0.0), spad_j))  # fmt: skip


def filter_words(layer: RowLayer, passes: Passes) -> Array:
    """Filter words of a pass."""
    return passes.p * passes.t * passes.q * passes.r * math.prod(layer.kernel)


def part_of(accelerator: Accelerator) -> RowStationary:
    """Spads, network on chip and clock of the array."""
    assert accelerator.row_stationary is not None  # the schema asks for it with the dataflow
    return accelerator.row_stationary


def pe_rate(gemm: Gemm, accelerator: Accelerator) -> float:
    """Multiply-accumulates of a PE in one cycle; `SimulationError` for arithmetic that it lacks."""
    return accelerator.compute.macs_per_pe * rate_of(accelerator, gemm.types)


def link_bits(gemm: Gemm, accelerator: Accelerator, side: str) -> float:
    """Bits of an element on the link, in the smallest format; pairs of run and value fill its words whole. A mask's
    are those of its own nonzeros.

    Three pairs of 5 + 16 bits take a 64-bit word, whose last bit says where the code ends (JSSC 2017, section IV).
    """
    operand, dram = getattr(gemm, side), accelerator.dram
    word, choices = 8 * part_of(accelerator).link_word_bytes, []
    for name in dram.formats.get(side, ("uncompressed",)):  # type: ignore[call-overload]
        bits = element_bits(dram.model_copy(update={"formats": {side: (name,)}}), side, operand)
        law, _, run = name.partition(":")
        pair = operand.bits + int(run or RUN_BITS)
        if law == "run_length" and bits < operand.bits and pair <= word:
            bits = min(bits / pair * word / (word // pair), operand.bits)
        choices.append(float(bits))
    return min(choices)

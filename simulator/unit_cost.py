"""Cost of ops that do not run on the array: vector, index and transfer ops on the units beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.accelerators.schema import Accelerator, Memory, Operand, Unit
from zerocast.accelerators.tables import energy_table
from zerocast.simulator.gpu.power import streamed_j_per_byte, switching
from zerocast.simulator.gpu.streaming import TOGETHER, found_bytes, special_operations, streamed_s
from zerocast.simulator.program.storage import stored_bytes
from zerocast.simulator.rates import Rates, rates_of
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.ir import Index, Op, Tensor, Transfer, Vector
from zerocast.workloads.patterns import Uniform

Array = NDArray[np.float64]


TWO_PASSES = ("batch_norm", "batch_norm_backward")
LONG_SELECTION = 4096
"""Elements above which the largest are told digit by digit, not by comparing each with the rest of its group."""
DIGITS = 4
"""Passes of such a selection: histograms of the digits of 8 bits of an fp32 key, the most significant first (Alabi et
al., "Fast k-selection algorithms for graphics processing units", ACM JEA 2012)."""


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Cost of one op on a unit, arrays [designs] but for what no rate changes: cycles of the unit, time with its
    off-chip bytes, energy."""

    cycles: Array
    latency_s: Array
    dram_s: Array
    flops: float
    vector_j: Array
    dram_j: Array


def is_work(op: Op) -> bool:
    """Whether an op is anything that runs: a transfer, a gather or elementwise work of no elements (views: reshape,
    expand, a slice that nobody copies) is not launched."""
    return not isinstance(op, (Vector, Index, Transfer)) or op.elements > 0


def unit_cycles(elements: ArrayLike, work_per_element: ArrayLike, lanes: ArrayLike, work_per_lane: ArrayLike) -> Array:
    """Cycles to take `elements` through `lanes` lanes; an element whose work exceeds a lane's depth goes round
    again. Broadcasts."""
    rounds = np.maximum(np.ceil(np.asarray(work_per_element, dtype=float) / work_per_lane), 1.0)
    return np.ceil(np.asarray(elements, dtype=float) / lanes) * rounds


def selection_cycles(elements: ArrayLike, group: ArrayLike, lanes: ArrayLike) -> Array:
    """Cycles of a streaming top-N selector bank: each lane takes a whole group of M at one element a cycle:
    ceil(P / (lanes M)) M."""
    size: Array = np.maximum(np.asarray(group, dtype=float), 1.0)
    return np.ceil(np.asarray(elements, dtype=float) / (np.asarray(lanes) * size)) * size


def moved_bytes(
    op: Op, tensors: Mapping[str, Tensor], on_chip: Collection[str] = (), link: Memory | None = None
) -> tuple[int, int]:
    """Off-chip bytes that an op reads and writes, tensors in `on_chip` left out; activations in the densest format
    that `link` keeps them in (reads as the array's input, writes as its output).

    A transfer of no elements is a view and moves nothing; what is done in place leaves the rest of its first input
    where it is. A gather reads the entries that it picks, not its table, an update those that it has elements for;
    a scatter writes its whole target, which starts from zeros. Batch statistics need a pass over all data before
    the pass that uses them, a selection among many elements one for each digit.
    """
    if isinstance(op, Transfer) and op.elements == 0:
        return 0, 0
    if isinstance(op, (Transfer, Index)) and op.in_place:
        return _in_place_bytes(op, tensors, on_chip, link)
    reads = {name: _link_bytes(tensors[name], link, "input") for name in op.inputs if name not in on_chip}
    writes = {name: _link_bytes(tensors[name], link, "output") for name in op.outputs if name not in on_chip}
    if isinstance(op, Index) and op.function == "gather" and op.inputs[0] in reads:
        table = tensors[op.inputs[0]]
        reads[table.name] = min(reads[table.name], -(-op.elements * table.bits // 8))
    if isinstance(op, Vector) and op.phase == "UPDATE":
        reads, writes = ({name: min(size, -(-op.elements * tensors[name].bits // 8)) for name, size in way.items()}
                         for way in (reads, writes))  # fmt: skip
    if isinstance(op, Vector) and op.function in TWO_PASSES:
        reads = {name: size * (2 if tensors[name].elements == op.elements else 1) for name, size in reads.items()}
    if isinstance(op, Index) and op.function == "top_k" and op.group > LONG_SELECTION:
        reads = {name: size * DIGITS for name, size in reads.items()}
    return sum(reads.values()), sum(writes.values())


def _in_place_bytes(
    op: Transfer | Index, tensors: Mapping[str, Tensor], on_chip: Collection[str], link: Memory | None
) -> tuple[int, int]:
    """Bytes of what is put into a tensor that lies there already; what is added to must be read first."""
    written = -(-op.elements * tensors[op.outputs[0]].bits // 8)
    read = sum(_link_bytes(tensors[name], link, "input") for name in op.inputs[1:] if name not in on_chip)
    return read + (written if op.function == "scatter_add" else 0), written


def _link_bytes(tensor: Tensor, link: Memory | None, side: Operand) -> int:
    """Bytes of a tensor on the link: activations take the smallest of the formats that it keeps them in, as an array's
    operands do; what is kept as N:M values and offsets stays so."""
    if link is None or tensor.role != "activation" or tensor.pattern.groups is not None:
        return stored_bytes(tensor)
    law, tile = Uniform(tensor.pattern.density), {"elements": tensor.elements}
    return min(
        tensor.bytes if name == "nm_offsets" else -(-int(storage_bits(name, law, tile, tensor.bits).bits) // 8)
        for name in link.formats.get(side, ("uncompressed",))
    )


def unit_cost(
    op: Op, accelerator: Accelerator, unit: Unit, dram_bytes: float, dtype: str, rates: Rates | None = None,
    issued_s: float = 0.0,
) -> UnitCost:  # fmt: skip
    """Price an op that moves `dram_bytes` off chip on a unit; compute and movement overlap (streaming).

    rates: of the designs of one structure, `accelerator` any of them; its own where there are none. issued_s: time
    that the instructions of a GPU's kernel take beside its bytes.

    A unit that names `nm_select` is a selector bank; a general vector unit compares each element with the
    rest of its group, or counts digits where that is long. Transfers and gathers take one lane step an element.
    """
    rates = rates_of([accelerator]) if rates is None else rates
    elements = float(op.elements) if isinstance(op, (Vector, Index, Transfer)) else 0.0
    lanes, depth = rates.lanes[unit.name], rates.flops_per_lane[unit.name]
    flops = 0.0
    if isinstance(op, Vector):
        flops = op.flops
        cycles = unit_cycles(elements, op.flops_per_element, lanes, depth)
    elif isinstance(op, Index) and op.group > 1 and op.function in unit.functions:
        flops = elements
        cycles = selection_cycles(elements, op.group, lanes)
    else:
        work = float(op.group if op.group <= LONG_SELECTION else DIGITS) if isinstance(op, Index) else 1.0
        flops = elements * work if isinstance(op, Index) else 0.0
        cycles = unit_cycles(elements, work, lanes, depth)
    dram_s = streamed_s(accelerator, dram_bytes, rates.dram_bytes_per_s)
    dram_s = (dram_s**TOGETHER + issued_s**TOGETHER) ** (1 / TOGETHER) if issued_s else dram_s
    table = energy_table(accelerator.technology.energy_table)
    latency_s = np.maximum(cycles / rates.clock_hz, dram_s)
    operations = flops + special_operations(accelerator, op)
    vector_j = operations * table.flop_j(dtype) * accelerator.technology.energy_scale * switching(accelerator)
    vector_j += dram_bytes * streamed_j_per_byte(accelerator)
    off_chip = dram_bytes - found_bytes(accelerator, dram_bytes)
    dram_j = off_chip * rates.j_per_byte[accelerator.dram.name]
    return UnitCost(cycles, latency_s, dram_s, flops, np.asarray(vector_j, dtype=float), dram_j)

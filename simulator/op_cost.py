"""Cost of one op of a program, on one accelerator as a row, or on many designs as arrays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from zerocast.simulator.cards import COLLECTIVES, collective_s, on_all_cards
from zerocast.simulator.cost import COLUMNS, RESIDENT, Array, Figures, OpRow
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.streaming import issued_s, streaming_of
from zerocast.simulator.gpu.trust import unit_bounds
from zerocast.simulator.program.program import Program
from zerocast.simulator.unit_cost import is_work, unit_cost
from zerocast.workloads.ir import Einsum, Op, Transfer, Vector

_BESIDE = ("buffer_read_bytes", "buffer_write_bytes", *RESIDENT, *(each.name for each in COLUMNS if each.unit == "J"))
"""Columns of an einsum that its products do not know all of: what passes by the array, and the energy of all cards."""


def op_figures(op: Op, program: Program, pricer: Pricer) -> Figures:
    """Cost of an op on each of the pricer's designs; zeros where nothing runs it. What runs in the kernel of the op
    before, or takes another's output on the fly, is launched with that. Of several cards, energies are those of all,
    all else is that of one."""
    figures, passing = on_all_cards(_figures(op, program, pricer), pricer.accelerator), program.passing.get(op.name, {})
    figures = figures if op.share == 1 else figures.shared(op.share)
    for memory, (read, written) in passing.items():
        joules = (read + written) * pricer.rates.j_per_byte[memory]
        more: dict[str, float | Array] = {
            "buffer_read_bytes": read,
            "buffer_write_bytes": written,
            "buffer_j": joules,
            "energy_j": joules,
        }
        figures = figures.plus(more)
    return figures


def _figures(op: Op, program: Program, pricer: Pricer) -> Figures:
    fused = op.name in program.plan.fused or op.name in program.plan.along
    if isinstance(op, Einsum):
        return pricer.figures(program.products[op.name], fused)
    tensors = program.plan.workload.tensors
    if isinstance(op, Transfer) and op.function in COLLECTIVES:
        return _collective(op, pricer, tensors[op.outputs[0]].bytes)
    rates, unit = pricer.rates, program.units[op.name]
    nothing = np.zeros_like(rates.clock_hz)
    if unit is None:
        return Figures(nothing, nothing, {"latency_s": nothing})
    read, write = program.moved_bytes[op.name]
    dtype = tensors[op.inputs[0]].dtype if op.inputs else "fp32"
    issue_s = 0.0 if fused else issued_s(pricer.accelerator, op, tensors)
    priced = unit_cost(op, pricer.accelerator, unit, read + write, dtype, rates, issue_s)
    start_s = rates.launch_overhead_s + streaming_of(pricer.accelerator).floor_s
    columns: dict[str, Any] = {
        "flops": priced.flops, "cycles": priced.cycles, "ideal_cycles": priced.cycles,
        "latency_s": priced.latency_s if fused or not is_work(op) else priced.latency_s + start_s,
        "dram_read_bytes": float(read), "dram_write_bytes": float(write), "dram_j": priced.dram_j,
        "vector_j": priced.vector_j, "energy_j": priced.dram_j + priced.vector_j,
    }  # fmt: skip
    return Figures(priced.dram_s, nothing, {name: value + nothing for name, value in columns.items()})


def _collective(op: Transfer, pricer: Pricer, size_bytes: int) -> Figures:
    """Cost of what cards do together over their link, whose energy is not known."""
    nothing = np.zeros_like(pricer.rates.clock_hz)
    seconds = collective_s(op.function, size_bytes, pricer.accelerator) + nothing
    return Figures(nothing, nothing, {"latency_s": seconds, "cycles": seconds * pricer.rates.clock_hz})


def _with_passing(memories: str, op: Op, program: Program, pricer: Pricer) -> str:
    """`OpRow.memories` with what an op reads and writes beside the array's ports."""
    found, passing = json.loads(memories or "{}"), program.passing.get(op.name, {})
    for name, (read, written) in passing.items() if found else ():
        joules = (read + written) * float(pricer.rates.j_per_byte[name][0])
        for figure, more in (("read_bytes", read), ("write_bytes", written), ("energy_j", joules)):
            found[name][figure] += more
    return json.dumps(found) if found and passing else memories


def op_row(op: Op, program: Program, pricer: Pricer, figures: Figures) -> OpRow:
    """Row of an op on a single accelerator, from its `op_figures`, without its place in the schedule."""
    row = _row(op, program, pricer, figures)
    return row if op.share == 1 else replace(row, note=f"in {op.share:.2%} of the steps; {row.note}".removesuffix("; "))


def _row(op: Op, program: Program, pricer: Pricer, figures: Figures) -> OpRow:
    if isinstance(op, Einsum):
        row = pricer.row(op, program.products[op.name], figures)
        row = replace(row, memories=_with_passing(row.memories, op, program, pricer))
        beside = {name: float(figures.columns[name][0]) for name in _BESIDE if name in figures.columns}
        return replace(row, **beside)  # type: ignore[arg-type]
    unit = program.units[op.name]
    function = getattr(op, "function", "")
    row = OpRow(op=op.name, layer=op.layer, phase=op.phase, kind=op.kind, function=function, resource="none")
    if unit is None:
        return replace(
            row, bound="uncosted", costed=False, note=f"no unit of {pricer.accelerator.name} runs {function!r}"
        )
    sums = {name: float(value[0]) for name, value in figures.columns.items()}
    busy_s = sums["cycles"] / pricer.accelerator.technology.clock_hz
    alone_s = max(busy_s, float(figures.link_s[0]))
    low_s, high_s = unit_bounds(op, sums["latency_s"]) if pricer.accelerator.gpu is not None else (0.0, 0.0)
    return replace(
        row, resource=unit.name, low_s=low_s, high_s=high_s, utilisation=busy_s / max(alone_s, 1e-30),
        bound="dram" if float(figures.link_s[0]) >= alone_s else "unit",
        note="" if not isinstance(op, Vector) or op.known else "unknown operator, priced by its bytes alone",
        **sums,  # type: ignore[arg-type]
    )  # fmt: skip

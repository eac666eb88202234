"""`simulate`: what a workload costs on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from accelerators.library import load
from accelerators.schema import Accelerator
from simulator.einsum_cost import Pricer
from simulator.errors import SimulationError
from simulator.footprint import footprint
from simulator.gemm_cost import Objective
from simulator.gpu.row import LOSES
from simulator.resources import fpga_resources
from simulator.result import OpRow, Result
from simulator.rewrite import Plan, plan
from simulator.schedule import Task, schedule
from simulator.unit_cost import moved_bytes, unit_cost
from workloads.ir import Einsum, Op, Vector, Workload

Fidelity = Literal["analytic", "tile"]


def simulate(
    workload: Workload,
    accelerator: Accelerator | str,
    *,
    objective: Objective = "latency",
    fidelity: Fidelity = "analytic",
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Map, count, time and price a workload on an accelerator (or the name of one).

    fidelity: `analytic` takes expectations, `tile` walks the tiles with their real sizes and nonzeros.
    progress: called with ops done and ops in all. Raises `SimulationError` where an op fits no mapping or needs
    arithmetic that the array lacks, and for an unknown objective or fidelity.
    """
    if fidelity not in ("analytic", "tile"):
        raise SimulationError(f"unknown fidelity {fidelity!r}; choose analytic or tile")
    if objective not in ("latency", "energy", "edp", "cycles"):
        raise SimulationError(f"unknown objective {objective!r}; choose latency, energy, edp or cycles")
    accelerator = load(accelerator) if isinstance(accelerator, str) else accelerator
    if not isinstance(workload, Workload) or not isinstance(accelerator, Accelerator):
        kinds = f"{type(workload).__name__} and {type(accelerator).__name__}"
        raise SimulationError(f"simulate takes a workload and an accelerator, in this order; got {kinds}")
    planned = plan(workload, accelerator)
    pricer = Pricer(accelerator, objective, fidelity)
    rows: list[OpRow] = []
    tasks: list[Task] = []
    waits = planned.workload.dependencies()
    writers: dict[str, str] = {}
    for number, op in enumerate(planned.workload.ops):
        row, link_s, prologue_s = _price(op, planned, accelerator, pricer)
        rows.append(row)
        along = planned.along.get(op.name, ())
        weight = op.inputs[1] if isinstance(op, Einsum) else ""
        tasks.append(Task(
            # a GPU's kernels come from one stream, one after another
            name=op.name, resource=row.resource if accelerator.gpu is None else "stream",
            work_s=row.latency_s, link_s=min(link_s, row.latency_s),
            after=tuple(wait for wait in waits[op.name] if wait not in along), along=along,
            prologue_s=prologue_s if accelerator.schedule.prefetch_weights else 0.0,
            prologue_after=(writers[weight],) if weight in writers else (),
        ))  # fmt: skip
        writers |= dict.fromkeys(op.outputs, op.name)
        if progress is not None:
            progress(number + 1, len(planned.workload.ops))
    spans = schedule(tasks)
    timed = tuple(replace(r, start_s=spans[r.op].start_s, end_s=spans[r.op].end_s) for r in rows)
    latency = max((row.end_s for row in timed), default=0.0)
    memory = footprint(planned.workload, offsets="nm_offsets" in accelerator.dram.formats.get("weight", ()))
    return Result(
        workload=workload.name,
        accelerator=accelerator.name,
        fidelity=fidelity,
        clock_hz=accelerator.technology.clock_hz,
        peak_macs_per_s=accelerator.peak_macs_per_s,
        dram_bytes_per_s=accelerator.dram_bytes_per_s,
        rows=timed,
        latency_s=latency,
        static_j=accelerator.technology.static_power_w * latency,
        footprint=memory,
        meta={**workload.meta, "objective": objective},
        layers=dict(workload.layers),
        resources=fpga_resources(accelerator),
        notes=_notes(workload, accelerator, timed, memory.peak_bytes),
    )


def _price(op: Op, planned: Plan, accelerator: Accelerator, pricer: Pricer) -> tuple[OpRow, float, float]:
    """Row of an op, the time its bytes keep the link busy, and its weight prologue, both in s."""
    on_chip = planned.on_chip.get(op.name, frozenset())
    if isinstance(op, Einsum):
        cost = pricer.einsum(planned.workload, op, on_chip, op.name in planned.fused)
        return cost.row, cost.link_s, cost.weight_prologue_s
    tensors = planned.workload.tensors
    read, write = moved_bytes(op, tensors, on_chip, accelerator.dram)
    function = getattr(op, "function", "")
    unit = accelerator.unit_for(function)
    blank = OpRow(op=op.name, layer=op.layer, phase=op.phase, kind=op.kind, function=function, resource="none")
    if unit is None:
        return replace(blank, bound="uncosted", note=f"no unit of {accelerator.name} runs {function!r}"), 0.0, 0.0
    dtype = tensors[op.inputs[0]].dtype if op.inputs else "fp32"
    priced = unit_cost(op, accelerator, unit, read + write, dtype)
    row = replace(
        blank, resource=unit.name, flops=priced.flops, cycles=priced.cycles, ideal_cycles=priced.cycles,
        latency_s=priced.latency_s + (0.0 if op.name in planned.fused else accelerator.host.launch_overhead_s),
        utilisation=priced.cycles / accelerator.technology.clock_hz / max(priced.latency_s, 1e-30),
        bound="dram" if priced.dram_s >= priced.latency_s else "unit",
        dram_read_bytes=float(read), dram_write_bytes=float(write), dram_j=priced.dram_j, vector_j=priced.vector_j,
        energy_j=priced.dram_j + priced.vector_j,
        note="" if not isinstance(op, Vector) or op.known else "unknown operator, priced by its bytes alone",
    )  # fmt: skip
    return row, priced.dram_s, 0.0


def _notes(workload: Workload, accelerator: Accelerator, rows: tuple[OpRow, ...], peak_bytes: int) -> tuple[str, ...]:
    """What a reader must know to believe the numbers."""
    notes = []
    if uncosted := [row.op for row in rows if row.bound == "uncosted"]:
        notes.append(f"{len(uncosted)} ops have no unit to run on and are in no total: {', '.join(uncosted[:5])}")
    if workload.unknown:
        names = sorted({op.function for op in workload.unknown})
        notes.append(f"unknown operators priced by their bytes alone: {', '.join(names)}")
    capacity = accelerator.dram.capacity_bytes
    if capacity is not None and peak_bytes > capacity:
        has = f"{accelerator.dram.name} has {capacity / 1e9:.1f} GB"
        notes.append(f"needs {peak_bytes / 1e9:.1f} GB at its peak, {has}")
    idle = {row.layer for row in rows if row.kind == "einsum" and row.weight_density < 1 and not row.skipped}
    if losing := list(dict.fromkeys(row.layer for row in rows if row.note.startswith(LOSES))):
        notes.append(f"{len(losing)} layers lose by being sparse and run dense: {', '.join(losing[:8])}")
    if idle:
        notes.append(f"{len(idle)} layers have zeros that the array cannot skip in at least one pass")
    return tuple(notes)

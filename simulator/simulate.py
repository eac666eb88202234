"""`simulate`: what a workload costs on an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.library import load
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.area import idle_power_w
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm_cost import Objective
from zerocast.simulator.given import Page, given_products
from zerocast.simulator.memory import memory_of
from zerocast.simulator.notes import run_notes
from zerocast.simulator.op_cost import op_figures, op_row
from zerocast.simulator.overflow import refusal_of_overflow
from zerocast.simulator.product import Figures
from zerocast.simulator.program import Program, program
from zerocast.simulator.result import OpRow, Result
from zerocast.simulator.size import size_of
from zerocast.workloads.ir import Workload

Array = NDArray[np.float64]
Fidelity = Literal["analytic", "tile"]


def simulate(
    workload: Workload,
    accelerator: Accelerator | str,
    *,
    objective: Objective = "latency",
    fidelity: Fidelity = "analytic",
    mapping: Page | None = None,
    allow_overflow: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Map, count, time and price a workload on an accelerator (or the name of one).

    fidelity: `analytic` takes expectations, `tile` walks the tiles with their real sizes and nonzeros.
    mapping: what is fixed of the ops' mappings, a YAML file or what it holds (`given.given_products`).
    allow_overflow: price a workload that needs more off-chip memory than there is, with a note.
    progress: called with ops done and ops in all. Raises `SimulationError` where an op fits no mapping or needs
    arithmetic that the array lacks, where the workload does not fit the off-chip memory, and for an unknown objective
    or fidelity, and what `given_products` raises.
    """
    check_options(objective, fidelity)
    accelerator = load(accelerator) if isinstance(accelerator, str) else accelerator
    if not isinstance(workload, Workload) or not isinstance(accelerator, Accelerator):
        kinds = f"{type(workload).__name__} and {type(accelerator).__name__}"
        raise SimulationError(f"simulate takes a workload and an accelerator, in this order; got {kinds}")
    planned = program(workload, accelerator)
    if mapping is not None:
        planned = replace(planned, products=given_products(planned.products, mapping, accelerator))
    if not allow_overflow and (refused := refusal_of_overflow(planned, accelerator)):
        raise refused
    pricer = Pricer(accelerator, objective, fidelity)
    pricer.prepare([product for products in planned.products.values() for product in products])
    rows: list[OpRow] = []
    figures: list[Figures] = []
    for number, op in enumerate(planned.ops, 1):
        figures.append(op_figures(op, planned, pricer))
        rows.append(op_row(op, planned, pricer, figures[-1]))
        if progress is not None:
            progress(number, len(planned.ops))
    starts, ends = planned.graph.run(*(times[0] for times in task_times(planned, figures, accelerator, 1)))
    for place, host in planned.hosts.items():
        starts[place] = starts[host]
    timed = tuple(replace(r, start_s=start, end_s=end) for r, start, end in zip(rows, starts, ends, strict=True))
    latency = max(ends, default=0.0)
    memory, size = memory_of(planned, pricer), size_of(accelerator)
    return Result(
        workload=workload.name,
        accelerator=accelerator.name,
        fidelity=fidelity,
        clock_hz=accelerator.technology.clock_hz,
        peak_macs_per_s=accelerator.peak_macs_per_s,
        dram_bytes_per_s=accelerator.dram_bytes_per_s,
        rows=timed,
        latency_s=latency,
        static_j=idle_power_w(accelerator) * latency,
        footprint=memory,
        ran=planned.plan.workload,
        along=planned.plan.along,
        meta={**workload.meta, "objective": objective},
        layers=dict(workload.layers),
        resources=size.resources,
        area=size.area_mm2,
        notes=(*run_notes(planned, accelerator, memory.peak_bytes, timed), *size.notes),
        found=dict(workload.found),
        products={name: pricer.mapped(products) for name, products in planned.products.items()},
    )


def check_options(objective: str, fidelity: str) -> None:
    """`SimulationError` for an objective or a fidelity that there is not."""
    if fidelity not in ("analytic", "tile"):
        raise SimulationError(f"unknown fidelity {fidelity!r}; choose analytic or tile")
    if objective not in ("latency", "energy", "edp", "cycles"):
        raise SimulationError(f"unknown objective {objective!r}; choose latency, energy, edp or cycles")


def task_times(
    planned: Program, figures: Sequence[Figures], accelerator: Accelerator, designs: int
) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Work, link and prologue times of all tasks for the schedule [designs][ops], in s."""

    def by_design(columns: Iterable[Array]) -> Array:
        return np.array(list(columns), dtype=float).reshape(len(figures), designs).T

    work = by_design(part.latency_s for part in figures)
    link = np.minimum(by_design(part.link_s for part in figures), work)
    prologue = by_design(part.weight_prologue_s for part in figures)
    for place, host in planned.hosts.items():
        for times in (work, link):
            times[:, host] += times[:, place]
            times[:, place] = 0.0
    hidden = prologue if accelerator.schedule.prefetch_weights else np.zeros_like(prologue)
    return work.tolist(), link.tolist(), hidden.tolist()

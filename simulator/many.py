"""`simulate_many`: what a workload costs on many designs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.area import idle_power_w
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm_cost import Objective
from zerocast.simulator.memory import memory_of
from zerocast.simulator.op_cost import op_figures
from zerocast.simulator.overflow import refusal_of_overflow
from zerocast.simulator.program import Program, program, program_key
from zerocast.simulator.rates import same_structure
from zerocast.simulator.simulate import Fidelity, check_options, task_times
from zerocast.simulator.size import size_of
from zerocast.simulator.totals import SUMMED, Totals
from zerocast.workloads.ir import Workload

Outcome = Totals | SimulationError


def simulate_many(
    workload: Workload,
    accelerators: Sequence[Accelerator],
    *,
    objective: Objective = "latency",
    fidelity: Fidelity = "analytic",
    allow_overflow: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Totals of each design, bit for bit those of `simulate`; a design that cannot run the workload gives its error.

    Designs that differ in rates alone (`simulator.rates`) are priced together. progress: called with the designs done
    and all. allow_overflow: price designs too whose off-chip memory is too small.
    """
    check_options(objective, fidelity)
    outcomes: list[Outcome | None] = [None] * len(accelerators)
    programs: dict[str, Program] = {}
    done = 0
    for group in same_structure(accelerators):
        designs = [accelerators[place] for place in group]
        try:
            key = program_key(designs[0])
            if key not in programs:
                programs[key] = program(workload, designs[0])
            refused = [None if allow_overflow else refusal_of_overflow(programs[key], design) for design in designs]
            found = _together(programs[key], designs, objective, fidelity, refused)
        except SimulationError as error:  # of the structure, which all of them have
            found = [error] * len(designs)
        for place, outcome in zip(group, found, strict=True):
            outcomes[place] = outcome
        done += len(group)
        if progress is not None:
            progress(done, len(accelerators))
    return [outcome for outcome in outcomes if outcome is not None]


def _together(
    planned: Program,
    designs: Sequence[Accelerator],
    objective: Objective,
    fidelity: Fidelity,
    refused: Sequence[SimulationError | None],
) -> list[Outcome]:
    """Outcomes of designs of one structure; those that are refused keep their error."""
    pricer = Pricer(designs, objective, fidelity)
    pricer.prepare([product for products in planned.products.values() for product in products])
    figures = [op_figures(op, planned, pricer) for op in planned.ops]
    nothing = np.zeros(len(designs))
    sums = dict.fromkeys((*SUMMED, "energy_j"), nothing)
    for part in figures:  # one after the other, as `Result.total` adds rows
        for column in sums:
            if column in part.columns:
                sums[column] = sums[column] + part.columns[column]
    uncosted = tuple(name for name, unit in planned.units.items() if unit is None)
    works, links, prologues = task_times(planned, figures, designs[0], len(designs))
    peak_bytes = memory_of(planned, pricer).peak_bytes
    outcomes: list[Outcome] = []
    for number, accelerator in enumerate(designs):
        if failed := refused[number] or pricer.failed.get(number):
            outcomes.append(failed)
            continue
        _, ends = planned.graph.run(works[number], links[number], prologues[number])
        latency = max(ends, default=0.0)
        static = idle_power_w(accelerator) * latency
        size = size_of(accelerator)
        outcomes.append(Totals(
            latency_s=latency, energy_j=float(sums["energy_j"][number]) + static, static_j=static,
            **{column: float(sums[column][number]) for column in SUMMED},
            peak_bytes=peak_bytes, resources=size.resources, uncosted=uncosted,
            area_mm2=size.total_mm2,
        ))  # fmt: skip
    return outcomes

"""`simulate`: what a workload costs on an accelerator, or on many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, TypedDict, Unpack, overload

import numpy as np

from zerocast.accelerators.library import load, with_regime
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards import cards_of
from zerocast.simulator.cost import OVER_OPS, RESIDENT, Array, Figures, Totals
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.power import within_limit
from zerocast.simulator.notes import run_notes
from zerocast.simulator.objective import SLACK, Objective, goal
from zerocast.simulator.op_cost import op_figures, op_row
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.given import Page, given_products
from zerocast.simulator.program.fit import fit_of
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.fusing import fused_program
from zerocast.simulator.program.kernels import hidden_s, launch_s
from zerocast.simulator.program.memory import storage_with
from zerocast.simulator.program.overflow import refusal_of_overflow
from zerocast.simulator.program.program import Program, program, program_key, resident_program
from zerocast.simulator.program.residency import Spared, stays
from zerocast.simulator.program.schedule import paced
from zerocast.simulator.rates import same_structure
from zerocast.simulator.result import Resident, Result
from zerocast.simulator.size.area import idle_power_w
from zerocast.simulator.size.size import size_of
from zerocast.workloads.ir import Op, Workload

Fidelity = Literal["analytic", "tile"]
Outcome = Totals | SimulationError
Progress = Callable[[int, int], None]


class Options(TypedDict, total=False):
    """How to simulate, see `simulate`."""

    objective: Objective
    fidelity: Fidelity
    mapping: Page | None
    regime: str | None
    allow_overflow: bool
    progress: Progress | None


@overload
def simulate(workload: Workload, accelerator: Accelerator | str, **options: Unpack[Options]) -> Result: ...
@overload
def simulate(workload: Workload, accelerator: Sequence[Accelerator], **options: Unpack[Options]) -> list[Outcome]: ...
def simulate(
    workload: Workload,
    accelerator: Accelerator | str | Sequence[Accelerator],
    *,
    objective: Objective = "latency",
    fidelity: Fidelity = "analytic",
    mapping: Page | None = None,
    regime: str | None = None,
    allow_overflow: bool = False,
    progress: Progress | None = None,
) -> Result | list[Outcome]:
    """Map, count, time and price a workload on an accelerator (or the name of one), or on many.

    Of many, those that differ in rates alone (`simulator.rates`) are priced together, each with the bits that it has
    alone; what comes back are their totals, or the error of a design that cannot run the workload.

    fidelity: `analytic` takes expectations, `tile` walks the tiles with their real sizes and nonzeros.
    mapping: what is fixed of the ops' mappings, a YAML file or what it holds (`given.given_products`).
    regime: of software on GPUs (eager, compiled, graph, engine), None for the accelerator's own (`with_regime`).
    allow_overflow: price a workload that needs more off-chip memory than there is, with a note.
    progress: called with ops done and ops in all; of many with designs. Raises `SimulationError` where an op fits no
    mapping or needs arithmetic that the array lacks, where the workload does not fit the off-chip memory, and for an
    unknown objective or fidelity, and what `given_products` raises.
    """
    _check(objective, fidelity)
    if isinstance(accelerator, str):
        accelerator = load(accelerator)
    designs = [accelerator] if isinstance(accelerator, Accelerator) else accelerator
    known = isinstance(designs, Sequence) and all(isinstance(design, Accelerator) for design in designs)
    if not isinstance(workload, Workload) or not known:
        kinds = f"{type(workload).__name__} and {type(accelerator).__name__}"
        raise SimulationError(f"simulate takes a workload and an accelerator, in this order; got {kinds}")
    if regime is not None:
        designs = [with_regime(design, regime) for design in designs]
    programs: dict[str, Program] = {}

    def run(group: Sequence[Accelerator], progress: Progress | None) -> _Run:
        key = program_key(group[0])
        if key not in programs:
            programs[key] = program(workload, group[0])
        planned = programs[key]

        def mapped(planned: Program) -> Program:
            if mapping is None:
                return planned
            return replace(planned, products=given_products(planned.products, mapping, group[0]))

        if group[0].gpu is not None:
            return _limited_run(mapped(planned), group[0], objective, fidelity, allow_overflow, progress)
        held = planned.plan.workload, planned.storage, planned.footprint.peak_bytes
        refused = [None if allow_overflow else refusal_of_overflow(*held, design) for design in group]
        if not group[0].schedule.keeps_on_chip:
            return _Run(mapped(planned), group, objective, fidelity, refused, progress)
        return _resident_run(planned, mapped, _Run(planned, group, objective, fidelity, refused, progress))

    if isinstance(accelerator, Accelerator):
        return run(designs, progress).result(workload)
    outcomes: dict[int, Outcome] = {}
    for places in same_structure(designs):
        try:
            priced = run([designs[place] for place in places], None)
            outcomes |= {place: priced.outcome(number) for number, place in enumerate(places)}
        except SimulationError as error:  # of the structure, which all of them have
            outcomes |= dict.fromkeys(places, error)
        if progress is not None:
            progress(len(outcomes), len(designs))
    return [outcomes[place] for place in range(len(designs))]


def _check(objective: str, fidelity: str) -> None:
    if fidelity not in ("analytic", "tile"):
        raise SimulationError(f"unknown fidelity {fidelity!r}; choose analytic or tile")
    if objective not in ("latency", "energy", "edp", "cycles"):
        raise SimulationError(f"unknown objective {objective!r}; choose latency, energy, edp or cycles")


def _limited_run(
    planned: Program, card: Accelerator, objective: Objective, fidelity: Fidelity, allow_overflow: bool,
    progress: Progress | None,
) -> _Run:  # fmt: skip
    """The run of a program on a GPU at the clock that its power limit leaves it; whether it fits is known when its
    kernels are, which decide how weights lie. Raises what `within_limit` raises, and `DoesNotFit`."""
    runs: dict[float, _Run] = {}

    def watts(card: Accelerator) -> float:
        run = _Run(planned, [card], objective, fidelity, [None], None if runs else progress)
        held = planned.plan.workload, run.storage, run.footprint.peak_bytes
        if not allow_overflow and (refused := refusal_of_overflow(*held, card)):
            raise refused
        runs[card.technology.clock_hz] = run
        figures = run.figures_of(0)
        return figures["energy_j"] / cards_of(card) / max(figures["latency_s"], _ROUNDING)

    return runs[within_limit(card, watts).technology.clock_hz]


_SHARES = (0.25, 0.5, 0.75, 0.9)
"""Shares of the memories that what stays on chip may fill; the rest is left to tiles. All are priced."""
_SPARED: tuple[Spared, ...] = ("bytes", "joules")


def _resident_run(planned: Program, mapped: Callable[[Program], Program], plain: _Run) -> _Run:
    """The best run of a program with tensors that stay on chip, never slower than the plain one, in which none do.

    Of runs whose objective is within `SLACK` of the least, that of least energy. mapped: lays given mappings on a
    program. plain: without given mappings, which need not fit where every operand has tiles. Raises what the run with
    nothing on chip raises where no other fits.
    """
    (accelerator,) = plain.designs
    tries, tried = [planned], {}
    if accelerator.schedule.residency != "none":
        # where all weights lie on chip before the run, none of them needs room for tiles
        shares = (*_SHARES, 1.0) if accelerator.schedule.residency == "preloaded" else _SHARES
        chosen = (tuple(stays(planned.plan, accelerator, *how)) for how in product(shares, _SPARED))
        tries += [resident_program(planned, accelerator, staying) for staying in dict.fromkeys(chosen)]
    if accelerator.schedule.fuse != "none":
        tries += [fused_program(one, accelerator, plain.price) for one in tries]
    tried = {(one.stays, tuple(one.blocks.items())): one for one in tries if one.stays}
    runs, failed = [], None
    for one in (planned, *tried.values()):
        try:
            runs.append(_Run(mapped(one), plain.designs, plain.pricer.objective, plain.fidelity,
                             plain.refused, plain=plain))  # fmt: skip
        except SimulationError as error:
            failed = failed or error
    if not runs:
        assert failed is not None
        raise failed
    bar = math.inf if runs[0].planned.stays else runs[0].goal("latency")
    runs = [run for run in runs if run.goal("latency") <= bar * (1 + _ROUNDING)]
    least = min(run.goal() for run in runs) * (1 + SLACK[plain.pricer.objective] + _ROUNDING)
    return min((run for run in runs if run.goal() <= least), key=lambda run: run.goal("energy"))


def _saved(now: Figures, before: Figures) -> dict[str, Array]:
    """What an op moves off chip, and takes, less than before, by the names of `RESIDENT`."""

    def of(each: Figures, *names: str) -> Array:
        return sum((each.columns.get(name, np.zeros(1)) for name in names), np.zeros(1))

    spent = ("dram_read_bytes", "dram_write_bytes"), ("energy_j",)
    return {saved: of(before, *names) - of(now, *names) for saved, names in zip(RESIDENT, spent, strict=True)}


_WITHOUT = ("latency_s", "energy_j", "dram_read_bytes", "dram_write_bytes")
_ROUNDING = 1e-12
"""Room for the rounding of times that are equal."""


class _Run:
    """A program priced on designs of one structure. refused: by design, why it is not to be; one alone raises.
    plain: the same with nothing that stays on chip, to compare with."""

    def __init__(
        self, planned: Program, designs: Sequence[Accelerator], objective: Objective, fidelity: Fidelity,
        refused: Sequence[SimulationError | None], progress: Progress | None = None, plain: _Run | None = None,
    ) -> None:  # fmt: skip
        if len(designs) == 1 and refused[0] is not None:
            raise refused[0]
        self.planned, self.designs, self.refused, self.plain = planned, designs, refused, plain
        self.fidelity: Fidelity = fidelity
        self.pricer: Pricer = Pricer(designs, objective, fidelity) if plain is None else plain.pricer
        self.pricer.prepare([product for products in planned.products.values() for product in products])
        self.figures: list[Figures] = []
        for number, op in enumerate(planned.ops, 1):
            self.figures.append(self._priced(op) if plain is None else self._compared(op, plain))
            if progress is not None:
                progress(number, len(planned.ops))
        self.times = self._times()
        self.storage = storage_with(self.pricer, planned)
        self.footprint = footprint(planned.plan.workload, self.storage)
        self.sums: dict[str, Array] = dict.fromkeys(OVER_OPS, np.zeros(len(designs)))
        for part in self.figures:  # one after the other, as `Result.total` adds rows
            self.sums |= {name: self.sums[name] + part.columns[name] for name in OVER_OPS if name in part.columns}

    def _priced(self, op: Op) -> Figures:
        return op_figures(op, self.planned, self.pricer)

    def _compared(self, op: Op, plain: _Run) -> Figures:
        """Cost of an op beside that in the plain run. Where the mapping that is found for what is left of the memories
        is slower than the plain run's, which may still fit, that one is taken."""
        figures, before = self._priced(op), plain.figures[len(self.figures)]
        if figures.latency_s[0] > before.latency_s[0] and (products := self.planned.products.get(op.name)):
            known = zip(products, self.pricer.mapped(plain.planned.products[op.name]), strict=True)
            other = {op.name: tuple(replace(each, given=each.given or same.given) for each, same in known)}
            free, self.planned = self.planned, replace(self.planned, products=self.planned.products | other)
            try:
                again = self._priced(op)
            except SimulationError:
                again = figures
            if again.latency_s[0] < figures.latency_s[0]:
                figures = again
            else:
                self.planned = free
        return figures.plus(_saved(figures, before))

    def price(self, products: Sequence[Gemm]) -> tuple[float, float]:
        """What products cost a single design: the objective, then what breaks ties."""
        figures = self.pricer.figures(products)
        seconds, joules, cycles = (float(figures.columns[name][0]) for name in ("latency_s", "energy_j", "cycles"))
        objective = self.pricer.objective
        return float(goal(objective, seconds, joules, cycles)), seconds if objective == "energy" else joules

    def goal(self, objective: Objective | None = None) -> float:
        """The figure of a single design that is to be small: its latency, its energy, or their product."""
        figures = self.figures_of(0)
        known = figures["latency_s"], figures["energy_j"], float(self.sums["cycles"][0])
        return float(goal(objective or self.pricer.objective, *known))

    def figures_of(self, number: int) -> dict[str, float]:
        """Totals of a design, by name."""
        _, ends = self._schedule(number)
        latency = max(ends, default=0.0)
        static = self._static_j(number, latency)
        sums = {name: float(value[number]) for name, value in self.sums.items()}
        plain = {"latency_s": latency, "static_j": static, "peak_bytes": self.footprint.peak_bytes}
        return sums | plain | {"energy_j": sums["energy_j"] + static}

    def _static_j(self, number: int, seconds: float) -> float:
        """Energy that a design draws in so many seconds, whatever runs."""
        return cards_of(self.designs[number]) * idle_power_w(self.designs[number]) * seconds

    def _times(self) -> list[list[list[float]]]:
        """Work, link and prologue times of all tasks for the schedule, each [designs][ops], in s."""

        def by_design(columns: Iterable[Array]) -> Array:
            return np.array(list(columns), dtype=float).reshape(len(self.figures), len(self.designs)).T

        work = by_design(part.latency_s for part in self.figures)
        link = np.minimum(by_design(part.link_s for part in self.figures), work)
        prologue = by_design(part.weight_prologue_s for part in self.figures)
        for place, host in self.planned.hosts.items():
            for times in (work, link):
                times[:, host] += times[:, place]
                times[:, place] = 0.0
        hidden = prologue if self.designs[0].schedule.prefetch_weights else np.zeros_like(prologue)
        return [work.tolist(), link.tolist(), hidden.tolist()]

    def _schedule(self, number: int) -> tuple[list[float], list[float]]:
        """Start and end of each op on a design, in s."""
        starts, ends = self.planned.graph.run(*(times[number] for times in self.times))
        if self.designs[number].gpu is None:
            return starts, ends
        design, ops, plan = self.designs[number], self.planned.ops, self.planned.plan
        idle = [work - link for work, link in zip(self.times[0][number], self.times[1][number], strict=True)]
        hidden = hidden_s(ops, plan.fused, plan.workload.tensors, idle, design)
        return paced(starts, ends, launch_s(ops, plan.fused, design), hidden)

    def outcome(self, number: int) -> Outcome:
        """Totals of a design, or why there are none."""
        if failed := self.refused[number] or self.pricer.failed.get(number):
            return failed
        size = size_of(self.designs[number])
        uncosted = tuple(name for name, unit in self.planned.units.items() if unit is None)
        return Totals(self.figures_of(number), size.resources, uncosted, size.total_mm2)

    def result(self, workload: Workload) -> Result:
        """Everything of a single design."""
        planned, pricer, (accelerator,) = self.planned, self.pricer, self.designs
        starts, ends = self._schedule(0)
        for place, host in planned.hosts.items():
            starts[place] = starts[host]
        rows = tuple(
            replace(op_row(op, planned, pricer, figures), start_s=start, end_s=end)
            for op, figures, start, end in zip(planned.ops, self.figures, starts, ends, strict=True)
        )
        latency, size = max(ends, default=0.0), size_of(accelerator)
        totals = self.plain.figures_of(0) if self.plain is not None else {}
        without = {name: value for name, value in totals.items() if name in _WITHOUT}
        return Result(
            workload=workload.name,
            accelerator=accelerator.name,
            fidelity=pricer.fidelity,
            clock_hz=accelerator.technology.clock_hz,
            peak_macs_per_s=accelerator.peak_macs_per_s,
            dram_bytes_per_s=accelerator.dram_bytes_per_s,
            rows=rows,
            latency_s=latency,
            static_j=self._static_j(0, latency),
            footprint=self.footprint,
            ran=planned.plan.workload,
            along=planned.plan.along,
            meta={**workload.meta, "objective": pricer.objective},
            layers=dict(workload.layers),
            resources=size.resources,
            area=size.area_mm2,
            notes=(*run_notes(planned, accelerator, self.footprint.peak_bytes, rows, latency, without), *size.notes),
            found=dict(workload.found),
            products={name: pricer.mapped(products) for name, products in planned.products.items()},
            residents=tuple(
                Resident(
                    stay.tensor,
                    stay.memory,
                    planned.ops[stay.touches[0].place].name,
                    planned.ops[stay.touches[-1].place].name,
                    stay.bytes,
                    stay.saved_bytes,
                )
                for stay in planned.stays
            ),
            without_residents=without,
            storage=self.storage,
            fit=fit_of(planned.plan.workload, self.storage, self.footprint.peak_bytes, accelerator),
        )

"""Changes of a design or a recipe that would shorten a layer most, each really priced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zerocast.accelerators import load
from zerocast.accelerators.errors import AcceleratorError
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.reports.tables import OUTSIDE
from zerocast.analysis.run.network import Network, Step, lower, silent
from zerocast.analysis.why.record import Asked
from zerocast.simulator import Result, SimulationError, simulate
from zerocast.simulator.cost import OpRow
from zerocast.workloads import Workload, WorkloadError

TWICE = ("clock_hz", "bandwidth_bytes_per_s", "port_bytes_per_cycle", "capacity_bytes", "rows", "cols", "lanes")
"""Fields of an accelerator that are tried at twice their value; of the off-chip memory not the capacity."""
HALF = ("launch_overhead_s", "launch_floor_s")
"""Those that are tried at half of it."""
RECIPES = ("nm:2:4", "nm:2:8", "magnitude:0.2")
"""Recipes that are tried in place of the network's own."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change and what it does to the layer.

    option: of `zerocast run`, to add or to change. latency_s: of the layer with it, ratio: over that without. area: by
    which share the design grows, None where it has no area.
    """

    option: str
    latency_s: float
    ratio: float
    area: float | None


def rows_of(result: Result, layer: str) -> list[OpRow]:
    """The ops of a layer, of all below it, or the op of that name. Raises `AnalysisError` where there is none."""
    found = [row for row in result.rows if _belongs(layer, row.layer, row.op)]
    if not found:
        from zerocast.workloads.errors import closest

        raise AnalysisError(
            f"no layer {layer!r}; {closest(layer, dict.fromkeys(row.layer or OUTSIDE for row in result.rows))}"
        )
    return found


def _belongs(layer: str, place: str, op: str) -> bool:
    return layer in (place or OUTSIDE, op) or place.startswith(f"{layer}.")


def part_of(workload: Workload, layer: str) -> Workload:
    """The ops of one layer, and of those below it, alone."""
    return workload.with_ops(tuple(op for op in workload.ops if _belongs(layer, op.layer, op.name)))


def best_changes(asked: Asked, workload: Workload, layer: str, most: int = 3, step: Step | None = None) -> list[Change]:
    """The changes that shorten a layer most, best first; those that shorten it by less than a percent are left out.

    One is made at a time. All are tried on the layer alone; those that do most for it are then priced in the whole
    network, where neighbours stream into it, and it is those figures that count.
    """
    options = {**asked.options, "mapping": None, "allow_overflow": True}

    def price(part: Workload, settings: dict[str, Any]) -> tuple[float, float | None]:
        result = simulate(part, load(asked.accelerator, settings), **options)
        return sum(row.latency_s for row in rows_of(result, layer)), result.area_mm2

    def network_of(recipe: str | None) -> Workload:
        return workload if recipe is None else _pruned(asked.network, recipe)

    screened, tried = [], [*_designs(asked), *_recipes(asked, workload)]
    for done, (option, settings, recipe) in enumerate(tried, 1):
        try:
            alone_s, _ = price(part_of(network_of(recipe), layer), {**asked.settings, **settings})
            screened.append((alone_s, option, settings, recipe))
        except (AcceleratorError, SimulationError, WorkloadError):
            continue  # a design that cannot be, or a recipe that the network does not take
        finally:
            if step is not None:
                step(done, len(tried))
    before_s, area = price(workload, asked.settings)
    found = []
    for _, option, settings, recipe in sorted(screened, key=lambda each: each[0])[: 2 * most]:
        after_s, larger = price(network_of(recipe), {**asked.settings, **settings})
        grown = None if not area or larger is None else larger / area - 1
        found.append(Change(option, after_s, after_s / before_s, grown))
    return sorted((change for change in found if change.ratio < 0.99), key=lambda change: change.ratio)[:most]


def _designs(asked: Asked) -> Iterator[tuple[str, dict[str, Any], None]]:
    machine = load(asked.accelerator, asked.settings)
    for path, value in machine.leaves():
        name = path.rpartition(".")[2]
        if name in (*TWICE, *HALF) and path != f"memories.{machine.dram.name}.capacity_bytes" and value:
            changed = value * 2 if name in TWICE else value / 2
            yield f"--set {path}={changed:g}", {path: changed}, None


def _recipes(asked: Asked, workload: Workload) -> Iterator[tuple[str, dict[str, Any], str]]:
    if not (asked.network.is_saved or workload.meta.get("training")):
        yield from ((f"--prune {recipe}", {}, recipe) for recipe in RECIPES if recipe != asked.network.prune)


def _pruned(network: Network, recipe: str) -> Workload:
    return lower(replace(network, prune=recipe), silent)


def told(changes: Sequence[Change]) -> list[str]:
    """A line for each change."""
    lines = []
    for change in changes:
        area = "" if change.area is None else f" for {change.area:+.1%} of area"
        lines.append(f"{change.option}: {change.ratio - 1:+.1%}{area}")
    return lines

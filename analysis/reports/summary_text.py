"""What a run prints: the table of layers and passes, then the totals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import cast

from rich.console import Console
from rich.table import Table

from zerocast.accelerators.schema import Accelerator
from zerocast.analysis.reports.nests import nests
from zerocast.analysis.reports.plots.losses import losses_line
from zerocast.analysis.reports.tables import LayerRow, dense_reasons, layer_rows, pruned_layers, samples_per_s, slowest
from zerocast.analysis.run.speedup import dram_bytes, gain
from zerocast.analysis.units import si, times
from zerocast.simulator.objective import Objective
from zerocast.simulator.result import Result
from zerocast.simulator.size.size import over_budget
from zerocast.workloads.pruning import Change

KINDS = 10
"""Kinds of zeros found, and of changes of layers, that the totals list."""

SHOWN = 40
"""Rows of the table on the screen; the file has them all."""


def print_run(console: Console, result: Result, baseline: Result | None, accelerator: Accelerator) -> None:
    """Table and totals of a run."""
    rows = layer_rows(result, baseline)
    shown = slowest(rows, SHOWN)
    console.print(_table(shown, baseline is not None))
    if len(shown) < len(rows):
        note = f"the slowest layers only, {len(shown)} of {len(rows)} rows; ops.csv has every op"
        console.print(note, style="dim")
    console.print()
    totals = Table(box=None, show_header=False, pad_edge=False)
    totals.add_column(style="bold", no_wrap=True)
    totals.add_column(overflow="fold")
    for name, value in totals_of(result, baseline, accelerator):
        totals.add_row(name, value)
    console.print(totals)
    for text in warnings_of(accelerator):
        console.print(f"warning: {text}", style="yellow")
    for text in result.notes:
        console.print(f"note: {text}")
    for nest in islice(nests(result.products, accelerator, objective_of(result)), 1):
        console.print(f"\nthe mapping that takes the most time; report.html has all\n{nest.text}", highlight=False)


def objective_of(result: Result) -> Objective:
    """What mappings were chosen for."""
    return cast(Objective, result.meta.get("objective", "latency"))


def _table(rows: list[LayerRow], compared: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("pass")
    columns = ("latency", "cycles", "utilisation", "bound by", *(("speedup",) if compared else ()), "energy")
    for name in columns:
        table.add_column(name, justify="left" if name == "bound by" else "right", no_wrap=True)
    before = ""
    for row in rows:
        table.add_row("" if row.layer == before else row.layer, row.phase, *figures(row, compared))
        before = row.layer
    return table


def figures(row: LayerRow, compared: bool) -> list[str]:
    """Latency, cycles, utilisation, bound, speedup (where compared) and energy of a row, in words."""
    speedup = [times(row.speedup)] if compared else []
    start = [si(row.latency_s, "s"), f"{row.cycles:,.0f}", f"{row.utilisation:.0%}", row.bound]
    return [*start, *speedup, si(row.energy_j, "J")]


def totals_of(result: Result, baseline: Result | None, accelerator: Accelerator | None) -> Iterator[tuple[str, str]]:
    """Name and value, in words, of each total; ratios to the baseline where there is one."""
    yield "workload", f"{result.workload}, recipe {_recipe(result)}, {_mode(result)}"
    yield "accelerator", f"{result.accelerator}, {result.fidelity} fidelity, mapped for {objective_of(result)}"
    results = [each for each in (result, baseline) if each is not None]
    yield "latency", _beside("s", [each.latency_s for each in results])
    if (rate := samples_per_s(result)) is not None:
        yield "throughput", f"{rate:,.0f} samples/s" if rate >= 100 else f"{rate:.3g} samples/s"
    yield "energy", _beside("J", [each.energy_j for each in results])
    yield "DRAM traffic", _beside("B", [dram_bytes(each) for each in results])
    yield "peak memory", _beside("B", [each.footprint.peak_bytes for each in results])
    if classes := result.footprint.peak:
        yield "", ", ".join(f"{name} {si(size, 'B')}" for name, size in classes.items())
    yield from _fit(result)
    if baseline is not None:
        yield from _gain(result, baseline)
    if (path := result.critical_path()).ops:
        yield "critical path", f"{si(path.seconds, 's')}: {len(path.ops)} of {len(result.rows)} ops, one after another"
    if line := losses_line(result):
        yield "cycles lost", line
    yield from _area(result)
    yield from _resources(result, accelerator)
    if result.layers and _recipe(result) == "dense" and pruned_layers(result):
        yield (
            "zeros",
            f"in the weights of {pruned_layers(result)} of {len(result.layers)} layers, as the model has them",
        )
        yield from (("", line) for line in found_lines(result))
    elif result.layers and _recipe(result) != "dense":
        account = account_lines(result)
        yield from (("changed" if not place else "", line) for place, line in enumerate(account))
        if pruned_layers(result) or not account:
            yield "pruned", f"{pruned_layers(result)} of {len(result.layers)} layers"
        for why, count in dense_reasons(result).items():
            yield "", f"{count} left dense: {why}"


def _fit(result: Result) -> Iterator[tuple[str, str]]:
    """What fits the memory, where its size is known: the largest batch; of what does not, cards and offloading."""
    fit = result.fit
    if fit is None:
        return
    if fit.largest_batch is not None:
        yield "largest batch", f"{fit.largest_batch:,} in {si(fit.capacity_bytes, 'B')}"
    if fit.cards != 1:
        many = "no number of cards holds it" if fit.cards is None else f"{fit.cards} cards"
        yield "memory of cards", f"{many} with layers dealt whole, {si(fit.card_bytes, 'B')} on the fullest"
    if fit.offload_bytes:
        time = (
            "host.link_bytes_per_s is not known" if fit.offload_s is None else f"{si(fit.offload_s, 's')} more a step"
        )
        yield "offload", f"{si(fit.offload_bytes, 'B')} that do not fit, over the host's link: {time}"


def found_lines(result: Result) -> list[str]:
    """What the zeros that weights hold of their own keep to: a line for each kind, with the weights that have it."""
    alike: dict[str, list[str]] = {}
    for name, words in result.found.items():
        alike.setdefault(words, []).append(name)
    most = sorted(alike.items(), key=lambda each: -len(each[1]))
    lines = [f"{', '.join(names) if len(names) < 4 else f'{len(names)} weights'}: {words}" for words, names in most]
    return lines if len(lines) <= KINDS else [*lines[:KINDS], f"{len(lines) - KINDS} more kinds; summary.json has all"]


def account_lines(result: Result) -> list[str]:
    """What recipes made of layers: a line for each kind, with parameters and multiply-accumulates before and after."""
    alike: dict[str, list[Change]] = {}
    for change in (Change(*row) for row in result.meta.get("account", ())):
        alike.setdefault(change.what, []).append(change)
    lines = [
        f"{len(rows)} layers, {what}: "
        f"{_sum(rows, 'parameters')} -> {_sum(rows, 'parameters_after')} parameters, "
        f"{_sum(rows, 'macs')} -> {_sum(rows, 'macs_after')} MAC a row"
        for what, rows in alike.items()
    ]
    return lines if len(lines) <= KINDS else [*lines[:KINDS], f"{len(lines) - KINDS} more kinds; summary.json has all"]


def _sum(rows: list[Change], column: str) -> str:
    return si(sum(getattr(row, column) for row in rows), "").strip()


def _beside(unit: str, values: list[float]) -> str:
    """A figure, and that of the baseline with their ratio where there is one."""
    text = si(values[0], unit)
    if len(values) == 1:
        return text
    ratio = values[1] / values[0] if values[0] else 1.0
    return f"{text}   (baseline {si(values[1], unit)}, {times(ratio)})"


def _gain(result: Result, baseline: Result) -> Iterator[tuple[str, str]]:
    better = gain(result, baseline)
    before, after = (si(each.total("effectual_macs"), "MAC") for each in (baseline, result))
    other = "" if baseline.workload == result.workload else f"{baseline.workload}, "
    yield "speedup", f"{times(better.speedup)} over {other}recipe {_recipe(baseline)}"
    yield (
        "MAC ceiling",
        f"{times(better.mac_ceiling)}: {before} with nonzero operands in the baseline, {after} left",
    )
    if better.explanation:
        yield "", better.explanation


def _recipe(result: Result) -> str:
    return str(result.meta.get("recipe", "dense"))


def _mode(result: Result) -> str:
    mode = "training step" if result.meta.get("training") else "inference"
    batch = result.meta.get("batch")
    return f"{mode}, batch {batch}" if batch else mode


def _area(result: Result) -> Iterator[tuple[str, str]]:
    if result.area_mm2 is not None:
        parts = sorted(((size, name) for name, size in result.area.items() if size), reverse=True)
        shares = [f"{name} {size / result.area_mm2:.0%}" for size, name in parts]
        yield (
            "area",
            f"{result.area_mm2:.3g} mm2: {', '.join(shares)}" if len(parts) > 1 else f"{result.area_mm2:.4g} mm2",
        )


def _resources(result: Result, accelerator: Accelerator | None) -> Iterator[tuple[str, str]]:
    part = accelerator.technology.fpga if accelerator is not None else None
    if part is not None and result.resources:
        uses = [f"{name.upper()} {count:,.0f} of {getattr(part, name):,} ({count / max(getattr(part, name), 1):.0%})"
                for name, count in result.resources.items()]  # fmt: skip
        yield f"resources of {part.part}", ", ".join(uses)


def warnings_of(accelerator: Accelerator | None) -> list[str]:
    """What makes the design doubtful: a budget exceeded."""
    part = accelerator.technology.fpga if accelerator is not None else None
    if accelerator is None or part is None:
        return []
    return [
        f"does not fit {part.part}: {name.upper()} needs {used:,.0f}, the part has {there:,.0f}"
        for name, (used, there) in over_budget(accelerator).items()
    ]

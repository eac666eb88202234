"""What a run prints: the table of layers and passes, then the totals."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from accelerators.schema import Accelerator
from analysis.gain import dram_bytes, gain
from analysis.tables import LayerRow, dense_reasons, layer_rows, pruned_layers, samples_per_s, slowest
from analysis.units import si, times
from simulator.resources import over_budget
from simulator.result import Result

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
    for text in warnings_of(result, accelerator):
        console.print(f"warning: {text}", style="yellow", markup=False)
    for text in result.notes:
        console.print(f"note: {text}", markup=False)


def _table(rows: list[LayerRow], compared: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", overflow="fold")
    table.add_column("pass")
    columns = ("latency", "cycles", "utilisation", "bound by", *(("speedup",) if compared else ()), "energy")
    for name in columns:
        table.add_column(name, justify="left" if name == "bound by" else "right", no_wrap=True)
    before = ""
    for row in rows:
        cells = [si(row.latency_s, "s"), f"{row.cycles:,.0f}", f"{row.utilisation:.0%}", row.bound]
        cells += [times(row.speedup)] if compared else []
        table.add_row("" if row.layer == before else row.layer, row.phase, *cells, si(row.energy_j, "J"))
        before = row.layer
    return table


def totals_of(result: Result, baseline: Result | None, accelerator: Accelerator | None) -> Iterator[tuple[str, str]]:
    """Name and value, in words, of each total; ratios to the baseline where there is one."""
    was, better = baseline, gain(result, baseline) if baseline is not None else None

    def against(ratio: float, figure: str) -> str:
        return f"   (baseline {figure}, {times(ratio)})" if was is not None else ""

    yield "workload", f"{result.workload}, recipe {result.meta.get('recipe', 'dense')}, {_mode(result)}"
    yield "accelerator", f"{result.accelerator}, {result.fidelity}, mapped for {result.meta.get('objective', 'latency')}"
    yield "latency", si(result.latency_s, "s") + (
        against(better.speedup, si(was.latency_s, "s")) if better and was else "")
    if (rate := samples_per_s(result)) is not None:
        yield "throughput", f"{rate:,.0f} samples/s" if rate >= 100 else f"{rate:.3g} samples/s"
    yield "energy", si(result.energy_j, "J") + (
        against(better.energy_ratio, si(was.energy_j, "J")) if better and was else "")
    yield "DRAM traffic", si(dram_bytes(result), "B") + (
        against(better.dram_ratio, si(dram_bytes(was), "B")) if better and was else "")
    yield "peak memory", si(result.footprint.peak_bytes, "B")
    if better is not None and was is not None:
        yield "speedup", f"{times(better.speedup)} over recipe {was.meta.get('recipe', 'dense')}"
        yield "MAC ceiling", (
            f"{times(better.mac_ceiling)}: {si(was.total('macs'), 'MAC')} in the baseline over "
            f"{si(result.total('effectual_macs'), 'MAC')} with nonzero operands"
        )
        if better.explanation:
            yield "", better.explanation
    yield from _resources(result, accelerator)
    if result.layers:
        yield "pruned", f"{pruned_layers(result)} of {len(result.layers)} layers"
        for why, count in dense_reasons(result).items():
            yield "", f"{count} left dense: {why}"


def _mode(result: Result) -> str:
    mode = "training step" if result.meta.get("training") else "inference"
    batch = result.meta.get("batch")
    return f"{mode}, batch {batch}" if batch else mode


def _resources(result: Result, accelerator: Accelerator | None) -> Iterator[tuple[str, str]]:
    part = accelerator.technology.fpga if accelerator is not None else None
    if part is not None and result.resources:
        uses = [f"{name.upper()} {count:,.0f} of {getattr(part, name):,} ({count / max(getattr(part, name), 1):.0%})"
                for name, count in result.resources.items()]  # fmt: skip
        yield f"resources of {part.part}", ", ".join(uses)


def warnings_of(result: Result, accelerator: Accelerator | None) -> list[str]:
    """What makes the design or the numbers doubtful: a budget exceeded."""
    over = over_budget(accelerator) if accelerator is not None else {}
    return [
        f"does not fit {accelerator.technology.fpga.part}: {name.upper()} needs {used:,.0f}, the part has {there:,.0f}"  # type: ignore[union-attr]
        for name, (used, there) in over.items()
    ]

"""An accelerator's parameters with their sources, assumptions marked, and how large it is."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from zerocast.accelerators import Accelerator
from zerocast.accelerators.tables import area_table, energy_table
from zerocast.analysis.commands.printing.console import output
from zerocast.analysis.commands.printing.listing import parameters
from zerocast.simulator.size.area import area
from zerocast.simulator.size.resources import fpga_resources


def print_parameters(accelerator: Accelerator) -> None:
    """Every parameter that the description sets, its area or FPGA resources, then the tables of energy and area."""
    console = output()
    console.print(f"{accelerator.name} ({accelerator.family}): {accelerator.description}\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("parameter", "value", "source", ""):
        table.add_column(name, overflow="fold")
    rows = list(parameters(accelerator))
    above = ""
    for path, value, kind, text in rows:
        known = kind in ("read", "derived")
        mark = kind if known else kind.upper() or "UNSOURCED"
        table.add_row(path, value, mark, text if text != above else "as above", style="" if known else "yellow")
        above = text
    console.print(table)
    assumed = sum(kind not in ("read", "derived") for _, _, kind, _ in rows)
    console.print(f"\n{len(rows)} parameters, {assumed} of them assumed or without a source\n")
    _print_size(console, accelerator)
    energies = energy_table(accelerator.technology.energy_table)
    node = f" ({energies.node_nm:g} nm)" if energies.node_nm is not None else ""
    _print_sources(console, f"energy table {energies.name}{node}:", energies.sources)
    if accelerator.technology.area_table is not None:
        areas = area_table(accelerator.technology.area_table)
        _print_sources(console, f"\narea table {areas.name} ({areas.node_nm:g} nm):", areas.sources)


def _print_size(console: Console, accelerator: Accelerator) -> None:
    """Area by component, and FPGA resources beside what the part has."""
    lines = Table(box=None, pad_edge=False, show_header=False)
    size = area(accelerator)
    if size is not None:
        lines.add_row("area", f"{size.total_mm2:.4g} mm2", "")
        for name, part in size.parts().items():
            if part:
                lines.add_row(f"  {name}", f"{part:.4g} mm2", f"{part / size.total_mm2:.1%}")
    for name, used in fpga_resources(accelerator).items():
        there = getattr(accelerator.technology.fpga, name)
        lines.add_row(name.upper(), f"{used:,.0f} of {there:,}", f"{used / max(there, 1):.0%}")
    if not lines.row_count:
        lines.add_row("area", "not known: no area table, no die and no FPGA part is named")
    console.print(lines)
    console.print()


def _print_sources(console: Console, title: str, sources: Mapping[str, str]) -> None:
    console.print(title)
    entries = Table(box=None, pad_edge=False, show_header=False)
    for path, source in sources.items():
        entries.add_row(path, source)
    console.print(entries)

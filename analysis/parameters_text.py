"""An accelerator's parameters with their sources, assumptions marked."""

from __future__ import annotations

from rich.table import Table

from accelerators import Accelerator
from accelerators.tables import energy_table
from analysis.console import output
from analysis.listing import parameters


def print_parameters(accelerator: Accelerator) -> None:
    """A table of every parameter that the description sets, then the energy table."""
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
    energies = energy_table(accelerator.technology.energy_table)
    console.print(f"energy table {energies.name} ({energies.node_nm:g} nm):")
    entries = Table(box=None, pad_edge=False, show_header=False)
    for path, source in energies.sources.items():
        entries.add_row(path, source)
    console.print(entries)

"""The table of `zerocast lower --flops`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from zerocast.analysis.commands.printing.console import output
from zerocast.analysis.run.counted import Count, counted, published_step, size_bytes, weights_of

if TYPE_CHECKING:
    from zerocast.workloads.ir import Workload


def print_flops(workload: Workload) -> None:
    """A line for each pass, their sum, and the step as papers count it; below, weights and their size."""
    by_pass = counted(workload)
    lines: dict[str, Count] = dict(by_pass)  # type: ignore[arg-type]
    lines["all"] = sum(by_pass.values(), Count())
    if workload.meta.get("training"):
        lines["as published"] = published_step(workload)
    table = Table(box=None, pad_edge=False)
    columns = ("pass", "MACs", "effectual MACs", "share", "FLOPs", "effectual FLOPs", "other FLOPs", "bit operations")
    for column in columns:
        table.add_column(column, justify="left" if column == "pass" else "right")
    for name, count in lines.items():
        share = f"{count.effectual_macs / count.macs:.4f}" if count.macs else ""
        figures = (count.flops, count.effectual_flops, count.other_flops, count.bit_operations)
        numbers = (f"{count.macs:,.0f}", f"{count.effectual_macs:,.0f}", share, *(f"{each:.4g}" for each in figures))
        table.add_row(name, *numbers)
    console = output()
    console.print(table)
    weights = weights_of(workload).values()
    kept = sum(round(elements * pattern.density) for elements, pattern in weights)
    console.print(
        f"{sum(elements for elements, _ in weights):,} weights, {kept:,} of them kept; "
        f"{size_bytes(workload) / 1e6:.4g} MB as 4 bytes each and a bit for each place of a pruned weight"
    )
    if workload.meta.get("training"):
        console.print("as published: products alone, with an input gradient of the first layer, as papers count a step")

"""The table of `zerocast lower --explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from zerocast.analysis.commands.console import output

if TYPE_CHECKING:
    from zerocast.workloads.fates import Fate


def print_fates(fates: Sequence[Fate]) -> None:
    """A line for each node, in the graph's order, and how many became ops."""
    table = Table(box=None, pad_edge=False)
    for column in ("node", "operator", "layer", "became"):
        table.add_column(column, overflow="fold")
    for fate in fates:
        table.add_row(fate.node, fate.operator, fate.layer, "; ".join(fate.ops) or f"nothing: {fate.why}")
    console = output()
    console.print(table)
    kinds = Counter("became ops" if fate.ops else "need none" for fate in fates)
    console.print(f"{len(fates)} nodes: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))

"""The table of `zerocast lower --explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from zerocast.analysis.commands.printing.console import output

if TYPE_CHECKING:
    from zerocast.workloads.explanation import ExplainedNode


def print_nodes(nodes: Sequence[ExplainedNode]) -> None:
    """A line for each node, in the graph's order, and how many became ops."""
    table = Table(box=None, pad_edge=False)
    for column in ("node", "operator", "layer", "became"):
        table.add_column(column, overflow="fold")
    for node in nodes:
        table.add_row(node.node, node.operator, node.layer, "; ".join(node.ops) or f"nothing: {node.why}")
    console = output()
    console.print(table)
    kinds = Counter("became ops" if node.ops else "need none" for node in nodes)
    console.print(f"{len(nodes)} nodes: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))

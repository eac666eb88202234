"""What is told of an iteration over groups of cards: its time, and a row for each stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from zerocast.analysis.units import several, si, times
from zerocast.simulator.cards import Iteration


def tell_iteration(console: Console, found: Sequence[Iteration], folder: Path) -> None:
    """Print an iteration, beside that of the baseline where there are two, and write iteration.json."""
    print_iteration(console, *found)
    facts = asdict(found[0]) | {"idle_share": found[0].idle_share}
    (folder / "iteration.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def print_iteration(console: Console, found: Iteration, baseline: Iteration | None = None) -> None:
    """Stages and totals of an iteration, beside that of the baseline."""
    layout = found.layout
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("stage", "layers"):
        table.add_column(title, overflow="fold")
    for title in ("micro-batch", "update", "gradients of replicas", "memory of a card"):
        table.add_column(title, justify="right")
    for number, stage in enumerate(found.stages, 1):
        times_s = stage.micro_batch_s, stage.update_s, stage.reduce_s
        table.add_row(str(number), f"{stage.first_layer} to {stage.last_layer}", *(si(each, "s") for each in times_s),
                      si(stage.memory_bytes, "B"))  # fmt: skip
    console.print()
    console.print(table)
    beside = ""
    if baseline is not None:
        beside = f" (baseline {si(baseline.latency_s, 's')}, {times(baseline.latency_s / found.latency_s)})"
    replicas = f"each of {layout.data_parallel} replicas of " if layout.data_parallel > 1 else ""
    console.print(
        f"iteration of {several(layout.micro_batches, 'micro-batch', 'es')} on {replicas}"
        f"{several(layout.pipeline, 'stage')}, {several(found.cards, 'card')}: {si(found.latency_s, 's')}{beside}, "
        f"{si(found.energy_j, 'J')}; the cards wait for one another {found.idle_share:.1%} of it",
        soft_wrap=True,
    )

"""The verb `why`: where the time of a layer goes, and what would shorten it most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_BAR = 40
"""Width of the longest bar, in characters."""
_LEAST = 0.0005
"""Share of the time below which a part is not printed."""


def why_command(
    folder: Annotated[Path, typer.Argument(help="The --out folder of a `zerocast run`.")],
    layer: Annotated[str, typer.Argument(help="Layer or op, as in its ops.csv.")],
) -> None:
    """Explain the time of one layer of a run.

    Its ideal time, what each cause adds, and the three changes of design or recipe that shorten it most, each priced.
    """
    from zerocast.accelerators import load
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.run.network import lower
    from zerocast.analysis.units import si
    from zerocast.analysis.why import CAUSES, best_changes, load_record, waterfall
    from zerocast.analysis.why.changes import rows_of, told
    from zerocast.simulator import simulate

    asked = load_record(folder)
    machine = load(asked.accelerator, asked.settings)
    with progress() as steps:
        workload = lower(asked.network, steps)
        with steps("simulate") as step:
            result = simulate(workload, machine, progress=step, **asked.options)
        rows = rows_of(result, layer)
        parts = waterfall(rows, result.clock_hz, machine.launch_s)
        with steps("price changes") as step:
            changes = best_changes(asked, workload, layer, step=step)
    console = output()
    total_s, longest = sum(row.latency_s for row in rows), max(parts.values(), default=0.0) or 1.0
    console.print(f"{layer} on {result.accelerator}: {si(total_s, 's')} in {len(rows)} ops")
    for cause, seconds in parts.items():
        if abs(seconds) < _LEAST * total_s:
            continue
        bar = "#" * round(_BAR * seconds / longest)
        console.print(
            f"  {cause:14}{si(seconds, 's'):>9}  {seconds / (total_s or 1):4.0%}  {bar}  {CAUSES[cause]}",
            soft_wrap=True,
        )
    lines = told(changes)
    console.print(
        "one change at a time, mapped anew; by how much the time of this layer changes:"
        if lines
        else "no change that was tried shortens it"
    )
    for line in lines:
        console.print(f"  {line}", soft_wrap=True)

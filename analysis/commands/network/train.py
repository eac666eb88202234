"""The verb `train`: what a whole training run costs under a schedule of recipes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerocast.analysis.commands.command_line import (
    AcceleratorName,
    Checkpoint,
    Dense,
    Image,
    ModelArguments,
    Optimizer,
    Regime,
    Settings,
    TensorParallel,
    Tokens,
    Update,
    network_of,
    values_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zerocast.analysis.train import Trained

_OPTION = typer.Option
_NOTHING = 1e-3
"""Share of the time that is not worth a word."""


def train_command(
    model: Annotated[str, typer.Argument(help="Zoo name, hf:NAME_OR_DIR, or path/to/file.py:factory.")],
    schedule: Annotated[str, _OPTION("--schedule", help="What is pruned when; see `zerocast list schedules`.")],
    steps: Annotated[int, _OPTION("--steps", help="Training steps of one run.")],
    accelerator: AcceleratorName,
    out: Annotated[Path, _OPTION("--out", help="Folder for the table, the picture and what was priced.")],
    recipe: Annotated[
        str | None,
        _OPTION("--recipe", help="What the schedule varies, less the numbers that it gives: magnitude:erk, bdwp."),
    ] = None,
    batch: Annotated[int | None, _OPTION("--batch", help="Samples in one step.")] = None,
    optimizer: Optimizer = None,
    update: Update = None,
    checkpoint: Checkpoint = None,
    dtype: Annotated[str | None, _OPTION("--dtype", help="Type of all floating tensors; fp16 by default.")] = None,
    tokens: Tokens = None,
    image: Image = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
    settings: Settings = None,
    regime: Regime = None,
    tensor_parallel: TensorParallel = None,
) -> None:
    """Price a whole training run under a schedule of recipes.

    Distinct steps are priced once; time, energy, operations, bytes, weights and memory are integrated over all.
    """
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.values import OWN_OPTIONS
    from zerocast.analysis.train import train
    from zerocast.analysis.train.picture import write_picture
    from zerocast.workloads.schedules import parse_schedule

    if out.exists() and not out.is_dir():
        raise AnalysisError(f"--out {str(out)!r} is a file; name a folder")
    parsed = parse_schedule(schedule, recipe)
    network = network_of(model, training=True, batch=batch, optimizer=optimizer, dtype=dtype, tokens=tokens,
                         image=image, update=update, checkpoint=checkpoint, dense=dense,
                         model_arguments=model_arguments, own=OWN_OPTIONS | {"cache": ""})  # fmt: skip
    values = values_of(settings, accelerator, tensor_parallel, regime)
    with progress() as announce:
        trained = train(network, parsed, steps, accelerator, out, settings=values, announce=announce)
    console = output()
    print_trained(console, trained)
    for path in (*write_tables(trained, out), write_picture(trained, out)):
        console.print(f"written: {path}", soft_wrap=True)


def write_tables(trained: Trained, folder: Path) -> tuple[Path, Path]:
    """train.csv, a row for each part, and train.json, the totals; their paths."""
    import pandas

    table, totals = folder / "train.csv", folder / "train.json"
    pandas.DataFrame([asdict(part) for part in trained.parts]).to_csv(table, index=False)
    columns = ("time_s", "energy_j", "flops", "dense_flops", "dram_bytes")
    facts = {
        "model": trained.model, "accelerator": trained.accelerator, "schedule": trained.schedule.text,
        "steps": trained.steps, **{name: trained.total(name) for name in columns},
        **{f"dense_{name}": getattr(trained.dense, name) for name in ("time_s", "energy_j", "dram_bytes")},
        "average_weights": trained.average_weights, "parameters": trained.parameters,
        "peak_bytes": trained.peak_bytes, "masks_made": trained.masks_made, "weights_pruned": trained.pruned,
        "weights_regrown": trained.regrown, "weights_swapped": trained.total("swapped"),
        "points_priced": trained.distinct, "interpolation_error": trained.bend,
    }  # fmt: skip
    totals.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return table, totals


def print_trained(console: Console, trained: Trained) -> None:
    """A row for each part, the run beside the dense one, and what is between priced points."""
    from rich.table import Table

    from zerocast.analysis.units import duration, si, times

    table = Table(box=None, header_style="bold")
    table.add_column("part")
    for title in ("from step", "steps", "time", "energy", "operations", "DRAM", "weights", "memory"):
        table.add_column(title, justify="right")
    run = ("run", 0.0, trained.steps, trained.average_weights, trained.peak_bytes)
    rows = [(part.what, part.first_step, part.steps, part.weights, part.peak_bytes) for part in trained.parts]
    totals: list[Callable[[str], float]] = [partial(getattr, part) for part in (*trained.parts, trained.dense)]
    dense = ("run, dense", 0.0, trained.steps, trained.parameters, trained.dense.peak_bytes)
    for (what, first, steps, weights, peak), total in zip(
        [*rows, run, dense], [*totals[:-1], trained.total, totals[-1]], strict=True
    ):
        table.add_row(
            what, _number(first), _number(steps), duration(total("time_s")), si(total("energy_j"), "J"),
            si(total("flops"), "FLOP"), si(total("dram_bytes"), "B"), si(weights) if weights else "",
            si(peak, "B") if peak else "",
        )  # fmt: skip
    console.print(table)
    density = trained.density
    pruned = "" if math.isnan(density) else f"; of the weights that the recipe prunes {density:.4g}"
    console.print(
        f"\nagainst dense: time {times(trained.dense.time_s / trained.time_s)}, operations "
        f"{trained.total('flops') / trained.dense.flops:.3f} of them, weights on average "
        f"{trained.average_weights / trained.parameters:.3f} of {si(trained.parameters)}{pruned}",
        soft_wrap=True,
    )
    if trained.total("flops") < trained.dense.flops and trained.time_s >= trained.dense.time_s * (1 - _NOTHING):
        console.print(f"{trained.accelerator} saves no time by these zeros", soft_wrap=True)
    console.print(
        f"{trained.distinct} points priced; what lies between them is on straight lines, which miss {trained.bend:.2%} "
        "of a ramp's time or energy, as their middles tell",
        soft_wrap=True,
    )
    swapped = trained.total("swapped")
    masks = (
        f"{trained.masks_made:,} new masks priced" if trained.masks_made
        else f"masks that move swap {si(swapped)} weights" if swapped
        else "no new masks priced (mask=STEPS)"
    )  # fmt: skip
    console.print(f"{masks}; {si(trained.pruned)} weights pruned, {si(trained.regrown)} regrown", soft_wrap=True)


def _number(steps: float) -> str:
    """Steps, of which a share of the run may be no whole number."""
    return f"{round(steps, 1):,.10g}"

"""The verb `compare`: recipes, types and batches of one network on several accelerators, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerocast.analysis.commands.command_line import (
    Cache,
    Checkpoint,
    Dense,
    Image,
    ModelArguments,
    Optimizer,
    Settings,
    Tokens,
    Update,
    Weights,
    listed,
    load_accelerator,
    network_of,
    sizes_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zerocast.accelerators import Accelerator
    from zerocast.analysis.compare import Ranked, Tried

_OPTION = typer.Option
SHOWN = 30
"""Rows on the screen; the page has them all."""


def compare_command(
    model: Annotated[str, typer.Argument(help="Zoo name, hf:NAME_OR_DIR or path/to/file.py:factory.")],
    accelerator: Annotated[str, _OPTION("--accelerator", help="Templates or YAML files, as A,B,C.")],
    prune: Annotated[str, _OPTION("--prune", help="Recipes, as dense,nm:2:4,magnitude:0.2.")] = "dense",
    dtype: Annotated[
        str | None,
        _OPTION("--dtype", help="Types of all floating tensors, as bf16,fp8,w4a16; the network's own, else fp16."),
    ] = None,
    batch: Annotated[str | None, _OPTION("--batch", help="Samples in one step, as 1,8,64.")] = None,
    training: Annotated[bool, _OPTION("--training", help="A training step, not inference.")] = False,
    optimizer: Optimizer = None,
    update: Update = None,
    checkpoint: Checkpoint = None,
    tokens: Tokens = None,
    cache: Cache = None,
    weights: Weights = None,
    image: Image = None,
    settings: Settings = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
    regime: Annotated[
        str | None, _OPTION("--regime", help="Software on GPUs, as eager,compiled,engine; graph where nothing is said.")
    ] = None,
    out: Annotated[Path, _OPTION("--out", help="Folder for the page, the picture and the table.")] = Path("compare"),
) -> None:
    """Rank recipes, types and batches of a network on several accelerators.

    Each case is compared with the dense one of the same machine, type and batch; cases that cannot be priced are named.
    """
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.compare import Question, ask, rank
    from zerocast.analysis.compare.picture import write_page
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.network import check, title_of

    recipes = listed("--prune", prune)
    network = network_of(model, training=training, optimizer=optimizer, update=update, checkpoint=checkpoint,
                         tokens=tokens, image=image, cache=cache, weights=weights, dense=dense,
                         model_arguments=model_arguments)  # fmt: skip
    machines = [load_accelerator(name, settings) for name in listed("--accelerator", accelerator)]
    if regime is not None:
        machines = _under_regimes(machines, listed("--regime", regime))
    question = Question(
        network, machines, recipes,
        [None] if dtype is None else listed("--dtype", dtype), [None] if batch is None else sizes_of("--batch", batch),
    )  # fmt: skip
    for case in question.cases():
        check(replace(network, prune=None if case.recipe == "dense" else case.recipe, batch=case.batch,
                      dtype=case.dtype, dense=()))  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    tried: list[Tried] = []
    with progress() as steps:
        for each in ask(question, steps):
            tried.append(each)
            write_table(rank(tried), out / "compare.csv")  # what is priced stays, whatever comes
    rows = rank(tried)
    if not rows:
        raise AnalysisError(f"none of the {len(tried)} cases can be priced: {tried[0].case.label}: {tried[0].reason}")
    console = output()
    print_ranking(console, rows, tried)
    page = write_page(f"{title_of(model)}: {len(rows)} cases", rows, tried, out)
    console.print(f"\nwritten: {page}", soft_wrap=True)


def _under_regimes(machines: Sequence[Accelerator], regimes: Sequence[str]) -> list[Accelerator]:
    """Each GPU under each regime, which its name then tells; other machines as they are."""
    from zerocast.accelerators.library import with_regime

    found = []
    for machine in machines:
        under = [with_regime(machine, regime) for regime in regimes] if machine.gpu is not None else [machine]
        found += [
            each.model_copy(update={"name": f"{each.name} ({each.gpu.regime})"}) if each.gpu is not None else each
            for each in under
        ]
    return found


def write_table(rows: Sequence[Ranked], file: Path) -> None:
    """All figures of the cases as CSV."""
    import pandas

    columns = ("latency_s", "low_s", "high_s", "per_sample_s", "energy_j", "dram_bytes", "peak_bytes", "speedup",
               "energy_ratio", "limit")  # fmt: skip
    facts = [
        asdict(row.case) | {column: getattr(row, column) for column in columns} | {"losing": ";".join(row.losing)}
        for row in rows
    ]
    pandas.DataFrame(facts).to_csv(file, index=False)


def print_ranking(console: Console, rows: Sequence[Ranked], tried: Sequence[Tried]) -> None:
    """The table, what pays from when on, and what has no price."""
    from rich.table import Table

    from zerocast.analysis.compare import pays_from
    from zerocast.analysis.compare.picture import TITLES, cells

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        table.add_column(title, justify="left" if title in ("case", TITLES[-1]) else "right")
    for at, row in enumerate(rows[:SHOWN], 1):
        table.add_row(*cells(at, row))
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"the best {SHOWN} of {len(rows)}; compare.csv has all", style="dim")
    for text in pays_from(rows):
        console.print(text)
    for row in rows:
        if row.losing:
            console.print(f"{row.case.label}: {len(row.losing)} layers run dense, their zeros would cost time")
    for each in tried:
        if each.result is None:
            console.print(f"no price: {each.case.label}: {each.reason}", soft_wrap=True)

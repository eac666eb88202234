"""The verb `serve`: what a language model costs to serve, batch by batch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerocast.analysis.commands.command_line import (
    AcceleratorName,
    Dense,
    ModelArguments,
    Regime,
    Settings,
    TensorParallel,
    Weights,
    load_accelerator,
    network_of,
    sizes_of,
    with_cards,
    writable,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zerocast.analysis.serve import Serving

_OPTION = typer.Option


def serve_command(
    model: Annotated[str, typer.Argument(help="hf:NAME_OR_DIR, or path/to/file.py:factory with tokens and cache.")],
    accelerator: AcceleratorName,
    prompt: Annotated[int, _OPTION("--prompt", help="Tokens of a prompt.")] = 1024,
    generate: Annotated[int, _OPTION("--generate", help="Tokens to make for each prompt.")] = 128,
    batch: Annotated[str, _OPTION("--batch", help="Sequences at once; several sizes as 1,8,64.")] = "1",
    rate: Annotated[float | None, _OPTION("--rate", help="Requests per second that arrive one by one.")] = None,
    prune: Annotated[str | None, _OPTION("--prune", help="Recipe; see `zerocast list recipes`.")] = None,
    dtype: Annotated[str | None, _OPTION("--dtype", help="Types, fp16 by default; w4a16 etc.")] = None,
    regime: Regime = None,
    tensor_parallel: TensorParallel = None,
    weights: Weights = None,
    allow_overflow: Annotated[
        bool, _OPTION("--allow-overflow", help="Price what needs more memory than the accelerator has.")
    ] = False,
    settings: Settings = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
    out: Annotated[Path | None, _OPTION("--out", help="CSV file for the rows.")] = None,
) -> None:
    """Price the serving of a causal language model.

    Time to the first token, time and energy of each one after, tokens per second, memory, the largest batch that fits.
    """
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.run.network import check
    from zerocast.analysis.serve import serve

    if out is not None:
        writable(out, "a table")
    own = {"batch": "--batch", "tokens": "--prompt", "cache": "--prompt"}
    network = network_of(model, prune=prune, dtype=dtype, weights=weights, dense=dense, own=own,
                         model_arguments=model_arguments)  # fmt: skip
    check(network)
    machine = load_accelerator(accelerator, with_cards(settings, accelerator, tensor_parallel), regime)
    with progress() as steps:
        serving = serve(network, machine, prompt, generate, sizes_of("--batch", batch), steps, rate, allow_overflow)
    console = output()
    print_serving(console, serving)
    if out is not None:
        import pandas

        pandas.DataFrame([asdict(row) for row in serving.rows]).to_csv(out, index=False)
        console.print(f"\nwritten: {out}", soft_wrap=True)


def print_serving(console: Console, serving: Serving) -> None:
    """The rows as a table, then what fits, what is between priced steps, and what requests meet."""
    from rich.table import Table

    from zerocast.analysis.units import si

    table = Table(box=None, header_style="bold")
    for title in ("batch", "first token", "per token", "request", "tokens/s", "energy/token", "memory", ""):
        table.add_column(title, justify="right")
    for row in serving.rows:
        times = (si(time, "s") for time in (row.first_token_s, row.token_s, row.request_s))
        rest = (si(row.token_j, "J"), si(row.peak_bytes, "B"), "" if row.fits else "does not fit")
        table.add_row(str(row.batch), *times, f"{row.tokens_per_s:,.0f}", *rest)
    console.print(table)
    if serving.largest_batch is not None:
        console.print(f"\nlargest batch that fits: {serving.largest_batch}")
    bend = max(abs(row.bend) for row in serving.rows)
    console.print(f"steps between the first and the last are on a straight line, {bend:.1%} off in the middle")
    if serving.load is not None:
        load = serving.load
        console.print(
            f"at {load.rate_per_s:g} requests/s: first token {si(load.first_token_p50_s, 's')} (99 %: "
            f"{si(load.first_token_p99_s, 's')}), per token {si(load.token_p50_s, 's')} (99 %: "
            f"{si(load.token_p99_s, 's')}), {load.tokens_per_s:,.0f} tokens/s, {load.batch:.1f} sequences a step"
            + ("" if load.keeps_up else "; more arrive than are finished, the queue grows")
        )

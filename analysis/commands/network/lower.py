"""The verb `lower`: save a network as a workload file, and say what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerocast.analysis.commands.command_line import (
    AllowUnknown,
    Batch,
    Cache,
    Checkpoint,
    Dense,
    Dtype,
    Image,
    MaskUpdate,
    Model,
    ModelArguments,
    Optimizer,
    Prune,
    Tokens,
    Training,
    Update,
    Weights,
    network_of,
    writable,
)

_OPTION = typer.Option


def lower_command(
    model: Model,
    out: Annotated[Path | None, typer.Option("--out", help="File to write, .npz.")] = None,
    explain: Annotated[bool, _OPTION("--explain", help="Print what every node of the graph became.")] = False,
    flops: Annotated[bool, _OPTION("--flops", help="Print MACs and FLOPs by pass, dense and effectual.")] = False,
    prune: Prune = None,
    training: Training = False,
    batch: Batch = None,
    optimizer: Optimizer = None,
    update: Update = None,
    checkpoint: Checkpoint = None,
    dtype: Dtype = None,
    allow_unknown: AllowUnknown = False,
    trace: Annotated[str | None, _OPTION("--trace", help="Activation zeros, from `zerocast trace`.")] = None,
    masks: Annotated[bool, _OPTION("--masks", help="With --trace: keep the masks of its first samples.")] = False,
    tokens: Tokens = None,
    cache: Cache = None,
    weights: Weights = None,
    image: Image = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
    mask_update: MaskUpdate = None,
) -> None:
    """Save a network as a workload file.

    The other commands read it without PyTorch, and without the model's code.
    """
    from zerocast.analysis.commands.printing.console import progress
    from zerocast.analysis.commands.printing.explanation import print_nodes
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.network import explained
    from zerocast.analysis.run.network import lower as lower_network

    if out is None and not (explain or flops):
        raise AnalysisError("lower: give --out FILE.npz to write to, --explain or --flops, or several of them")
    if out is not None:
        writable(out, "a workload file", [".npz"])
    if masks and (trace is None or training):
        raise AnalysisError("--masks belongs to --trace, and to inference: those of training are not recorded")
    network = network_of(
        model, prune=prune, training=training, batch=batch, optimizer=optimizer, dtype=dtype, trace=trace, masks=masks,
        allow_unknown=allow_unknown, tokens=tokens, image=image, cache=cache, weights=weights, update=update,
        checkpoint=checkpoint, mask_update=mask_update, dense=dense, model_arguments=model_arguments,
    )  # fmt: skip
    if explain:
        with progress() as steps:
            nodes = explained(network, steps)
        print_nodes(nodes)
    if out is None and not flops:
        return
    with progress() as steps:
        workload = lower_network(network, steps)
    if flops:
        from zerocast.analysis.commands.printing.flops import print_flops

        print_flops(workload)
    if out is None:
        return
    from zerocast.workloads.files.store import save

    save(workload, out)
    typer.echo(f"{workload.name}: {len(workload.ops)} ops, {workload.macs:,} MACs, written: {out}")

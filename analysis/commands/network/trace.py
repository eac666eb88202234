"""The verb `trace`: run a network on photographs and write down where its activations are zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zerocast.analysis.commands.command_line import Dense, Image, ModelArguments, Tokens, writable

if TYPE_CHECKING:
    from rich.console import Console

    from zerocast.analysis.run.network import Steps
    from zerocast.workloads.tracing import TensorTrace, Trace

_OPTION = typer.Option


def trace_command(
    model: Annotated[str, typer.Argument(help="Zoo name or path/to/file.py:factory.")],
    out: Annotated[Path, _OPTION("--out", help="Trace to write, .npz.")],
    inputs: Annotated[str, _OPTION("--inputs", help="Folder of images, or builtin.")] = "builtin",
    images: Annotated[int | None, _OPTION("--images", help="How many, drawn with --seed; all without it.")] = None,
    seed: Annotated[int, _OPTION("--seed", min=0, help="Draws images, and those whose masks are kept.")] = 0,
    batch: Annotated[int | None, _OPTION("--batch", help="Images in one pass; the model's own without it.")] = None,
    prune: Annotated[str | None, _OPTION("--prune", help="Recipe to prune by first.")] = None,
    mask_bytes: Annotated[float, _OPTION("--mask-bytes", help="Most bytes of masks to keep; 0 for none.")] = 64e6,
    tokens: Tokens = None,
    image: Image = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
) -> None:
    """Measure where a network's activations are zero on real images.

    The trace holds densities per tensor, channel and token, and the masks of some of the images.
    """
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.values import arguments_of
    from zerocast.workloads.tracing import save_trace

    writable(out, "a trace", [".npz"])
    if batch is not None and batch < 1:
        raise AnalysisError(f"--batch {batch}: must be 1 or more")
    if mask_bytes < 0:
        raise AnalysisError(f"--mask-bytes {mask_bytes:g}: must be 0 or more")
    if dense and prune is None:
        raise AnalysisError("--dense: names layers that a recipe leaves alone; give the recipe with --prune")
    with progress() as steps:
        trace = measure(
            model, inputs, steps, images=images, seed=seed, batch=batch, prune=prune, mask_bytes=mask_bytes,
            tokens=tokens, image=image, arguments=dict(arguments_of(model_arguments or ())), dense=dense or (),
        )  # fmt: skip
        with steps("write the trace"):
            save_trace(trace, out)
    console = output()
    print_trace(console, trace)
    console.print(f"\nwritten: {out}", soft_wrap=True)


def measure(
    model: str,
    inputs: str,
    steps: Steps,
    *,
    images: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    prune: str | None = None,
    mask_bytes: float = 64e6,
    tokens: int | None = None,
    image: int | None = None,
    arguments: Mapping[str, Any] = MappingProxyType({}),
    dense: Sequence[str] = (),
) -> Trace:
    """The trace of a network on photographs; see `trace_command` for the arguments. Imports PyTorch.

    Images that do not fill a last batch are left out. Raises `AnalysisError` for a network that takes no square
    RGB images and for fewer images than a batch, `WorkloadError` for images, models and recipes that cannot be used.
    """
    import numpy as np

    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.network import title_of
    from zerocast.workloads import build, trace
    from zerocast.workloads import prune as apply_recipe
    from zerocast.workloads.tracing.photos import IMAGENET, SCALES, photo_files, read_photo

    files = photo_files(inputs, images, seed)
    with steps("build"):
        module, example = build(model, batch=batch, tokens=tokens, image=image, **arguments)
    shape = tuple(getattr(example[0], "shape", ()))
    if len(example) != 1 or len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise AnalysisError(
            f"model {model!r} takes no square RGB images (its inputs: {[tuple(x.shape) for x in example]}); "
            "trace it in Python with workloads.trace(model, inputs)"
        )
    rows = shape[0]
    if len(files) < rows:
        raise AnalysisError(f"--batch {rows}: there are only {len(files)} images in {inputs!r}")
    with steps("read images") as step:
        pictures = []
        for file in files[: len(files) // rows * rows]:
            pictures.append(read_photo(file, shape[-1], SCALES.get(model, IMAGENET)))
            step(len(pictures), len(files))
    runs = [np.stack(pictures[at : at + rows]) for at in range(0, len(pictures), rows)]
    if prune is not None:
        with steps("prune"):
            module, _ = apply_recipe(module, prune, example, dense=dense)
    with steps("trace") as step:
        return trace(module, runs, name=title_of(model), mask_bytes_limit=mask_bytes, seed=seed, progress=step)


def print_trace(console: Console, trace: Trace) -> None:
    """Table of the densities, a row per tensor, and the totals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("activation", overflow="fold")
    for name in ("shape", "elements", "density", "per channel", "per token"):
        table.add_column(name, justify="right", no_wrap=True)
    for tensor in trace.tensors.values():
        table.add_row(*_row(tensor))
    console.print(table)
    console.print(
        f"\n{trace.model}: {trace.runs} runs of batch {trace.batch}, {1 - trace.density:.3f} of all activation "
        f"elements that feed a contraction are zero; masks of {len(trace.sampled)} runs kept",
        soft_wrap=True,
    )


def _row(tensor: TensorTrace) -> list[str]:
    shape = "x".join(map(str, tensor.shape))
    ranges = [
        "" if shares is None else f"{shares.min():.2f} .. {shares.max():.2f}"
        for shares in (tensor.channels, tensor.tokens)
    ]
    return [tensor.name, shape, f"{tensor.run_elements:,}", f"{tensor.density:.3f}", *ranges]

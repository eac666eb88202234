"""The verb `run`: simulate a network and write a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerocast.analysis.commands.command_line import (
    FIDELITIES,
    OBJECTIVES,
    AcceleratorName,
    AllowUnknown,
    Baseline,
    Batch,
    Cache,
    Checkpoint,
    DataParallel,
    Dense,
    Dtype,
    Fidelity,
    Folder,
    GivenMapping,
    Image,
    MaskUpdate,
    MicroBatches,
    Model,
    ModelArguments,
    Objective,
    Optimizer,
    Pipeline,
    Prune,
    Regime,
    Settings,
    TensorParallel,
    Tokens,
    Training,
    Update,
    Weights,
    layout_of,
    load_accelerator,
    network_of,
    values_of,
    with_cards,
)

if TYPE_CHECKING:
    from zerocast.accelerators import Accelerator
    from zerocast.analysis.why import Asked
    from zerocast.simulator.cards import Layout

_OPTION = typer.Option


def run_command(
    model: Model,
    accelerator: AcceleratorName,
    out: Folder,
    prune: Prune = None,
    training: Training = False,
    batch: Batch = None,
    optimizer: Optimizer = None,
    update: Update = None,
    checkpoint: Checkpoint = None,
    baseline: Baseline = None,
    fidelity: Fidelity = "analytic",
    objective: Objective = "latency",
    mapping: GivenMapping = None,
    settings: Settings = None,
    dtype: Dtype = None,
    allow_unknown: AllowUnknown = False,
    allow_overflow: Annotated[
        bool, _OPTION("--allow-overflow", help="Price what needs more memory than the accelerator has.")
    ] = False,
    trace: Annotated[str | None, _OPTION("--trace", help="Activation zeros, from `zerocast trace`.")] = None,
    tokens: Tokens = None,
    cache: Cache = None,
    weights: Weights = None,
    image: Image = None,
    model_arguments: ModelArguments = None,
    dense: Dense = None,
    mask_update: MaskUpdate = None,
    regime: Regime = None,
    tensor_parallel: TensorParallel = None,
    pipeline: Pipeline = None,
    data_parallel: DataParallel = None,
    micro_batches: MicroBatches = None,
) -> None:
    """Simulate a network and write a report.

    The network is pruned by a recipe and compared with its dense self, best mapped, on the same accelerator.
    """
    from zerocast.analysis.run.values import one_of
    from zerocast.analysis.why import Asked

    one_of("--fidelity", fidelity, FIDELITIES)
    one_of("--objective", objective, OBJECTIVES)
    network = network_of(
        model, prune=prune, training=training, batch=batch, optimizer=optimizer, dtype=dtype, trace=trace,
        allow_unknown=allow_unknown, masks=fidelity == "tile", tokens=tokens, image=image, cache=cache, weights=weights,
        update=update, checkpoint=checkpoint, mask_update=mask_update, dense=dense, model_arguments=model_arguments,
    )  # fmt: skip
    machine = load_accelerator(accelerator, with_cards(settings, accelerator, tensor_parallel), regime)
    layout = layout_of(machine, pipeline, data_parallel, micro_batches)
    asked = Asked(network, accelerator, values_of(settings, accelerator, tensor_parallel, regime), {
        "objective": objective, "fidelity": fidelity, "allow_overflow": allow_overflow,
        "mapping": None if mapping is None else str(mapping),
    })  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    _run(asked, machine, baseline, layout, out)


def _run(asked: Asked, machine: Accelerator, baseline: str | None, layout: Layout | None, out: Path) -> None:
    """Price what is asked, write its files into the folder, and tell it."""
    from zerocast.analysis.commands.printing.console import output, progress
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.reports.iteration_text import tell_iteration
    from zerocast.analysis.reports.page import report
    from zerocast.analysis.reports.summary_text import print_run
    from zerocast.analysis.run.network import compare
    from zerocast.analysis.why import save_record
    from zerocast.simulator import DoesNotFit
    from zerocast.simulator.cards import iteration

    overflows = asked.options["allow_overflow"]  # of stages, where there are any: they are what must fit
    options = {**asked.options, "allow_overflow": overflows or layout is not None}
    with progress() as steps:
        try:
            result, other = compare(asked.network, machine, steps, baseline=baseline, **options)
        except DoesNotFit as error:
            cards = "--pipeline and --tensor-parallel take several cards, " if machine.gpu and machine.gpu.link else ""
            raise AnalysisError(f"{error}; {cards}--allow-overflow prices it all the same") from None
        runs = [run for run in (result, other) if run is not None]
        iterations = [] if layout is None else [iteration(run, machine, layout, overflows) for run in runs]
        with steps("write the report"):
            page = report(result, other, out, machine)
            save_record(asked, out)
    console = output()
    print_run(console, result, other, machine)
    if iterations:
        tell_iteration(console, iterations, out)
    console.print(f"\nwritten: {page}", soft_wrap=True)

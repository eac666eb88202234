"""The command `zerocast`. Every import that takes time is made inside the command that needs it."""

from __future__ import annotations

import gc
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zerocast.analysis.commands.command_line import (
    FIDELITIES,
    OBJECTIVES,
    AcceleratorName,
    Cache,
    Checkpoint,
    DataParallel,
    Dense,
    Fidelity,
    GivenMapping,
    Image,
    MicroBatches,
    ModelArguments,
    Objective,
    Optimizer,
    Pipeline,
    Regime,
    Settings,
    TensorParallel,
    Tokens,
    Update,
    Weights,
    layout_of,
    load_accelerator,
    spare,
    with_cards,
    writable,
)
from zerocast.analysis.commands.compare import compare_command
from zerocast.analysis.commands.explore import explore_command, export_command, plot_command
from zerocast.analysis.commands.gemm import conv_command, gemm_command
from zerocast.analysis.commands.remark import note
from zerocast.analysis.commands.serve import serve_command
from zerocast.analysis.commands.trace import trace_command
from zerocast.analysis.commands.train import train_command
from zerocast.analysis.commands.validate import validate_command
from zerocast.analysis.commands.why import why_command
from zerocast.extras import MissingExtra

app = typer.Typer(
    help="Forecast what the zeros in a neural network are worth on hardware.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_OPTION = typer.Option
_ARGUMENT = typer.Argument
Prune = Annotated[str | None, _OPTION("--prune", help="Recipe; see `zerocast list recipes`.")]
Training = Annotated[bool, _OPTION("--training", help="A training step, not inference.")]
Batch = Annotated[int | None, _OPTION("--batch", help="Samples in one step.")]
MaskUpdate = Annotated[
    str | None, _OPTION("--mask-update", help="Of moving masks: amortised (default), never, or only (such a step).")
]
Dtype = Annotated[
    str | None, _OPTION("--dtype", help="Type of all floating tensors; fp16 by default; int8, w4a16 etc. in inference.")
]
AllowUnknown = Annotated[bool, _OPTION("--allow-unknown", help="Price unknown operators by their bytes.")]
Model = Annotated[str, _ARGUMENT(help="Zoo name, path/to/file.py:factory, or a saved workload .npz.")]
Baseline = Annotated[str | None, _OPTION("--baseline", help="dense, none, another recipe, or FILE.npz.")]
Folder = Annotated[Path, _OPTION("--out", help="Folder for tables, plots and the report.")]


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, _OPTION("--version", is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Forecast what the zeros in a neural network are worth on hardware."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"zerocast {installed('zerocast')}")
        raise typer.Exit


@app.command()
def run(
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
    from zerocast.analysis.run.network import Network, arguments_of, compare, one_of, overrides
    from zerocast.analysis.why import Asked, save_record

    one_of("--fidelity", fidelity, FIDELITIES)
    one_of("--objective", objective, OBJECTIVES)
    network = Network(model, prune, training, batch, optimizer, dtype, allow_unknown, trace, fidelity == "tile",
                      tokens, image, arguments_of(model_arguments or ()), tuple(dense or ()), cache,
                      weights, update, tuple(checkpoint or ()), mask_update)  # fmt: skip
    settings = with_cards(settings, accelerator, tensor_parallel)
    machine = load_accelerator(accelerator, settings, regime)
    layout = layout_of(machine, pipeline, data_parallel, micro_batches)
    asked = Asked(network, accelerator, overrides([*settings, *([f"gpu.regime={regime}"] if regime else ())]), {
        "objective": objective, "fidelity": fidelity, "allow_overflow": allow_overflow,
        "mapping": None if mapping is None else str(mapping),
    })  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    from zerocast.analysis.commands.console import output, progress
    from zerocast.analysis.reports.iteration_text import tell_iteration
    from zerocast.analysis.reports.page import report
    from zerocast.analysis.reports.summary_text import print_run
    from zerocast.simulator.cards import iteration

    with progress() as steps:
        result, other = compare(
            network, machine, steps, baseline=baseline, objective=objective, fidelity=fidelity,
            mapping=mapping, allow_overflow=allow_overflow or layout is not None,
        )  # fmt: skip
        runs = [run for run in (result, other) if run is not None]
        iterations = [iteration(run, machine, layout) for run in runs] if layout is not None else []
        with steps("write the report"):
            page = report(result, other, out, machine)
            save_record(asked, out)
    console = output()
    print_run(console, result, other, machine)
    if iterations:
        tell_iteration(console, iterations, out)
    console.print(f"\nwritten: {page}", soft_wrap=True)


@app.command("list")
def list_names(
    what: Annotated[str, typer.Argument(help="models, hub, recipes, schedules, accelerators or systems.")],
) -> None:
    """Name what there is to choose from."""
    from zerocast.analysis.commands import listing
    from zerocast.analysis.errors import AnalysisError

    kinds = {
        "models": listing.models,
        "hub": listing.hub,
        "recipes": listing.recipes,
        "schedules": listing.schedules,
        "accelerators": listing.accelerators,
        "systems": listing.systems,
    }
    if what not in kinds:
        raise AnalysisError(f"list {what!r}: choose {', '.join(list(kinds)[:-1])} or {list(kinds)[-1]}")
    typer.echo(listing.columns(kinds[what]()))


@app.command()
def show(
    accelerator: Annotated[str, _ARGUMENT(help="Template name or YAML file.")],
    settings: Settings = None,
    yaml: Annotated[bool, _OPTION("--yaml", help="As a YAML file, to be copied and changed.")] = False,
) -> None:
    """Print an accelerator's parameters and sources."""
    if yaml:
        from zerocast.accelerators import dump

        typer.echo(dump(load_accelerator(accelerator, settings)), nl=False)
        return
    from zerocast.analysis.commands.parameters import print_parameters

    print_parameters(load_accelerator(accelerator, settings))


@app.command()
def lower(
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
    from zerocast.analysis.commands.console import progress
    from zerocast.analysis.commands.explanation import print_nodes
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run.network import Network, arguments_of, explained
    from zerocast.analysis.run.network import lower as lower_network

    if out is None and not (explain or flops):
        raise AnalysisError("lower: give --out FILE.npz to write to, --explain or --flops, or several of them")
    if out is not None:
        writable(out, "a workload file", [".npz"])
    if masks and (trace is None or training):
        raise AnalysisError("--masks belongs to --trace, and to inference: those of training are not recorded")
    network = Network(model, prune, training, batch, optimizer, dtype, allow_unknown, trace, masks,
                      tokens, image, arguments_of(model_arguments or ()), tuple(dense or ()), cache,
                      weights, update, tuple(checkpoint or ()), mask_update)  # fmt: skip
    if explain:
        with progress() as steps:
            nodes = explained(network, steps)
        print_nodes(nodes)
    if out is None and not flops:
        return
    with progress() as steps:
        workload = lower_network(network, steps)
    if flops:
        from zerocast.analysis.commands.flops import print_flops

        print_flops(workload)
    if out is None:
        return
    from zerocast.workloads.files.store import save

    save(workload, out)
    typer.echo(f"{workload.name}: {len(workload.ops)} ops, {workload.macs:,} MACs, written: {out}")


@app.command(
    "measure",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def measure_command(context: typer.Context) -> int:
    """Measure GEMMs and networks on this machine's GPU.

    Its options are those of `python -m zerocast.analysis.measure`, which needs torch, numpy and pandas alone.
    """
    from zerocast.analysis.measure.__main__ import main as measure

    try:
        return measure(context.args)
    except SystemExit as stop:  # after --help
        return int(stop.code or 0)


@app.command()
def calibrate(
    measured: Annotated[Path, _ARGUMENT(help="File of `zerocast measure`, or CSV with columns M, N, K, us.")],
    accelerator: AcceleratorName,
    out: Annotated[Path, _OPTION("--out", help="Calibration to write, .yaml.")],
    settings: Settings = None,
    other_card: Annotated[
        bool, _OPTION("--other-card", help="Insist on measurements of a device that is not the accelerator.")
    ] = False,
) -> None:
    """Fit a GPU's constants to your own measurements.

    Use the file with `--set gpu.calibration=FILE.yaml`.
    """
    from zerocast.analysis.calibration.calibrate import calibrate as fit

    writable(out, "a calibration", [".yaml", ".yml"])
    spare(out, Path(accelerator))
    fitted = fit(measured, load_accelerator(accelerator, settings), out, other_card=other_card, say=note)
    for kind, own in fitted.items():
        bar = f"{math.expm1(own.calibrated.low):+.1%} to {math.expm1(own.calibrated.high):+.1%}"
        typer.echo(f"{kind}: {own.rows} products, 9 of 10 left-out ones measured within {bar} of the prediction")
    typer.echo(f"written: {out}; use it with --set gpu.calibration={out}")


app.command("gemm")(gemm_command)
app.command("conv")(conv_command)
app.command("validate")(validate_command)
app.command("compare")(compare_command)
app.command("why")(why_command)
app.command("serve")(serve_command)
app.command("train")(train_command)
app.command("trace")(trace_command)
app.command("explore")(explore_command)
app.command("export")(export_command)
app.command("plot")(plot_command)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 done, 1 a validation failed, 2 a mistake in what was asked for: one line `error: ...` on stderr.
    """
    from zerocast.analysis.errors import AnalysisError

    gc.set_threshold(100_000)  # what is imported stays; to look for rubbish in it took a tenth of the start
    command = typer.main.get_command(app)
    try:
        arguments = sys.argv[1:] if argv is None else argv
        status: Any = command.main(args=arguments or ["--help"], prog_name="zerocast", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return _fail("interrupted", 130)
    except (AnalysisError, OSError) as error:
        return _fail(_words(error))
    except Exception as error:
        if text := _mistake(error):
            return _fail(text)
        raise
    return status if isinstance(status, int) else 0


def _mistake(error: Exception) -> str:
    """The message of an error that the user can mend, "" for all others. The classes of the other rooms are
    looked up among the modules loaded, since a command that never needed a room must not import it."""
    for room, name in (("workloads", "WorkloadError"), ("accelerators", "AcceleratorError"),
                       ("simulator", "SimulationError")):  # fmt: skip
        kind = getattr(sys.modules.get(f"zerocast.{room}.errors"), name, None)
        if kind is not None and isinstance(error, kind):
            return str(error)
    if isinstance(error, MissingExtra):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return "PyTorch is needed to lower a model: install torch, or run a saved workload (.npz)"
    # usage errors: typer vendors the library that defines them, so they are known by what they offer
    words = getattr(error, "format_message", None)
    return str(words()) if callable(words) else ""


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(message: str, status: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status

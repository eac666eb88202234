"""The command `zerocast`. Every import that takes time is made inside the command that needs it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zerocast.analysis.explore_commands import explore_command, export_command, plot_command
from zerocast.analysis.remark import note
from zerocast.analysis.trace_command import trace_command
from zerocast.extras import MissingExtra

if TYPE_CHECKING:
    from zerocast.accelerators import Accelerator
    from zerocast.analysis.run import Step

app = typer.Typer(
    help="Forecast what the zeros in a neural network are worth on hardware.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_OPTION = typer.Option
_ARGUMENT = typer.Argument
AcceleratorName = Annotated[str, _OPTION("--accelerator", help="Template name or YAML file.")]
Settings = Annotated[list[str] | None, _OPTION("--set", metavar="KEY=VALUE", help="E.g. compute.rows=64.")]
Objective = Annotated[
    str, _OPTION("--objective", help="Choose mappings for latency, energy, edp or cycles (of the array alone).")
]
Prune = Annotated[str | None, _OPTION("--prune", help="Recipe; see `zerocast list recipes`.")]
Training = Annotated[bool, _OPTION("--training", help="A training step, not inference.")]
Batch = Annotated[int | None, _OPTION("--batch", help="Samples in one step.")]
Optimizer = Annotated[str | None, _OPTION("--optimizer", help="sgd_momentum or adamw.")]
Dtype = Annotated[
    str | None, _OPTION("--dtype", help="Type of all floating tensors; fp16 by default, int8 etc. in inference.")
]
AllowUnknown = Annotated[bool, _OPTION("--allow-unknown", help="Price unknown operators by their bytes.")]
Model = Annotated[str, _ARGUMENT(help="Zoo name, path/to/file.py:factory, or a saved workload .npz.")]
Baseline = Annotated[str | None, _OPTION("--baseline", help="dense, none, another recipe, or FILE.npz.")]
Fidelity = Annotated[str, _OPTION("--fidelity", help="analytic or tile.")]
Folder = Annotated[Path, _OPTION("--out", help="Folder for tables, plots and the report.")]
Table = Annotated[Path, _OPTION("--out", help="CSV to write.")]
Shapes = Annotated[
    Path, _ARGUMENT(help="CSV with columns M, N, K and any of batch, dtype, density_a, density_b, pattern.")
]


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
    baseline: Baseline = None,
    fidelity: Fidelity = "analytic",
    objective: Objective = "latency",
    settings: Settings = None,
    dtype: Dtype = None,
    allow_unknown: AllowUnknown = False,
    allow_overflow: Annotated[
        bool, _OPTION("--allow-overflow", help="Price what needs more memory than the accelerator has.")
    ] = False,
    trace: Annotated[str | None, _OPTION("--trace", help="Activation zeros, from `zerocast trace`.")] = None,
) -> None:
    """Simulate a network and write a report.

    The network is pruned by a recipe and compared with its dense self on the same accelerator.
    """
    from zerocast.analysis.run import Network, compare, one_of

    one_of("--fidelity", fidelity, ("analytic", "tile"))
    one_of("--objective", objective, ("latency", "energy", "edp", "cycles"))
    network = Network(model, prune, training, batch, optimizer, dtype, allow_unknown, trace, fidelity == "tile")
    machine = _load(accelerator, settings)
    out.mkdir(parents=True, exist_ok=True)
    from zerocast.analysis.console import output, progress
    from zerocast.analysis.reporting import report
    from zerocast.analysis.summary_text import print_run

    with progress() as steps:
        result, other = compare(
            network, machine, steps, baseline=baseline, objective=objective, fidelity=fidelity,
            allow_overflow=allow_overflow,
        )  # fmt: skip
        with steps("write the report"):
            page = report(result, other, out, machine)
    console = output()
    print_run(console, result, other, machine)
    console.print(f"\nwritten: {page}", soft_wrap=True)


@app.command()
def gemm(
    shapes: Shapes,
    accelerator: AcceleratorName,
    out: Table,
    settings: Settings = None,
    objective: Objective = "latency",
) -> None:
    """Price a table of matrix products.

    2:4 weights that a GPU cannot skip are priced dense; a shape that fits no mapping has NaN. The column note says why.
    """
    from zerocast.analysis.gemm_table import price_shapes, read_shapes, remarks, write_table
    from zerocast.analysis.run import one_of

    one_of("--objective", objective, ("latency", "energy", "edp", "cycles"))
    _writable(out)
    _spare(out, shapes)
    machine = _load(accelerator, settings)
    header, rows = read_shapes(shapes, machine)
    with _shapes_step() as step:
        figures = list(price_shapes(rows, machine, objective, step))
        write_table(out, header, rows, figures)
    typer.echo(f"{len(rows)} shapes on {machine.name}{remarks(figures)}, written: {out}")


@app.command("list")
def list_names(what: Annotated[str, typer.Argument(help="models, recipes or accelerators.")]) -> None:
    """Name what there is to choose from."""
    from zerocast.analysis import listing
    from zerocast.analysis.errors import AnalysisError

    kinds = {"models": listing.models, "recipes": listing.recipes, "accelerators": listing.accelerators}
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

        typer.echo(dump(_load(accelerator, settings)), nl=False)
        return
    from zerocast.analysis.parameters_text import print_parameters

    print_parameters(_load(accelerator, settings))


@app.command()
def lower(
    model: Model,
    out: Annotated[Path, typer.Option("--out", help="File to write, .npz.")],
    prune: Prune = None,
    training: Training = False,
    batch: Batch = None,
    optimizer: Optimizer = None,
    dtype: Dtype = None,
    allow_unknown: AllowUnknown = False,
    trace: Annotated[str | None, _OPTION("--trace", help="Activation zeros, from `zerocast trace`.")] = None,
    masks: Annotated[bool, _OPTION("--masks", help="With --trace: keep the masks of its first samples.")] = False,
) -> None:
    """Save a network as a workload file.

    The other commands read it without PyTorch, and without the model's code.
    """
    from zerocast.analysis.console import progress
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.run import Network
    from zerocast.analysis.run import lower as lower_network

    if out.suffix != ".npz":
        raise AnalysisError(f"--out {str(out)!r}: a workload file must end in .npz")
    if masks and (trace is None or training):
        raise AnalysisError("--masks belongs to --trace, and to inference: those of training are not recorded")
    _writable(out)
    network = Network(model, prune, training, batch, optimizer, dtype, allow_unknown, trace, masks)
    with progress() as steps:
        workload = lower_network(network, steps)
    from zerocast.workloads.store import save

    save(workload, out)
    typer.echo(f"{workload.name}: {len(workload.ops)} ops, {workload.macs:,} MACs, written: {out}")


@app.command()
def validate(
    suite: Annotated[str | None, typer.Argument(help="One suite; all without it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="CSV to write the comparisons to.")] = None,
    measured: Annotated[
        Path | None, _OPTION("--measured", help="gpu: file of `zerocast measure`, or CSV with columns M, N, K, us.")
    ] = None,
    accelerator: Annotated[str | None, _OPTION("--accelerator", help="With --measured: the card.")] = None,
    settings: Annotated[
        list[str] | None, _OPTION("--set", metavar="KEY=VALUE", help="With --accelerator: gpu.calibration=mine.yaml.")
    ] = None,
    tolerance: Annotated[
        float | None, _OPTION("--tolerance", help="With --measured: mean error allowed, such as 0.1.")
    ] = None,
) -> None:
    """Hold the predictions against references.

    Exit status 1 where a comparison is out of its tolerance.
    """
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.validate import SUITES
    from zerocast.analysis.validate import run as run_suite

    if suite is not None and suite not in SUITES:
        raise AnalysisError(f"no validation suite {suite!r}; there are {', '.join(SUITES)}")
    _check_measured_options(suite, measured, accelerator, settings, tolerance)
    if out is not None:
        _writable(out)
        _spare(out, measured)
    from zerocast.analysis.validation_text import print_comparisons, write_comparisons

    if measured is not None:
        from zerocast.analysis.validate.gpu_measured import compare_measured

        card = _load(accelerator, settings) if accelerator else None
        comparisons = compare_measured(measured, card, tolerance, say=note)
    else:
        comparisons = run_suite(suite, say=lambda step: typer.echo(f"{step} ...", err=True))
    print_comparisons(comparisons)
    if out is not None:
        write_comparisons(out, comparisons)
    if any(comparison.ok is False for comparison in comparisons):
        raise typer.Exit(1)


def _check_measured_options(
    suite: str | None,
    measured: Path | None,
    accelerator: str | None,
    settings: list[str] | None,
    tolerance: float | None,
) -> None:
    """Refuse options of `validate` that would be ignored."""
    from zerocast.analysis.errors import AnalysisError

    if measured is not None and suite != "gpu":
        raise AnalysisError("--measured belongs to the suite gpu: `zerocast validate gpu --measured FILE`")
    given = {"--accelerator": accelerator, "--set": settings or None, "--tolerance": tolerance}
    if measured is None and (alone := [name for name, value in given.items() if value is not None]):
        raise AnalysisError(
            f"{' and '.join(alone)}: only for your own measurements, `zerocast validate gpu --measured FILE "
            "--accelerator NAME`; the suites have cards of their own"
        )
    if settings and accelerator is None:
        raise AnalysisError("--set: name the card that it changes with --accelerator")
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise AnalysisError(f"--tolerance {tolerance:g}: give a share above 0, such as 0.1 for 10 %")


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
    from zerocast.analysis.calibrate import calibrate as fit
    from zerocast.analysis.errors import AnalysisError

    if out.suffix not in (".yaml", ".yml"):
        raise AnalysisError(f"--out {str(out)!r}: a calibration must end in .yaml")
    _writable(out)
    _spare(out, Path(accelerator))
    fitted = fit(measured, _load(accelerator, settings), out, other_card=other_card, say=note)
    for kind, own in fitted.items():
        bar = f"{math.expm1(own.calibrated.low):+.1%} to {math.expm1(own.calibrated.high):+.1%}"
        typer.echo(f"{kind}: {own.rows} products, 9 of 10 left-out ones measured within {bar} of the prediction")
    typer.echo(f"written: {out}; use it with --set gpu.calibration={out}")


def _writable(file: Path) -> None:
    """Refuse a folder, and a file in a folder that does not exist, before the long work, not after it."""
    from zerocast.analysis.errors import AnalysisError

    if file.is_dir():  # which is also what an empty text becomes
        raise AnalysisError(f"--out {str(file)!r} is a folder; name a file")
    if not file.parent.is_dir():
        raise AnalysisError(f"--out {str(file)!r}: there is no folder {str(file.parent)!r}")


def _spare(out: Path, read: Path | None) -> None:
    """Refuse to write over what is read."""
    from zerocast.analysis.errors import AnalysisError

    if read is not None and out.exists() and read.exists() and out.samefile(read):
        raise AnalysisError(f"--out {str(out)!r} is the file to read; name another file")


def _load(name: str, settings: list[str] | None) -> Accelerator:
    from zerocast.accelerators import load
    from zerocast.analysis.run import overrides

    return load(name, overrides(settings or []))


app.command("trace")(trace_command)
app.command("explore")(explore_command)
app.command("export")(export_command)
app.command("plot")(plot_command)


@contextmanager
def _shapes_step() -> Iterator[Step]:
    """A bar where someone watches; otherwise nothing, and nothing imported for it."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from zerocast.analysis.console import progress

    with progress() as steps, steps("shapes") as step:
        yield step


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 done, 1 a validation failed, 2 a mistake in what was asked for: one line `error: ...` on stderr.
    """
    from zerocast.analysis.errors import AnalysisError

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

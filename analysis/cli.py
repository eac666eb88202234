"""The command `zerocast`. Every import that takes time is made inside the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from accelerators import Accelerator
    from analysis.run import Step

app = typer.Typer(
    help="Forecast what the zeros in a neural network are worth on hardware.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

AcceleratorOption = Annotated[str, typer.Option("--accelerator", help="Template name or YAML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter, e.g. compute.rows=64.")]  # fmt: skip
ObjectiveOption = Annotated[str, typer.Option("--objective", help="Choose mappings for latency, energy or edp.")]
PruneOption = Annotated[str | None, typer.Option("--prune", help="Recipe; see `zerocast list recipes`.")]
TrainingOption = Annotated[bool, typer.Option("--training", help="A training step, not inference.")]
BatchOption = Annotated[int | None, typer.Option("--batch", help="Samples in one step.")]
OptimizerOption = Annotated[str | None, typer.Option("--optimizer", help="sgd_momentum or adamw.")]
DtypeOption = Annotated[str | None, typer.Option("--dtype", help="Type of all floating tensors; fp16 by default.")]
UnknownOption = Annotated[bool, typer.Option("--allow-unknown", help="Price unknown operators by their bytes.")]
ModelArgument = Annotated[str, typer.Argument(help="Zoo name, path/to/file.py:factory, or a saved workload .npz.")]


@app.command()
def run(
    model: ModelArgument,
    accelerator: AcceleratorOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for tables, plots and the report.")],
    prune: PruneOption = None,
    training: TrainingOption = False,
    batch: BatchOption = None,
    optimizer: OptimizerOption = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="dense, none, another recipe, or FILE.npz.")] = None,
    fidelity: Annotated[str, typer.Option("--fidelity", help="analytic or tile.")] = "analytic",
    objective: ObjectiveOption = "latency",
    settings: SetOption = None,
    dtype: DtypeOption = None,
    allow_unknown: UnknownOption = False,
) -> None:
    """Simulate a network on an accelerator, against its dense self, and write a report."""
    from analysis.run import Network, compare, one_of

    one_of("--fidelity", fidelity, ("analytic", "tile"))
    one_of("--objective", objective, ("latency", "energy", "edp"))
    network = Network(model, prune, training, batch, optimizer, dtype, allow_unknown)
    machine = _load(accelerator, settings)
    out.mkdir(parents=True, exist_ok=True)
    from analysis.console import output, progress
    from analysis.report import report
    from analysis.summary_text import print_run

    with progress() as steps:
        result, other = compare(network, machine, steps, baseline=baseline, objective=objective, fidelity=fidelity)
        with steps("write the report"):
            page = report(result, other, out, machine)
    console = output()
    print_run(console, result, other, machine)
    console.print(f"\nwritten: {page}", markup=False, soft_wrap=True)


@app.command()
def gemm(
    shapes: Annotated[Path, typer.Argument(help="CSV with columns M, N, K and optionally batch, dtype, density_a, density_b, pattern.")],
    accelerator: AcceleratorOption,
    out: Annotated[Path, typer.Option("--out", help="CSV to write.")],
    settings: SetOption = None,
    objective: ObjectiveOption = "latency",
) -> None:  # fmt: skip
    """Price a table of matrix products."""
    from analysis.gemm_table import price_shapes, read_shapes, write_table
    from analysis.run import one_of

    one_of("--objective", objective, ("latency", "energy", "edp"))
    machine = _load(accelerator, settings)
    header, rows = read_shapes(shapes, machine)
    with _shapes_step() as step:
        write_table(out, header, rows, price_shapes(rows, machine, objective, step))
    typer.echo(f"{len(rows)} shapes on {machine.name}, written: {out}")


@app.command("list")
def list_names(what: Annotated[str, typer.Argument(help="models, recipes or accelerators.")]) -> None:
    """Name what there is to choose from."""
    from analysis import listing
    from analysis.errors import AnalysisError

    kinds = {"models": listing.models, "recipes": listing.recipes, "accelerators": listing.accelerators}
    if what not in kinds:
        raise AnalysisError(f"list {what!r}: choose {', '.join(list(kinds)[:-1])} or {list(kinds)[-1]}")
    typer.echo(listing.columns(kinds[what]()))


@app.command()
def show(
    accelerator: Annotated[str, typer.Argument(help="Template name or YAML file.")], settings: SetOption = None
) -> None:
    """Print an accelerator's parameters and where each comes from."""
    from analysis.parameters_text import print_parameters

    print_parameters(_load(accelerator, settings))


@app.command()
def lower(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", help="File to write, .npz.")],
    prune: PruneOption = None,
    training: TrainingOption = False,
    batch: BatchOption = None,
    optimizer: OptimizerOption = None,
    dtype: DtypeOption = None,
    allow_unknown: UnknownOption = False,
) -> None:
    """Lower a network to a workload file, which the other commands read without PyTorch."""
    from analysis.console import progress
    from analysis.errors import AnalysisError
    from analysis.run import Network
    from analysis.run import lower as lower_network

    if out.suffix != ".npz":
        raise AnalysisError(f"--out {str(out)!r}: a workload file must end in .npz")
    with progress() as steps:
        workload = lower_network(Network(model, prune, training, batch, optimizer, dtype, allow_unknown), steps)
    from workloads.store import save

    save(workload, out)
    typer.echo(f"{workload.name}: {len(workload.ops)} ops, {workload.macs:,} MACs, written: {out}")


@app.command()
def validate(
    suite: Annotated[str | None, typer.Argument(help="One suite; all without it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="CSV to write the comparisons to.")] = None,
) -> None:
    """Recompute every comparison with a reference; exit status 1 where one is out of its tolerance."""
    from analysis.errors import AnalysisError
    from analysis.validate import SUITES
    from analysis.validate import run as run_suite

    if suite is not None and suite not in SUITES:
        raise AnalysisError(f"no validation suite {suite!r}; there are {', '.join(SUITES)}")
    from analysis.console import progress
    from analysis.validation_text import print_comparisons, write_comparisons

    with progress() as steps, steps("validate"):
        comparisons = run_suite(suite)
    print_comparisons(comparisons)
    if out is not None:
        write_comparisons(out, comparisons)
    if any(comparison.ok is False for comparison in comparisons):
        raise typer.Exit(1)


def _load(name: str, settings: list[str] | None) -> Accelerator:
    from accelerators import load
    from analysis.run import overrides

    return load(name, overrides(settings or []))


@contextmanager
def _shapes_step() -> Iterator[Step]:
    """A bar where someone watches; otherwise nothing, and nothing imported for it."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from analysis.console import progress

    with progress() as steps, steps("shapes") as step:
        yield step


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 done, 1 a validation failed, 2 a mistake in what was asked for: one line `error: ...` on stderr.
    """
    from analysis.errors import AnalysisError

    command = typer.main.get_command(app)
    try:
        status: Any = command.main(args=argv, prog_name="zerocast", standalone_mode=False)
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
    for module, name in (("workloads.errors", "WorkloadError"), ("accelerators.errors", "AcceleratorError"),
                         ("simulator.errors", "SimulationError")):  # fmt: skip
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return str(error)
    # usage errors: typer vendors the library that defines them, so they are known by what they offer
    words = getattr(error, "format_message", None)
    return str(words()) or "no command; see zerocast --help" if callable(words) else ""


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(message: str, status: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status

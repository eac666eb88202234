"""The command `zerocast`. Every import that takes time is made inside the command that needs it."""

from __future__ import annotations

import gc
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zerocast.analysis.commands.command_line import AcceleratorName, Settings, load_accelerator, spare, writable
from zerocast.analysis.commands.compare import compare_command
from zerocast.analysis.commands.explore import explore_command, export_command, plot_command
from zerocast.analysis.commands.gemm import conv_command, gemm_command
from zerocast.analysis.commands.network.lower import lower_command
from zerocast.analysis.commands.network.run import run_command
from zerocast.analysis.commands.network.serve import serve_command
from zerocast.analysis.commands.network.trace import trace_command
from zerocast.analysis.commands.network.train import train_command
from zerocast.analysis.commands.network.why import why_command
from zerocast.analysis.commands.printing.remark import note
from zerocast.analysis.commands.validate import validate_command
from zerocast.extras import MissingExtra

app = typer.Typer(
    help="Forecast what the zeros in a neural network are worth on hardware.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_OPTION = typer.Option
_ARGUMENT = typer.Argument


@app.callback(invoke_without_command=True)
def common(
    version: Annotated[bool, _OPTION("--version", is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Forecast what the zeros in a neural network are worth on hardware."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"zerocast {installed('zerocast')}")
        raise typer.Exit


app.command("run")(run_command)


@app.command("list")
def list_names(
    what: Annotated[str, typer.Argument(help="models, hub, recipes, schedules, accelerators or systems.")],
) -> None:
    """Name what there is to choose from."""
    from zerocast.analysis.commands.printing import listing
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
    from zerocast.analysis.commands.printing.parameters import print_parameters

    print_parameters(load_accelerator(accelerator, settings))


app.command("lower")(lower_command)


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

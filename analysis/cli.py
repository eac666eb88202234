"""The command `zerocast`. A verb's file is read when it is asked for, and what takes time imported inside the verb."""

from __future__ import annotations

import gc
import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from zerocast.extras import MissingExtra

_VERBS = {
    "run": "network.run:run_command",
    "list": "choices:list_command",
    "show": "choices:show_command",
    "lower": "network.lower:lower_command",
    "measure": "measure:measure_command",
    "calibrate": "measure:calibrate_command",
    "gemm": "gemm:gemm_command",
    "conv": "gemm:conv_command",
    "validate": "validate:validate_command",
    "compare": "compare:compare_command",
    "why": "network.why:why_command",
    "serve": "network.serve:serve_command",
    "train": "network.train:train_command",
    "trace": "network.trace:trace_command",
    "explore": "explore:explore_command",
    "export": "explore:export_command",
    "plot": "explore:plot_command",
}
"""Module of `commands` and function of each verb, in the order of the help."""
_FOREIGN = {"measure": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}}
"""How typer reads a verb whose options another parser knows."""


@cache
def application(verb: str | None = None) -> typer.Typer:
    """The command line with one verb; with all of them where it is none of ours.

    To read the others' files and to make their options takes longer than to price a product.
    """
    app = typer.Typer(
        help="Forecast what the zeros in a neural network are worth on hardware.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_common)
    for name in [verb] if verb in _VERBS else _VERBS:
        module, _, function = _VERBS[name].partition(":")
        found = getattr(import_module(f"zerocast.analysis.commands.{module}"), function)
        app.command(name, context_settings=_FOREIGN.get(name))(found)
    return app


def _common(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Forecast what the zeros in a neural network are worth on hardware."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"zerocast {installed('zerocast')}")
        raise typer.Exit


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 done, 1 a validation failed, 2 a mistake in what was asked for: one line `error: ...` on stderr.
    """
    from zerocast.analysis.errors import AnalysisError

    gc.set_threshold(100_000)  # what is imported stays; to look for rubbish in it took a tenth of the start
    arguments = sys.argv[1:] if argv is None else argv
    command = typer.main.get_command(application(arguments[0] if arguments else None))
    try:
        status: Any = command.main(args=arguments or ["--help"], prog_name="zerocast", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return _fail("interrupted", 130)
    except (AnalysisError, OSError) as error:
        return _fail(_words(error))
    except Exception as error:
        if text := mistake(error):
            return _fail(text)
        raise
    return status if isinstance(status, int) else 0


def mistake(error: Exception) -> str:
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

"""The verbs `list` and `show`: what there is to choose from, and what an accelerator is."""

from __future__ import annotations

from typing import Annotated

import typer

from zerocast.analysis.commands.command_line import Settings, load_accelerator


def list_command(
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


def show_command(
    accelerator: Annotated[str, typer.Argument(help="Template name or YAML file.")],
    settings: Settings = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="As a YAML file, to be copied and changed.")] = False,
) -> None:
    """Print an accelerator's parameters and sources."""
    if yaml:
        from zerocast.accelerators import dump

        typer.echo(dump(load_accelerator(accelerator, settings)), nl=False)
        return
    from zerocast.analysis.commands.printing.parameters import print_parameters

    print_parameters(load_accelerator(accelerator, settings))

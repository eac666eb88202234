"""The verbs `explore`, `export` and `plot`: price the designs of a space, write them as a table, draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zerocast.analysis.commands.command_line import GivenMapping
from zerocast.analysis.commands.printing.remark import note

_OPTION = typer.Option
_ARGUMENT = typer.Argument


def explore_command(
    space: Annotated[Path, _ARGUMENT(help="YAML file: workloads, accelerator, free parameters, objectives.")],
    out: Annotated[Path, _OPTION("--out", help="Folder of the store; runs of other spaces may share it.")],
    trials: Annotated[
        int | None, _OPTION("--trials", help="Designs to price; 200 without it. A grid has its own.")
    ] = None,
    method: Annotated[str, _OPTION("--method", help="grid, random, nsga2 or tpe.")] = "grid",
    seed: Annotated[int, _OPTION("--seed", help="Of random, nsga2 and tpe.")] = 0,
    workers: Annotated[int | None, _OPTION("--workers", help="Processes; one per core without it.")] = None,
    dask: Annotated[str | None, _OPTION("--dask", metavar="ADDRESS", help="Scheduler, e.g. tcp://host:8786.")] = None,
    resume: Annotated[bool, _OPTION("--resume", help="Go on with a run that was stopped.")] = False,
    mapping: GivenMapping = None,
) -> int:
    """Price the designs of a space.

    Results are kept in a store that survives a kill; `zerocast export` and `zerocast plot` read it.
    """
    from zerocast.analysis.explore.command import explore

    return explore(space, out, method=method, trials=trials, seed=seed, workers=workers, dask=dask, resume=resume,
                   mapping=mapping)  # fmt: skip


def export_command(
    folder: Annotated[Path, _ARGUMENT(help="Folder of `zerocast explore`.")],
    to: Annotated[str, _OPTION("--to", help="parquet or csv.")],
    out: Annotated[Path | None, _OPTION("--out", help="File to write; in the folder without it.")] = None,
    run: Annotated[str | None, _OPTION("--run", help="Id of a run, or its beginning; the last one without it.")] = None,
) -> None:
    """Write the designs of an exploration as a table."""
    from zerocast.analysis.explore.show.export import export
    from zerocast.analysis.explore.show.words import design_count

    written = export(folder, to, out, run)
    typer.echo(f"{design_count(written.rows)}, written: {written.file}")
    if written.note:
        note(f"not complete: {written.note}")


def plot_command(
    folder: Annotated[Path, _ARGUMENT(help="Folder with a store, as `zerocast explore --out` makes it.")],
    out: Annotated[Path | None, _OPTION("--out", help="Folder for the pictures; pictures/ in DIR without it.")] = None,
    run: Annotated[str | None, _OPTION("--run", help="Run to draw, by its id; the last one without it.")] = None,
    x: Annotated[str | None, _OPTION("--x", help="With --y: two columns of a picture of their own.")] = None,
    y: Annotated[str | None, _OPTION("--y", help="See --x; two parameters make a heat map.")] = None,
    designs: Annotated[
        str | None,
        _OPTION("--designs", metavar="KEY,KEY", help="Designs to compare; the front's ends and knee without it."),
    ] = None,
) -> None:
    """Draw an exploration: fronts, sensitivity and more as PNG and SVG, and one interactive page.

    explore.html works from disk, offline.
    """
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.explore.show.table import read_table
    from zerocast.analysis.reports.pictures.command import plot_table

    keys = [key.strip() for key in designs.split(",")] if designs is not None else []
    if designs is not None and not all(keys):
        raise AnalysisError(f"--designs {designs!r}: name designs by their keys, with a comma between them")
    table = read_table(folder, run)
    done = plot_table(table, out or folder / "pictures", x=x, y=y, keys=keys, say=lambda what: note(f"{what} ..."))
    for text in done.left_out:
        typer.echo(f"left out: {text}")
    typer.echo(f"{len(done.figures)} figures as PNG and SVG, all of them in {done.folder / 'index.html'}")
    if (page := done.folder / "explore.html") in done.files:
        typer.echo(f"interactive page: {page}")

"""`zerocast plot`: all pictures of a table into one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.reports.pictures import captions
from zerocast.analysis.reports.pictures.columns import BOOKKEEPING
from zerocast.analysis.reports.pictures.designs import Chosen, Designs, chosen_by_key, drawable, extremes_and_knee
from zerocast.analysis.reports.pictures.figures import energies, rooflines
from zerocast.analysis.reports.pictures.figures.fronts import front_figure, pair_figure, parameter_figure, three_figure
from zerocast.analysis.reports.pictures.figures.heat import heat_figure
from zerocast.analysis.reports.pictures.figures.parallel import parallel_figure
from zerocast.analysis.reports.pictures.figures.sensitivity import by_importance, sensitivity_figure, whole_grid
from zerocast.analysis.reports.pictures.style import paper_style, write_figure
from zerocast.extras import lacking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zerocast.analysis.explore.show.table import Table

MOST_OBJECTIVES = 4
"""Objectives of which each pair, and each three, gets a picture."""


@dataclass(slots=True)
class Pictures:
    """What was written. figures: name and caption, in order. left_out: what was not drawn, and why."""

    folder: Path
    figures: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def plot_table(
    table: Table,
    folder: Path,
    *,
    x: str | None = None,
    y: str | None = None,
    keys: Sequence[str] = (),
    say: Callable[[str], None] = lambda what: None,
) -> Pictures:
    """Draw a table into `folder`: PNG and SVG of each figure, index.html with their captions, explore.html.

    x, y: two columns of their own picture: a heat map of two parameters, else points. keys: designs (or the beginning
    of their keys) that the roofline and the energies show, instead of the front's extremes and knee. `say` hears what
    is drawn next. Raises `AnalysisError` for a table without a design to draw and for names that are not there.
    """
    from zerocast.analysis.reports.pictures.page import write_index, write_page

    designs = drawable(table)
    chosen = chosen_by_key(designs, keys) if keys else extremes_and_knee(designs)
    _check_columns(designs, x, y)
    folder.mkdir(parents=True, exist_ok=True)
    rest = [f"the rest of the run, which is not complete: {table.note}"] if table.note else []
    pictures = Pictures(folder, left_out=[*rest, *designs.notes])
    with paper_style():
        _fronts(designs, chosen, pictures, say)
        _parameters(designs, x, y, pictures, say)
        _costs(designs, chosen, pictures, say)
    if without := lacking("plotly", "interactive page"):
        pictures.left_out.append(without)
    else:
        say("interactive page")
        pictures.files.append(write_page(designs, chosen, folder / "explore.html"))
    pictures.files.append(write_index(designs, pictures, folder / "index.html"))
    return pictures


def _check_columns(designs: Designs, x: str | None, y: str | None) -> None:
    """Both names or neither, and columns that hold something."""
    if (x is None) != (y is None):
        raise AnalysisError("--x and --y belong together: name two columns")
    known = [str(name) for name in designs.frame.columns if name not in BOOKKEEPING]
    for option, name in (("--x", x), ("--y", y)):
        if name is not None and name not in known:
            raise AnalysisError(f"{option} {name!r}: no such column; choose from {', '.join(known)}")
        if name is not None and designs.frame[name].isna().all():
            raise AnalysisError(f"{option} {name!r}: no design has a value of it")
    if x is not None and x == y:
        raise AnalysisError(f"--x and --y are both {x!r}: name two columns")


def _keep(pictures: Pictures, name: str, figure: Figure, caption: str) -> None:
    pictures.files += write_figure(figure, pictures.folder / name)
    pictures.figures[name] = caption


def _fronts(designs: Designs, chosen: list[Chosen], pictures: Pictures, say: Callable[[str], None]) -> None:
    """The objectives against each other; a single one against the parameters."""
    if len(designs.objectives) == 1:
        say("objective against parameters")
        figure = parameter_figure(designs)
        if figure is None:
            pictures.left_out.append("objective against parameters: no parameter takes two values")
        else:
            _keep(pictures, "parameters", figure, captions.PARAMETERS)
        pictures.left_out.append("Pareto front: it takes two objectives, and there is one")
        return
    count = min(len(designs.objectives), MOST_OBJECTIVES)
    if count < len(designs.objectives):
        pictures.left_out.append(f"fronts of the objectives beyond the first {MOST_OBJECTIVES}: see explore.html")
    names = [objective.name for objective in designs.objectives]
    for first, second in combinations(range(count), 2):
        say(f"front of {names[first]} and {names[second]}")
        _keep(pictures, f"front_{names[first]}_{names[second]}", front_figure(designs, first, second), captions.FRONT)
    for which in combinations(range(count), 3):
        say(f"front of {', '.join(names[i] for i in which)}")
        figure = three_figure(designs, which, chosen)
        _keep(pictures, "_".join(["front", *(names[i] for i in which)]), figure, captions.three(chosen))


def _parameters(designs: Designs, x: str | None, y: str | None, pictures: Pictures, say: Callable[[str], None]) -> None:
    """What the parameters do."""
    parameters = by_importance(designs)
    if x is not None and y is not None and not {x, y} <= set(designs.table.parameters):
        say(f"{y} against {x}")
        _keep(pictures, file_name("pair", x, y), pair_figure(designs, x, y), captions.PAIR)
        x = y = None
    if x is None and len(parameters) > 1:
        x, y = parameters[:2]
    if x is not None and y is not None:
        say(f"heat map of {x} and {y}")
        _keep(pictures, file_name("heat", x, y), heat_figure(designs, x, y), captions.HEAT)
    else:
        pictures.left_out.append("heat map: it takes two parameters that vary")
    if not parameters:
        pictures.left_out.append("parallel coordinates and sensitivity: no parameter takes two values")
        return
    say("parallel coordinates")
    _keep(pictures, "parallel", parallel_figure(designs), captions.PARALLEL)
    say("sensitivity")
    figure = sensitivity_figure(designs)
    if figure is not None:
        _keep(pictures, "sensitivity", figure, captions.sensitivity(exact=whole_grid(designs)))


def _costs(designs: Designs, chosen: list[Chosen], pictures: Pictures, say: Callable[[str], None]) -> None:
    """What the chosen designs are bound by and spend."""
    say("roofline")
    missing = rooflines.missing_columns(designs)
    figure = None if missing else rooflines.roofline_figure(designs, chosen)
    if figure is None:
        pictures.left_out.append(f"roofline: no design has {', '.join(missing) or 'DRAM traffic'}")
    else:
        _keep(pictures, "roofline", figure, captions.ROOFLINE)
    say("energy")
    if missing := energies.missing_columns(designs):
        pictures.left_out.append(f"energy breakdown: no design has {', '.join(missing)}")
        return
    _keep(pictures, "energy", energies.energy_figure(designs, chosen), captions.ENERGY)
    for what, most in (("roofline", rooflines.DRAWN), ("energy breakdown", energies.DRAWN)):
        if len(chosen) > most:
            pictures.left_out.append(f"{what}: the chosen designs after the first {most}")


def file_name(kind: str, x: str, y: str) -> str:
    """A file's name from two columns' names, letters that are unusual in file names replaced."""
    return "_".join(["".join(c if c.isalnum() or c in "._-" else "-" for c in word) for word in (kind, x, y)])

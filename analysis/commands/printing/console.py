"""Progress on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from zerocast.analysis.run.network import Step, Steps


def output() -> Console:
    """Console for results; wide enough for the tables where the output is a file or a pipe.

    Text is printed as it is: a bracket in a layer's name is no markup.
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 130)
    return console


@contextmanager
def progress() -> Iterator[Steps]:
    """Bars for the long steps, on stderr; nothing where stderr is no terminal, and nothing left behind."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def steps(what: str, /) -> AbstractContextManager[Step]:
            return _step(bars, what)

        yield steps


@contextmanager
def _step(bars: Progress, what: str) -> Iterator[Step]:
    task = bars.add_task(what, total=None)

    def done(parts: int, of: int) -> None:
        bars.update(task, completed=parts, total=of)

    yield done
    bars.update(task, completed=1, total=1)

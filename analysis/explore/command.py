"""`zerocast explore`: from a space file to a store full of designs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console

from zerocast.analysis.commands.printing.console import output, progress
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.pricing.crews import Crew, Here, Pool
from zerocast.analysis.explore.pricing.metrics import OF_SAMPLES
from zerocast.analysis.explore.pricing.networks import Networks, file_of
from zerocast.analysis.explore.pricing.store import Priced, Row, Store
from zerocast.analysis.explore.search.designs import count, grid
from zerocast.analysis.explore.search.random_search import random_search
from zerocast.analysis.explore.search.session import Method, Session, facts_of, open_run, run_id, terms_of, total_of
from zerocast.analysis.explore.show.progress import Report
from zerocast.analysis.explore.show.summary import print_summary
from zerocast.analysis.explore.show.table import read_table, so_far, was_priced
from zerocast.analysis.explore.show.words import pace
from zerocast.analysis.explore.space.checks import entries
from zerocast.analysis.explore.space.definition import Space, of_workload
from zerocast.analysis.explore.space.reading import read_space
from zerocast.analysis.run.network import Network, Step, Steps, lower
from zerocast.analysis.run.values import one_of
from zerocast.simulator.products.given import given_products
from zerocast.simulator.program.program import program
from zerocast.workloads.files.runs import Run, load_run
from zerocast.workloads.ir import Workload

METHODS = ("grid", "random", "nsga2", "tpe")
TRIALS = 200
"""Designs that a search prices where nobody says how many."""
MOST_GRID = 5_000_000
INTERRUPTED = 130
_ADDRESS = re.compile(r"((tcp|tls|ucx|wss?)://)?(\[[^\s\[\]]+\]|[^\s:/\[\]]+):\d{1,5}")
"""Of a scheduler; TCP is dask's own choice where an address names no protocol."""


def explore(
    file: Path,
    out: Path,
    *,
    method: str = "grid",
    trials: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    dask: str | None = None,
    resume: bool = False,
    mapping: Path | None = None,
) -> int:
    """Explore the space of a file into a folder; the exit status. mapping: given mappings, in place of the space's.
    Raises the errors of `read_space`, and `AnalysisError` for options that do not fit."""
    one_of("--method", method, METHODS)
    _check_options(trials, workers, dask)
    if out.exists() and not out.is_dir():
        raise AnalysisError(f"--out {str(out)!r} is a file; name a folder")
    space = read_space(file, mapping)
    chosen = _method(space, method, trials, seed)
    # first the workers: where there are none, nothing is written that would have to be resumed
    with _crew(space, out, workers or _cores(), dask) as crew, closing(Store(out, writing=True)) as store:
        return _run(space, chosen, store, out, crew, resume)


def _check_options(trials: int | None, workers: int | None, dask: str | None) -> None:
    if trials is not None and trials < 1:
        raise AnalysisError(f"--trials {trials}: must be 1 or more")
    if workers is not None and workers < 1:
        raise AnalysisError(f"--workers {workers}: must be 1 or more")
    if workers is not None and dask is not None:
        raise AnalysisError("--workers counts processes of this machine, --dask has its own; give one of them")
    if dask is not None and not _ADDRESS.fullmatch(dask):
        raise AnalysisError(f"--dask {dask!r}: address must be tcp://HOST:PORT, as `dask scheduler` prints it")


def _method(space: Space, method: str, trials: int | None, seed: int) -> Method:
    if method != "grid":
        return Method(method, trials or TRIALS, seed)
    number = count(space)
    if number is None:
        from zerocast.analysis.explore.space.domains import Range

        name = next(p.name for p in space.parameters if isinstance(p.domain, Range))
        raise AnalysisError(
            f"--method grid: parameters.{name} is a range without step or steps; give it one, or take --method nsga2, "
            "tpe or random"
        )
    if trials is not None:
        raise AnalysisError(
            f"--trials {trials}: a grid prices all of its {number:,} designs; drop it, or take --method random, nsga2 "
            "or tpe"
        )
    if number > MOST_GRID:
        raise AnalysisError(
            f"--method grid: the space has {number:,} designs, a grid takes at most {MOST_GRID:,}; take --method nsga2 "
            "--trials N, or fewer values"
        )
    return Method("grid", None, None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(space: Space, method: Method, store: Store, out: Path, crew: Crew, resume: bool) -> int:
    run = run_id(space, method)
    facts = facts_of(space, method)
    open_run(store, run, facts, resume=resume, folder=out)
    console = _stderr()
    networks = Networks(out, store, _silent, _lowered)
    report = Report(space.objectives, console)
    try:
        _lower(space, method, networks, out, store)
        session = Session(space, store, networks, report, run)
        session.employ(crew)
        with report:
            ended = _explore(session, method, report)
    except KeyboardInterrupt:
        have = so_far(json.loads(facts), store.joined(run))
        console.print(f"interrupted: {have} are kept in {out}; the same command with --resume goes on", soft_wrap=True)
        return INTERRUPTED
    store.finish(run)
    rate = pace(report.new, report.seconds)
    said = f"{report.new:,} priced now in {report.seconds:.1f} s{f' ({rate})' if rate else ''}, run {run}"
    print_summary(output(), read_table(out, run), out, _trials(method, store.joined(run), ended) + said)
    return 0


def _trials(method: Method, joined: Sequence[tuple[Row, Priced | None]], ended: str) -> str:
    """How many designs of a search were trials, where that is not what was asked for or not all of them. ended: why
    the search stopped before."""
    if method.trials is None:
        return ""
    trials = sum(was_priced(row, priced) for row, priced in joined)
    refused = len(joined) - trials
    more = f" and {refused:,} refused before pricing, which cost no trial" if refused else ""
    few = f" of {method.trials:,}: {ended or 'no more were found'}," if trials < method.trials else ""
    return f"{trials:,} trials{few}{more}; " if few or more else ""


def _explore(session: Session, method: Method, report: Report) -> str:
    """Price the designs; why a search ended before it had as many as asked for, or ""."""
    if method.trials is None:
        report.expect((total_of(session.space, method) or 0) - session.done_before)
        session.grid(grid(session.space))
        return ""
    assert method.seed is not None
    report.expect(method.trials)
    if method.name == "random":
        return random_search(session, method.trials, method.seed)
    from zerocast.analysis.explore.search.samplers import search

    return search(session, method.name, method.trials, method.seed)


def _lower(space: Space, method: Method, networks: Networks, out: Path, store: Store) -> None:
    """Make the workloads that are sure to be needed. Raises `AnalysisError` where one of those that the file lists
    cannot be made, or lacks what an objective asks for; one that came about by combining becomes rows."""
    free = any(of_workload(path) and path != "workload" for p in space.parameters for path in p.paths)
    if free and method.trials is not None:
        return
    with progress() as steps:
        eager = Networks(out, store, steps, _lowered)
        for entry in entries(space):
            lowered = eager.lowered(entry.network)
            if lowered.reason and not free:
                raise AnalysisError(f"workload {entry.label!r}: {lowered.reason}")
            if space.page and not lowered.reason:
                for _, workload in load_run(file_of(out, lowered.content)).parts:
                    _check_page(space, workload)
            asked = [o.name for o in space.objectives if o.name in OF_SAMPLES]
            if asked and not lowered.reason and lowered.batch != lowered.batch:
                raise AnalysisError(
                    f"objective {asked[0]}: workload {entry.label!r} does not know its batch, so it has no samples a "
                    "second; take latency_s, or save it again with `zerocast lower --batch N`"
                )


def _lowered(network: Network, steps: Steps) -> Workload | Run:
    """The workload of a network, the run of one that has a schedule."""
    if network.schedule is None:
        return lower(network, steps)
    from zerocast.analysis.train.jobs import lowered_run

    return lowered_run(network, steps)


def _check_page(space: Space, workload: Workload) -> None:
    """Given mappings that fit no op of a workload, or not the accelerator as it is described, raise what
    `given_products` does before anything is priced."""
    if (base := space.variants.base) is not None:
        given_products(program(workload, base).products, json.loads(space.page), base)


@contextmanager
def _crew(space: Space, out: Path, workers: int, dask: str | None) -> Iterator[Crew]:
    crew: Crew
    terms, file = terms_of(space), partial(file_of, out)
    if dask is not None:
        from zerocast.analysis.explore.pricing.cluster import Cluster

        crew = Cluster(terms, file, dask)
    elif workers == 1:
        crew = Here(terms, file)
    else:
        crew = Pool(terms, file, workers)
    try:
        yield crew
    finally:
        crew.close()


def _silent(what: str, /) -> AbstractContextManager[Step]:
    return nullcontext(lambda done, of: None)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False)

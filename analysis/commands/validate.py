"""The verb `validate`: hold the predictions against references, the known misses and the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zerocast.analysis.commands.command_line import TABLE, load_accelerator, spare, writable
from zerocast.analysis.commands.printing.remark import note

if TYPE_CHECKING:
    from zerocast.analysis.validate import Comparison

_OPTION = typer.Option


def validate_command(
    suite: Annotated[
        str | None, typer.Argument(help="One suite, or SUITE:PART, such as zeroskip:sigma; all without it.")
    ] = None,
    part: Annotated[
        str | None, typer.Argument(help="One part of the suite, such as a system's number or name.")
    ] = None,
    out: Annotated[Path | None, _OPTION("--out", help="CSV to write the comparisons to.")] = None,
    write: Annotated[Path | None, _OPTION("--write", help="Markdown to write the comparisons to.")] = None,
    record: Annotated[
        bool, _OPTION("--record", help="Keep the predictions as the record that later runs are held to.")
    ] = False,
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

    Exit status 1 where a comparison is out of its tolerance and no known miss, a known miss exceeds its bound, or a
    row is worse than recorded.
    """
    _check_measured_options(suite, measured, accelerator, settings, tolerance)
    if measured is not None and (record or write is not None):
        from zerocast.analysis.errors import AnalysisError

        raise AnalysisError("--record and --write keep the shipped suites; with --measured use --out")
    name, part = _suite(suite, part)
    for option, file, what, endings in (("--out", out, "a table", TABLE), ("--write", write, "a page", (".md", ""))):
        if file is not None:
            writable(file, what, endings, option)
            spare(file, measured)
    if measured is not None:
        held = _against_measured(measured, accelerator, settings, tolerance, out)
    else:
        held = _against_references(name, part, out, write, record)
    if not held:
        raise typer.Exit(1)


def _suite(text: str | None, part: str | None) -> tuple[str | None, str | None]:
    """Suite and part that `SUITE:PART` or `SUITE PART` names."""
    from zerocast.analysis.errors import AnalysisError
    from zerocast.analysis.validate import SUITES

    if text is None:
        return None, None
    name, _, own = text.partition(":")
    if name not in SUITES:
        raise AnalysisError(f"no validation suite {name!r}; there are {', '.join(SUITES)}")
    return name, own or part


def _against_measured(
    measured: Path, accelerator: str | None, settings: list[str] | None, tolerance: float | None, out: Path | None
) -> bool:
    """Verdicts on the user's own measurements, which no record knows."""
    from zerocast.analysis.validate.suites.gpu.products.measured import compare_measured
    from zerocast.analysis.validate.text import print_verdicts, write_verdicts
    from zerocast.analysis.validate.verdict import judge_alone

    card = load_accelerator(accelerator, settings) if accelerator else None
    verdicts = judge_alone(compare_measured(measured, card, tolerance, say=note))
    print_verdicts(verdicts)
    if out is not None:
        write_verdicts(out, verdicts)
    return all(verdict.status != "FAIL" for verdict in verdicts)


def _against_references(
    suite: str | None, part: str | None, out: Path | None, write: Path | None, record: bool
) -> bool:
    from zerocast.analysis.validate import SUITES, run
    from zerocast.analysis.validate.page import page
    from zerocast.analysis.validate.record import known_misses, recorded
    from zerocast.analysis.validate.text import print_verdicts, write_verdicts
    from zerocast.analysis.validate.verdict import judge, missing

    rows = run(suite, say=lambda step: typer.echo(f"{step} ...", err=True), part=part)
    whole = () if part else [suite] if suite else list(SUITES)
    misses = known_misses()
    if record:
        _record(rows, whole)
    before = recorded()
    verdicts = judge(rows, before, misses)
    wrong, remarks = missing(rows, before, misses, whole)
    print_verdicts(verdicts, wrong, remarks)
    if out is not None:
        write_verdicts(out, verdicts)
    if write is not None:
        write.write_text(page(rows, misses), encoding="utf-8")
    return not wrong and all(verdict.status != "FAIL" for verdict in verdicts)


def _record(rows: Sequence[Comparison], whole: Sequence[str]) -> None:
    from zerocast.analysis.validate import SUITES
    from zerocast.analysis.validate.page import page
    from zerocast.analysis.validate.record import known_misses, merged, recorded, write_record

    kept = merged(recorded(), rows, whole, list(SUITES))
    for file in write_record(kept, page(kept, known_misses())):
        note(f"recorded: {file}")
    if "systems" in whole:
        from zerocast.analysis.validate.record import write_reference
        from zerocast.analysis.validate.suites.systems import judged, systems
        from zerocast.analysis.validate.suites.systems.page import FILE
        from zerocast.analysis.validate.suites.systems.page import page as scoreboard

        note(f"recorded: {write_reference(FILE, scoreboard(judged(system.number) for system in systems()))}")


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

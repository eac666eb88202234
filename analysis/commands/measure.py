"""The verbs `measure` and `calibrate`: time a GPU, and fit a card's constants to what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from zerocast.analysis.commands.command_line import AcceleratorName, Settings, load_accelerator, spare, writable
from zerocast.analysis.commands.printing.remark import note

_OPTION = typer.Option


def measure_command(context: typer.Context) -> int:
    """Measure GEMMs and networks on this machine's GPU.

    Its options are those of `python -m zerocast.analysis.measure`, which needs torch, numpy and pandas alone.
    """
    from zerocast.analysis.measure.__main__ import main as measure

    try:
        return measure(context.args)
    except SystemExit as stop:  # after --help
        return int(stop.code or 0)


def calibrate_command(
    measured: Annotated[Path, typer.Argument(help="File of `zerocast measure`, or CSV with columns M, N, K, us.")],
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

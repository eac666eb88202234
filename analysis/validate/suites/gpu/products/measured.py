"""Predictions against a file of measurements: `zerocast validate gpu --measured FILE`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.calibration.measured_device import DEVICES, mismatches
from zerocast.analysis.calibration.measured_table import MeasuredFile, measured_products, read_measured
from zerocast.analysis.calibration.plausible import IMPLAUSIBLE, REMEDY, implausible, refuse
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate.comparison import Comparison, at_least, at_most, information
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu.card import gpu_part, type_class
from zerocast.simulator.gpu.fit.calibration import LEVELS, Calibrated, calibration_of
from zerocast.simulator.gpu.fit.fitting import Measured
from zerocast.simulator.gpu.predict import Prediction, datasheet_roofline, predict

TOLERANCE = dict(zip(LEVELS, (0.25, 0.15, 0.09), strict=True))
"""Mean error allowed by the level of a calibration: of a generation never fitted as in the suite `gpu`; of left-out
shapes in another collection of measurements than the fitted one, which may lie 15 % apart on one card (assumption); of
left-out shapes in the collection that was fitted, as the suite allows for 2:4."""
COVERAGE, DEVIATIONS = 0.9, 2.0
"""Share that an error bar claims to hold, and standard errors of a share that the count may fall short of it."""
LEAST_JUDGED = 10
"""Products below which a mean says too little for a verdict, as for a fit."""

Say = Callable[[str], None]


def compare_measured(
    path: Path,
    accelerator: Accelerator | None = None,
    tolerance: float | None = None,
    say: Say = lambda _line: None,
) -> list[Comparison]:
    """Verdicts on the mean error and the error bar for each device, data type and sparsity in a file.

    Products that the card's calibration was fitted to are not judged. accelerator: the card; without it the template of
    each device's name. tolerance: mean error allowed, by default `TOLERANCE`. say: is told what to know of the file.
    Raises `AnalysisError` for a file of another kind or schema version, for devices none of which has a template and
    for times that no card could have; `SimulationError` for an accelerator that is no GPU.
    """
    if accelerator is not None:
        gpu_part(accelerator)
    source = read_measured(path)
    for note in source.notes:
        say(note)
    table = source.table[~source.table.phase.isin(("middle", "end"))]  # anchors count once
    cards = {device: accelerator or _template(device) for device in table.device.unique()}
    if all(card is None for card in cards.values()):
        names = ", ".join(repr(name) for name in cards if name) or "the file names no device"
        raise AnalysisError(f"{path}: no template for its device ({names}); name the card with --accelerator")
    if accelerator is not None:
        _warn(source, accelerator, say)
    rows: list[Comparison] = []
    wrong: dict[int, str] = {}
    for key, some in table.groupby(["device", "dtype", "sparsity"], dropna=False, sort=False):
        device, dtype, sparsity = map(str, key)
        what = " ".join(filter(None, (device, dtype, sparsity)))
        if (card := cards[device]) is None:
            rows.append(information("gpu", f"{what}: products", len(some), "", "no template; give --accelerator"))
            continue
        rows += _class_rows(what, some, card, dtype, sparsity == "2:4", tolerance, wrong)
    refuse(path, wrong, len(table), IMPLAUSIBLE, REMEDY)
    if all(row.ok is None for row in rows):
        say("warning: no verdict, since no kind of product has enough that are priced and were not fitted")
    return rows


def _template(device: str) -> Accelerator | None:
    return load(DEVICES[device]) if device in DEVICES else None


def _warn(source: MeasuredFile, accelerator: Accelerator, say: Say) -> None:
    for difference in mismatches(source.machines, accelerator):
        say(f"warning: {difference}")


def _class_rows(
    what: str, rows: pd.DataFrame, card: Accelerator, dtype: str, sparse: bool, tolerance: float | None,
    wrong: dict[int, str],
) -> list[Comparison]:  # fmt: skip
    """Comparisons of products of one kind; what is wrong with their times goes into `wrong` by line."""
    calibration = calibration_of(gpu_part(card).calibration)
    try:
        calibrated = calibration.of(f"{'sparse' if sparse else 'dense'}_{type_class(card, dtype)}")
    except SimulationError as error:
        return [information("gpu", f"{what}: products", len(rows), "", str(error))]
    measured = measured_products(rows, card)
    reasons = implausible(measured, calibrated)
    wrong |= {int(line): reason for line, reason in zip(rows.line, reasons, strict=True) if reason}
    found = predict(measured.problem, calibrated)
    judged = ~_fitted(measured, calibrated)
    limit = TOLERANCE[calibrated.level] if tolerance is None else tolerance
    rows_of_bar = np.inf if calibrated.residuals is None else len(calibrated.residuals)  # shipped bars: from thousands
    comparisons = _verdicts(what, found, measured, judged, limit, rows_of_bar) if judged.any() else []
    if not judged.all():
        note = f"{(~judged).sum()} products that the calibration was fitted to; not judged"
        mean = float(np.abs(found.seconds / measured.seconds - 1)[~judged].mean())
        comparisons.append(information("gpu", f"{what}: mean error of fitted products", mean, "", note))
    return comparisons


def _fitted(measured: Measured, calibrated: Calibrated) -> NDArray[np.bool_]:
    """Which products have a shape that a calibration by `zerocast calibrate` was fitted to, shape (products,)."""
    if calibrated.residuals is None:  # shapes of shipped ones stand for others' measurements
        return np.zeros(len(measured.seconds), dtype=bool)
    known = set(map(tuple, calibrated.shapes.tolist()))
    p = measured.problem
    return np.array([shape in known for shape in map(tuple, np.concatenate([p.m, p.n, p.k], axis=1).tolist())])


def _verdicts(
    what: str, found: Prediction, measured: Measured, judged: NDArray[np.bool_], limit: float, rows: float
) -> list[Comparison]:
    """The mean error against the limit and the share inside the error bar against what the bar claims.

    rows: products that the bar was found from, which make it uncertain itself.
    """
    seconds = measured.seconds[judged]
    errors = found.seconds[judged] / seconds - 1
    size = np.abs(errors)
    roofline = np.abs(datasheet_roofline(measured.problem[judged]) / seconds - 1).mean()
    inside = float(((found.low_s[judged] <= seconds) & (seconds <= found.high_s[judged])).mean())
    count = len(seconds)
    least = COVERAGE - DEVIATIONS * float(np.sqrt(COVERAGE * (1 - COVERAGE) * (1 / count + 1 / rows)))
    note = (
        f"{found.level}, {count} products, median {np.median(size):.1%}, p90 {np.quantile(size, 0.9):.1%}, "
        f"bias {errors.mean():+.1%}; datasheet roofline {roofline:.1%}"
    )
    mean, names = float(size.mean()), (f"{what}: mean error", f"{what}: share inside the error bar")
    if count < LEAST_JUDGED:
        few = f"too few to judge, {LEAST_JUDGED} are needed; "
        return [
            information("gpu", name, value, "", few + note) for name, value in zip(names, (mean, inside), strict=True)
        ]
    source = "measurements of the file"
    bar = f"{COVERAGE:.0%} less {DEVIATIONS:g} standard errors of a share of {count} products"
    return [
        at_most("gpu", names[0], mean, limit, source, note),
        at_least("gpu", names[1], inside, least, source, bar),
    ]

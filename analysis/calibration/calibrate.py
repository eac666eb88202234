"""Fit the constants of a GPU to a user's own measurements: what `zerocast calibrate` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zerocast.accelerators import Accelerator
from zerocast.accelerators.library import read_yaml
from zerocast.analysis.calibration.generations import FEW_SHRINKAGE, bar_of, write
from zerocast.analysis.calibration.measured_device import mismatches
from zerocast.analysis.calibration.measured_table import MeasuredFile, measured_products, read_measured
from zerocast.analysis.calibration.plausible import IMPLAUSIBLE, REMEDY, implausible, refuse
from zerocast.analysis.errors import AnalysisError
from zerocast.simulator.gpu.card import gpu_part, type_class
from zerocast.simulator.gpu.fit.calibration import LEVELS, SUFFIXES, Calibrated, Calibration, calibration_of
from zerocast.simulator.gpu.fit.fitting import Measured, fit
from zerocast.simulator.gpu.fit.neighbours import correction, log_shapes
from zerocast.simulator.gpu.problem import Problem
from zerocast.simulator.gpu.times import choose

Array = NDArray[np.float64]

FOLDS = 5
FOLD_EVALUATIONS, EVALUATIONS = 8, 20
LEAST_SHAPES = 10
"""Different shapes that a class needs: fewer say nothing about the error bar."""
MOST_ROWS = 1000
"""Measured products of a class that are used; of more, so many at random."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Own:
    """A class fitted to measurements: what a calibration file keeps of it."""

    calibrated: Calibrated
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    """Measured products that share constants. rows and products are in the same order."""

    name: str
    rows: pd.DataFrame
    products: Measured
    sparse: bool

    @property
    def shapes(self) -> int:
        """How many different shapes there are."""
        return len(self.rows[["M", "N", "K"]].drop_duplicates())


def calibrate(
    measured: Path, accelerator: Accelerator, out: Path, *, other_card: bool = False, say: Say = lambda _line: None
) -> dict[str, Own]:
    """Fit each class of products in a file and write a calibration; classes without measurements keep the card's own.

    measured: a file of `zerocast measure`, whose held-out products are not fitted, or a CSV with columns M, N, K, us
    and any of dtype (bf16 where it is missing), sparsity (dense or 2:4), weights_cold. other_card: take measurements
    of a device that the accelerator does not describe. say: is told what to know of the file.
    Raises `AnalysisError` for a file of another kind or schema version, for measurements of another card, for times
    that no card could have and for too few products; `SimulationError` for an accelerator that is no GPU or lacks the
    data type.
    """
    base_name = gpu_part(accelerator).calibration
    if Path(base_name).resolve() == out.resolve():
        raise AnalysisError(f"--out {str(out)!r} is the calibration to start from; write to another file")
    base = calibration_of(base_name)
    source = read_measured(measured)
    _same_card(source, accelerator, other_card, say)
    for note in source.notes:
        say(note)
    table = source.table[source.table.role != "held_out"]
    if held := len(source.table) - len(table):
        judge = f"`zerocast validate gpu --measured {measured} --accelerator CARD --set gpu.calibration={out}`"
        say(f"{held} held-out products are not fitted; judge the fit on them: {judge}")
    classes = list(_classes(table, accelerator))
    _refuse_implausible(measured, classes, base)
    command = f"zerocast calibrate {measured.name} --accelerator {accelerator.name}"
    fitted = {
        one.name: fit_class(one.products, base.of(one.name), f"{measured.name}: {len(one.rows)} products", command)
        for one in _large_enough(measured, classes, say)
    }
    inherited, shipped = _inherited(base_name)
    write(out, out.stem, {**inherited, **{kind: _entry(own) for kind, own in fitted.items()}}, shipped)
    return fitted


def _same_card(source: MeasuredFile, accelerator: Accelerator, other_card: bool, say: Say) -> None:
    """Refuse measurements of another card, or only warn where the user insists."""
    remedy = (
        "name the measured card with --accelerator (your own YAML if there is no template), or insist: --other-card"
    )
    for difference in mismatches(source.machines, accelerator):
        if not other_card:
            raise AnalysisError(f"{source.path}: {difference}; {remedy}")
        say(f"warning: {difference}; fitted all the same")


def _large_enough(path: Path, classes: list[_Class], say: Say) -> list[_Class]:
    """The classes with enough shapes; the others are told. Raises `AnalysisError` where there is none."""
    enough = [one for one in classes if one.shapes >= LEAST_SHAPES]
    counts = [f"{one.name} {one.shapes} in {len(one.rows)} rows" for one in classes if one not in enough]
    if not enough:
        raise AnalysisError(
            f"{path}: no class of products has {LEAST_SHAPES} different shapes ({', '.join(counts) or 'none to fit'}); "
            "measure more shapes"
        )
    if counts:
        say(f"fewer than {LEAST_SHAPES} different shapes, constants kept: {', '.join(counts)}")
    return enough


def _refuse_implausible(path: Path, classes: list[_Class], base: Calibration) -> None:
    """Raise `AnalysisError` where times cannot be those of the card."""
    wrong: dict[int, str] = {}
    for one in (one for one in classes if one.name in base.classes):
        reasons = implausible(one.products, base.of(one.name))
        wrong |= {int(line): reason for line, reason in zip(one.rows.line, reasons, strict=True) if reason}
    refuse(path, wrong, sum(len(one.rows) for one in classes), IMPLAUSIBLE, REMEDY)


def _inherited(name: str) -> tuple[dict[str, Any], str]:
    """Classes of a calibration file as they stand in it, and the shipped calibration below it: what is written next
    needs no file of the user's beside it."""
    classes: dict[str, Any] = {}
    while Path(name).suffix in SUFFIXES:
        content = read_yaml(Path(name).read_text(encoding="utf-8"), name)
        classes = {**content["classes"], **classes}
        name = content.get("base", "")
    return classes, name


def fit_class(products: Measured, base: Calibrated, words: str = "", command: str = "") -> Own:
    """Constants drawn from their generation's to the measurements, with what is left as residuals of the neighbours.

    The error bar comes from predicting each fifth of the products from the others.
    """
    products = _thinned(products)
    rows = len(products.seconds)
    fold = _folds(products.problem)
    errors = np.zeros(rows)
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        rest = _fitted(_some(products, inside), base, FOLD_EVALUATIONS)
        predicted = corrected_log_s(products.problem[outside], rest)
        errors[outside] = np.log(products.seconds[outside]) - predicted
    whole = _fitted(products, base, EVALUATIONS)
    low, high = bar_of(errors)
    assert whole.residuals is not None  # _fitted makes them
    calibrated = Calibrated(
        LEVELS[2], whole.constants, low, high, whole.shapes, whole.residuals, words, command, base.kind
    )  # fmt: skip
    return Own(calibrated, rows)


def _folds(problem: Problem) -> NDArray[np.intp]:
    """Number of the fold of each product. All products of a shape share one, so that none is predicted from itself."""
    shapes = pd.Series(list(zip(*(side.ravel() for side in (problem.m, problem.n, problem.k)), strict=True)))
    numbers, names = pd.factorize(shapes)
    return np.random.default_rng(0).permutation(len(names))[numbers] % FOLDS


def corrected_log_s(problem: Problem, calibrated: Calibrated) -> Array:
    """log of the predicted seconds, corrected by the nearest measured products."""
    times = choose(problem, calibrated.constants, calibrated.kernels).seconds
    assert calibrated.residuals is not None
    shapes = log_shapes(problem.m, problem.n, problem.k)
    return np.log(times) + correction(shapes, log_shapes(*calibrated.shapes.T), calibrated.residuals)


def _fitted(products: Measured, base: Calibrated, evaluations: int) -> Calibrated:
    constants = fit([products], base.constants, base.kernels, shrinkage=FEW_SHRINKAGE, evaluations=evaluations)
    left = np.log(products.seconds / choose(products.problem, constants, base.kernels).seconds)
    p = products.problem
    return Calibrated(LEVELS[2], constants, 0.0, 0.0, np.concatenate([p.m, p.n, p.k], axis=1), left, kind=base.kind)


def _some(products: Measured, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Measured:
    return Measured(products.problem[rows], products.seconds[rows])


def _thinned(products: Measured) -> Measured:
    if len(products.seconds) <= MOST_ROWS:
        return products
    return _some(products, np.random.default_rng(0).permutation(len(products.seconds))[:MOST_ROWS])


def _classes(table: pd.DataFrame, accelerator: Accelerator) -> Iterator[_Class]:
    """The classes of products in a table. Raises `SimulationError` for a data type that the card lacks."""
    kinds = table.dtype.map({name: type_class(accelerator, name) for name in table.dtype.unique()})
    for sparsity, prefix in (("dense", "dense"), ("2:4", "sparse")):
        for kind in kinds.unique():
            rows = table[(kinds == kind) & (table.sparsity == sparsity)]
            if len(rows):
                yield _Class(f"{prefix}_{kind}", rows, measured_products(rows, accelerator), sparsity == "2:4")


def _entry(own: Own) -> dict[str, Any]:
    one = own.calibrated
    assert one.residuals is not None
    return {
        "level": one.level, "fitted_on": one.fitted_on, "rows": own.rows, "command": one.command,
        "constants": one.constants.rounded(),
        "error": {"low": float(f"{one.low:.4g}"), "high": float(f"{one.high:.4g}")},
        "shapes": one.shapes.astype(int).tolist(),
        "residuals": [float(f"{value:.4f}") for value in one.residuals],
    }  # fmt: skip

"""Fit the constants of a GPU to a user's own measurements: what `zerocast calibrate` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accelerators import Accelerator
from analysis.errors import AnalysisError
from analysis.gpu_generations import FEW_SHRINKAGE, bar_of, write
from analysis.gpu_tables import WIDTH
from simulator.gpu.calibration import LEVELS, Calibrated, calibration_of
from simulator.gpu.card import card_of, gpu_part, type_class
from simulator.gpu.fitting import Measured, fit
from simulator.gpu.neighbours import correction, log_shapes
from simulator.gpu.problem import Problem, join, problem
from simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, choose

Array = NDArray[np.float64]

FOLDS = 5
FOLD_EVALUATIONS, EVALUATIONS = 8, 20
LEAST_ROWS = 10
"""Measured products that a class needs: fewer say nothing about the error bar."""
MOST_ROWS = 1000
"""Measured products of a class that are used; of more, so many at random."""
COLUMNS = ("M", "N", "K", "us")
OUT_BYTES = {"float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "int8": 1}


@dataclass(frozen=True, slots=True)
class Own:
    """A class fitted to measurements: what a calibration file keeps of it."""

    calibrated: Calibrated
    rows: int


def calibrate(measured: Path, accelerator: Accelerator, out: Path) -> dict[str, Own]:
    """Fit each class of products in a file and write a calibration; classes without measurements keep the card's own.

    measured: a file of `zerocast measure`, or a CSV with columns M, N, K, us and any of dtype (bf16 where it is
    missing), sparsity (dense or 2:4), weights_cold. Raises `AnalysisError` for a file of another kind or schema
    version and for too few products; `SimulationError` for an accelerator that is no GPU or lacks the data type.
    """
    table = read_measured(measured)
    base_name = gpu_part(accelerator).calibration
    if Path(base_name).resolve() == out.resolve():
        raise AnalysisError(f"--out {str(out)!r} is the calibration to start from; write to another file")
    base = calibration_of(base_name)
    command = f"zerocast calibrate {measured.name} --accelerator {accelerator.name}"
    fitted = {}
    for kind, sparse, products in _classes(table, accelerator):
        words = f"{measured.name}: {len(products.seconds)} products"
        fitted[kind] = fit_class(products, base.of(kind), sparse, words, command)
    if not fitted:
        raise AnalysisError(f"{measured}: no class of products has {LEAST_ROWS} measurements; measure more shapes")
    write(out, out.stem, {kind: _entry(own) for kind, own in fitted.items()}, base_name)
    return fitted


def fit_class(products: Measured, base: Calibrated, sparse: bool, words: str = "", command: str = "") -> Own:
    """Constants drawn from their generation's to the measurements, with what is left as residuals of the neighbours.

    The error bar comes from predicting each fifth of the products from the others.
    """
    products = _thinned(products)
    rows = len(products.seconds)
    fold = np.random.default_rng(0).permutation(rows) % FOLDS
    errors = np.zeros(rows)
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        rest = _fitted(_some(products, inside), base, sparse, FOLD_EVALUATIONS)
        predicted = corrected_log_s(products.problem[outside], rest, sparse)
        errors[outside] = np.log(products.seconds[outside]) - predicted
    whole = _fitted(products, base, sparse, EVALUATIONS)
    low, high = bar_of(errors)
    assert whole.residuals is not None  # _fitted makes them
    calibrated = Calibrated(
        LEVELS[2], whole.constants, low, high, whole.shapes, whole.residuals, words, command
    )  # fmt: skip
    return Own(calibrated, rows)


def corrected_log_s(problem: Problem, calibrated: Calibrated, sparse: bool) -> Array:
    """log of the predicted seconds, corrected by the nearest measured products."""
    times = choose(problem, calibrated.constants, SPARSE_KERNELS if sparse else DENSE_KERNELS).seconds
    assert calibrated.residuals is not None
    shapes = log_shapes(problem.m, problem.n, problem.k)
    return np.log(times) + correction(shapes, log_shapes(*calibrated.shapes.T), calibrated.residuals)


def _fitted(products: Measured, base: Calibrated, sparse: bool, evaluations: int) -> Calibrated:
    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    constants = fit([products], base.constants, kernels, shrinkage=FEW_SHRINKAGE, evaluations=evaluations)
    left = np.log(products.seconds / choose(products.problem, constants, kernels).seconds)
    p = products.problem
    return Calibrated(LEVELS[2], constants, 0.0, 0.0, np.concatenate([p.m, p.n, p.k], axis=1), left)


def _some(products: Measured, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Measured:
    return Measured(products.problem[rows], products.seconds[rows])


def _thinned(products: Measured) -> Measured:
    if len(products.seconds) <= MOST_ROWS:
        return products
    return _some(products, np.random.default_rng(0).permutation(len(products.seconds))[:MOST_ROWS])


def read_measured(path: Path) -> pd.DataFrame:
    """Measured products with columns M, N, K, us, dtype, sparsity, weights_cold and out_dtype.

    Raises `AnalysisError` for a file that is not readable, of another schema version or without a needed column.
    """
    with path.open("rb") as stream:
        is_records = stream.read(1) == b"{"
    if is_records:
        from analysis.measure.results import load_measurements

        table, _ = load_measurements(path)
        table = table[(table.suite == "gemm") & (table.error == "")]
        if table.empty:
            raise AnalysisError(f"{path}: no product was measured; run `zerocast measure --suite gemm`")
        table = table[table.algorithm == "default"].rename(columns={"median_us": "us"})
    else:
        try:
            table = pd.read_csv(path)
        except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise AnalysisError(f"{path}: not a CSV of measurements ({error})") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise AnalysisError(f"{path}: no column {' and no column '.join(missing)}; the header needs M, N, K, us")
    return _checked(table, path)


_TRUTH = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Defaults for columns that are missing, and no figure that is none."""
    defaults: dict[str, Any] = {"dtype": "bf16", "sparsity": "dense", "weights_cold": True, "out_dtype": ""}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    for name in COLUMNS:
        numbers = pd.to_numeric(table[name], errors="coerce")
        good = (numbers > 0) & np.isfinite(numbers) & ((name == "us") | (numbers % 1 == 0))
        bad = np.flatnonzero(~good)
        if len(bad):
            wanted = "positive number" if name == "us" else "whole number above 0"
            value = table[name].iloc[bad[0]]
            raise AnalysisError(f"{path}: row {bad[0] + 1}, column {name}: {value!s} is no {wanted}")
        table = table.assign(**{name: numbers})
    table = table.fillna({"weights_cold": True, "out_dtype": "", "dtype": "bf16"})
    words = table.weights_cold.astype(str).str.strip().str.lower().map(_TRUTH)
    if words.isna().any():
        wrong = table.weights_cold[words.isna()].iloc[0]
        raise AnalysisError(f"{path}, column weights_cold: {wrong!s} is neither true nor false")
    table = table.assign(weights_cold=words.astype(bool))
    for name, known in (("sparsity", ("dense", "2:4")), ("dtype", tuple(WIDTH)), ("out_dtype", ("", *OUT_BYTES))):
        if unknown := sorted(set(table[name].astype(str)) - set(known)):
            raise AnalysisError(f"{path}, column {name}: unknown {unknown[0]!r}; choose {', '.join(known)}")
    return table


def _classes(table: pd.DataFrame, accelerator: Accelerator) -> Iterator[tuple[str, bool, Measured]]:
    """Class name, whether it is 2:4, and the products, for each class with enough of them."""
    kinds = table.dtype.map({name: type_class(accelerator, name) for name in table.dtype.unique()})
    for sparsity, prefix in (("dense", "dense"), ("2:4", "sparse")):
        for kind in kinds.unique():
            rows = table[(kinds == kind) & (table.sparsity == sparsity)]
            if len(rows) >= LEAST_ROWS:
                yield f"{prefix}_{kind}", sparsity == "2:4", measured_products(rows, accelerator)


def measured_products(rows: pd.DataFrame, accelerator: Accelerator) -> Measured:
    """Rows of a checked table as products with their times; all dense, or all 2:4."""
    parts, seconds = [], []
    for (dtype, cold, out), some in rows.groupby(["dtype", "weights_cold", "out_dtype"], sort=False):
        parts.append(problem(
            card_of(accelerator, str(dtype)), *(some[side].to_numpy() for side in ("M", "N", "K")),
            element_bytes=WIDTH[str(dtype)], out_element_bytes=OUT_BYTES.get(str(out), 2),
            sparse=bool((some.sparsity == "2:4").all()), repeats=not bool(cold),
        ))  # fmt: skip
        seconds.append(some.us.to_numpy(dtype=float) * 1e-6)
    return Measured(join(parts), np.concatenate(seconds))


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

"""GPU kernel times against measured products that no fit has seen.

Pairs (N, K) are held out whole, networks likewise. Beside the model stand, on the same rows, the datasheet's roofline
and one fitted to the same training rows (a share of the rate, a share of the bandwidth, a floor).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from zerocast.analysis.calibration.calibrate import corrected_log_s, fit_class
from zerocast.analysis.calibration.generations import FEW_SHRINKAGE, SPARSE_CONSTANTS, sparse_start
from zerocast.analysis.calibration.tables import (
    CARDS,
    dense_measured,
    dense_table,
    paired_measured,
    paired_problem,
    sparse_rows,
)
from zerocast.analysis.validate.comparison import Comparison, at_least, at_most, information
from zerocast.analysis.validate.suites.gpu.products.cuda_cores import (
    convolutions_on_cuda_cores,
    products_on_older_cards,
)
from zerocast.analysis.validate.suites.gpu.products.layers import layers_by_card, layers_elsewhere
from zerocast.analysis.validate.suites.gpu.products.sparse import sparse_kernel_rows
from zerocast.simulator.gpu.card import TYPE_CLASSES
from zerocast.simulator.gpu.fit.calibration import Calibrated, calibration_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.fit.fitting import GEMM_CONSTANTS, Measured, fit
from zerocast.simulator.gpu.fit.lattice import lattice_of
from zerocast.simulator.gpu.predict import UNSEEN_BAR, datasheet_roofline, fitted_roofline, predict, roofline_parts
from zerocast.simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, choose

Array = NDArray[np.float64]

SOURCE_DENSE = "NVIDIA aiconfigurator, published measurement tables (sample)"
SOURCE_SPARSE = "github.com/bcacdwk/vllmbench @92a8ca49, cuBLASLt and cuSPARSELt on PCIe cards"
REAL = 16, 512
"""Least M, and least N and K, of products of a real size."""
COVERAGE = 0.9
OWN_ROWS = 100
"""Measured products that a user gives to `zerocast calibrate`."""
OWN_SEEDS = 1, 2, 3
LEARNED = {("A100-SXM-80GB", "bf16"): 0.055, ("H100-SXM", "bf16"): 0.04, ("H200-SXM", "bf16"): 0.041,
           ("H100-SXM", "fp8"): 0.03, ("H200-SXM", "fp8"): 0.03}  # fmt: skip
"""Mean errors that the lattices of the measured cards must not exceed."""
A100, H100, H200 = "A100-SXM-80GB", "H100-SXM", "H200-SXM"
A100_PCIE, H100_PCIE = "A100 80GB PCIe", "H100 80GB PCIe"


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors, predicted / measured - 1, of shape (rows,), and which rows are of a real size."""

    errors: Array
    real: NDArray[np.bool_]

    def words(self) -> str:
        """Median, 90th percentile and bias of all rows, and the mean error of those of a real size."""
        size = np.abs(self.errors)
        real = self.errors[self.real]
        return (
            f"median {np.median(size):.1%}, p90 {np.quantile(size, 0.9):.1%}, bias {self.errors.mean():+.1%}; "
            f"real sizes: mean {np.abs(real).mean():.1%}, p90 {np.quantile(np.abs(real), 0.9):.1%}, "
            f"bias {real.mean():+.1%}, {len(real)} of {len(size)}"
        )

    @property
    def mean(self) -> float:
        """Mean absolute error."""
        return float(np.abs(self.errors).mean())


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    say("generation constants on held-out pairs (N, K)")
    rows = generations()
    say("cards and generations never fitted")
    rows += transfers()
    say(f"{OWN_ROWS} measurements of a card")
    rows += own_measurements()
    say("products on CUDA cores and older tensor cores")
    rows += products_on_older_cards() + convolutions_on_cuda_cores()
    say("2:4, one network left out in turn")
    rows += two_of_four() + shipped_two_of_four() + layers_elsewhere() + layers_by_card()
    say("sparse kernels, matrices left out in turn")
    return rows + sparse_kernel_rows()


def held_out(card: str, dtype: str) -> tuple[pd.DataFrame, Measured]:
    """Rows of a dense table that no fit sees."""
    table = dense_table(dtype)
    rows = table[(table.gpu == card) & (table.part == "held")]
    return rows, dense_measured(rows, dtype)


def errors_of(rows: pd.DataFrame, seconds: Array, measured: Measured) -> Errors:
    """Errors of predicted seconds, shape (rows,)."""
    least_m, least = REAL
    real = (least_m <= rows.M) & (least <= rows.N) & (least <= rows.K)
    return Errors(seconds / measured.seconds - 1, real.to_numpy())


def generations() -> list[Comparison]:
    """Shipped constants of a generation, beside the rooflines, with the coverage of the error bars."""
    rows = []
    for card, dtype, calibration, target in (
        (H200, "bf16", "hopper", 0.06), (H100, "bf16", "hopper", 0.06), (A100, "bf16", "ampere", 0.09),
        (H100, "fp8", "hopper", 0.08), (H200, "fp8", "hopper", 0.08),
    ):  # fmt: skip
        table, measured = held_out(card, dtype)
        kind = "dense_fp8" if dtype == "fp8" else "dense_16bit"
        calibrated = calibration_of(calibration).of(kind)
        what = f"{card} {dtype}: "
        rows.append(_mean(what + "mean error, left-out pairs", table, measured, calibrated, target))
        learned = predict(measured.problem, calibrated, lattice=lattice_of(CARDS[card], kind))
        errors = errors_of(table, learned.seconds, measured)
        what_learned = f"{what}with the card's lattice, mean error, left-out pairs"
        rows.append(_limit(what_learned, errors.mean, LEARNED[card, dtype], SOURCE_DENSE, errors.words()))
        rows.append(_coverage(what + "share inside the error bar", measured, calibrated))
        for name, seconds in (
            ("datasheet roofline", datasheet_roofline(measured.problem)),
            ("fitted roofline", _fitted_roofline(card, dtype, measured)),
        ):
            errors = errors_of(table, seconds, measured)
            rows.append(
                information("gpu", f"{what}{name}, mean error on the same rows", errors.mean, "", errors.words())
            )
    return rows


def transfers() -> list[Comparison]:
    """Cards that the constants never saw: one of the same generation, and whole generations."""
    table, measured = held_out(H200, "bf16")
    h100 = calibration_of("hopper-h100-sxm").of("dense_16bit")
    rows = [_mean(f"{H200} bf16: mean error with constants of the H100 alone", table, measured, h100, 0.07)]
    ampere = calibration_of("ampere-a100-sxm").of("dense_16bit")
    for card, other, name in ((A100, h100, "H100"), (H100, ampere, "A100"), (H200, ampere, "A100")):
        table, measured = held_out(card, "bf16")
        unseen = Calibrated("specification only", other.constants, -UNSEEN_BAR, UNSEEN_BAR, other.shapes)
        what = f"{card} bf16, specification only (constants of the {name}): "
        rows.append(_mean(what + "mean error", table, measured, unseen, 0.25))
        rows.append(_coverage(what + "share inside the error bar", measured, unseen, COVERAGE))
    return rows


def own_measurements() -> list[Comparison]:
    """A card with some measurements of its own, from constants that never saw it, on the pairs left out.

    The mean over several draws of the measured products, since one draw moves the error by a few tenths of a percent.
    """
    rows = []
    for card, base in ((H200, "hopper-h100-sxm"), (H100, "ampere-a100-sxm"), (A100, "hopper-h100-sxm")):
        table = dense_table("bf16")
        mine = table[(table.gpu == card) & (table.part != "held")]
        start = calibration_of(base).of("dense_16bit")
        held, measured = held_out(card, "bf16")
        errors, inside = [], []
        for seed in OWN_SEEDS:
            seen = dense_measured(mine.sample(OWN_ROWS, random_state=seed), "bf16")
            own = fit_class(seen, start).calibrated
            errors.append(errors_of(held, _seconds(measured, own), measured))
            inside.append(_inside(measured, own).mean())
        what = f"{card} bf16, {OWN_ROWS} measured products and constants of {base}: "
        mean = float(np.mean([one.mean for one in errors]))
        rows.append(_limit(what + "mean error", mean, 0.06, SOURCE_DENSE, f"{len(errors)} draws; {errors[0].words()}"))
        rows.append(_share(what + "share inside the error bar", float(np.mean(inside)), None, SOURCE_DENSE))
    return rows


def two_of_four() -> list[Comparison]:
    """Dense and 2:4 products of a network, with constants fitted on the other networks of the same card and type.

    The fits start from constants that saw neither the card nor these tables. Squares are in the fits, not judged.
    """
    rows = []
    for card, dtype, base, judged in (
        (A100_PCIE, "bf16", "ampere-a100-sxm", True), (A100_PCIE, "fp16", "ampere-a100-sxm", True),
        (H100_PCIE, "bf16", "hopper-h100-sxm", True), (H100_PCIE, "fp8", "hopper-h100-sxm", False),
        (A100_PCIE, "int8", "ampere-a100-sxm", False), (H100_PCIE, "int8", "hopper-h100-sxm", False),
    ):  # fmt: skip
        table = sparse_rows(card, dtype)
        known = calibration_of(base)
        kind = "dense_fp8" if TYPE_CLASSES[dtype] != "16bit" and "dense_fp8" in known.classes else "dense_16bit"
        start = known.of(kind).constants
        dense, sparse = (left_out(table, dtype, is_sparse, start) for is_sparse in (False, True))
        network = (table.shape_set != "square").to_numpy()
        table, dense, sparse = table[network], dense[network], sparse[network]
        rows += _two_of_four_rows(f"{card} {dtype}", table, dense, sparse, judged)
    return rows


def shipped_two_of_four() -> list[Comparison]:
    """The shipped constants, which users get, on the networks that they did not see, with their error bars."""
    rows = []
    for card, dtype, calibration in ((A100_PCIE, "bf16", "ampere"), (A100_PCIE, "int8", "ampere"),
                                     (H100_PCIE, "bf16", "hopper"), (H100_PCIE, "int8", "hopper"),
                                     (H100_PCIE, "fp8", "hopper")):  # fmt: skip
        table = sparse_rows(card, dtype)
        table = table[table.part == "held"]
        kind = TYPE_CLASSES[dtype]
        dense, sparse = (
            predict(paired_problem(table, dtype, is_sparse), calibration_of(calibration).of(f"{name}_{kind}"))
            for name, is_sparse in (("dense", False), ("sparse", True))
        )
        what = f"{card} {dtype}, shipped constants"
        rows += _two_of_four_rows(what, table, dense.seconds, sparse.seconds, judged=False)
        measured = table.sparse24_cusparselt_us.to_numpy() * 1e-6
        inside = (sparse.low_s <= measured) & (measured <= sparse.high_s)
        rows.append(_share(f"{what} 2:4: share inside the error bar", float(inside.mean()), None, SOURCE_SPARSE))
    return rows


def _two_of_four_rows(what: str, table: pd.DataFrame, dense: Array, sparse: Array, judged: bool) -> list[Comparison]:
    """Error of time and speedup and the share of right verdicts, for left-out networks."""
    time = np.abs(sparse / (table.sparse24_cusparselt_us.to_numpy() * 1e-6) - 1)
    dense_time = np.abs(dense / (table.dense_cublaslt_us.to_numpy() * 1e-6) - 1)
    measured = table.speedup.to_numpy()
    gain = np.abs(dense / sparse / measured - 1)
    right = (dense > sparse) == (measured > 1)
    spread = f"median {np.median(time):.1%}, p90 {np.quantile(time, 0.9):.1%}"
    note = f"{spread}; dense {dense_time.mean():.1%}, {len(table)} rows"
    limits: tuple[float | None, ...] = (0.09, 0.08, 0.95) if judged else (None, None, None)
    return [
        _limit(f"{what} 2:4: mean error of the time", float(time.mean()), limits[0], SOURCE_SPARSE, note),
        _limit(f"{what} 2:4: mean error of the speedup", float(gain.mean()), limits[1], SOURCE_SPARSE,
               f"median {np.median(gain):.1%}, p90 {np.quantile(gain, 0.9):.1%}"),
        _share(f"{what} 2:4: share of right faster-or-slower", float(right.mean()), limits[2], SOURCE_SPARSE),
    ]  # fmt: skip


def left_out(table: pd.DataFrame, dtype: str, sparse: bool, start: Constants) -> Array:
    """Predicted seconds of each row with constants fitted on the other networks."""
    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    start = sparse_start(start) if sparse else start
    seconds = np.zeros(len(table))
    for name in table.shape_set.unique():
        here = (table.shape_set == name).to_numpy()
        others = paired_measured(table[~here], dtype, sparse)
        names = SPARSE_CONSTANTS if sparse else GEMM_CONSTANTS
        constants = fit([others], start, kernels, names=names, shrinkage=FEW_SHRINKAGE, evaluations=25)
        seconds[here] = choose(paired_measured(table[here], dtype, sparse).problem, constants, kernels).seconds
    return seconds


def _seconds(measured: Measured, calibrated: Calibrated) -> Array:
    if calibrated.residuals is not None:
        return np.exp(corrected_log_s(measured.problem, calibrated))
    return choose(measured.problem, calibrated.constants).seconds


def _mean(what: str, table: pd.DataFrame, measured: Measured, calibrated: Calibrated, target: float) -> Comparison:
    errors = errors_of(table, _seconds(measured, calibrated), measured)
    return _limit(what, errors.mean, target, SOURCE_DENSE, errors.words())


def _coverage(what: str, measured: Measured, calibrated: Calibrated, least: float | None = None) -> Comparison:
    inside = _inside(measured, calibrated)
    note = f"bar {np.expm1(calibrated.low):+.0%} to {np.expm1(calibrated.high):+.0%} at a calibrated shape"
    return _share(what, float(inside.mean()), least, SOURCE_DENSE, note)


def _inside(measured: Measured, calibrated: Calibrated) -> NDArray[np.bool_]:
    prediction = predict(measured.problem, calibrated)
    return (prediction.low_s <= measured.seconds) & (measured.seconds <= prediction.high_s)


def _limit(what: str, value: float, limit: float | None, source: str, note: str) -> Comparison:
    """A figure that must not exceed a limit; information where there is none."""
    if limit is None:
        return information("gpu", what, value, "", note)
    return at_most("gpu", what, value, limit, source, note)


def _share(what: str, value: float, least: float | None, source: str, note: str = "") -> Comparison:
    """A share that must reach a limit; information where there is none."""
    if least is None:
        return information("gpu", what, value, "", note)
    return at_least("gpu", what, value, least, source, note)


def _fitted_roofline(card: str, dtype: str, measured: Measured) -> Array:
    """Seconds of the roofline with three constants fitted on the card's training pairs."""
    table = dense_table(dtype)
    rows = table[(table.gpu == card) & (table.part == "fit")]
    training = dense_measured(rows, dtype)
    compute, memory = roofline_parts(training.problem)

    def residuals(logs: Array) -> Array:
        rate, bandwidth, floor_s = np.exp(logs)
        return np.log((np.maximum(compute / rate, memory / bandwidth) + floor_s) / training.seconds)

    found = least_squares(residuals, np.log([0.7, 0.8, 5e-6]), loss="soft_l1", f_scale=0.05)
    return fitted_roofline(measured.problem, *np.exp(found.x))

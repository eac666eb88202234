"""Fit the shipped GPU calibrations again: `python -m analysis.gpu_generations`, about two minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from analysis.gpu_tables import (
    SEED,
    dense_measured,
    dense_table,
    paired_measured,
    sparse_rows,
    sparse_table,
)
from simulator.gpu.calibration import FORMAT, LEVELS, VERSION
from simulator.gpu.constants import Constants
from simulator.gpu.fitting import GEMM_CONSTANTS, Measured, fit
from simulator.gpu.neighbours import log_shapes, spread
from simulator.gpu.problem import Problem
from simulator.gpu.times import DENSE_KERNELS, SPARSE_KERNELS, choose

Array = NDArray[np.float64]

COMMAND = "python -m analysis.gpu_generations"
SAMPLE = 1500
"""Rows of a large table that a fit sees: more change nothing."""
PAIRED_WEIGHT = 2.0
"""Weight of a row of the small table beside those of a large one (assumption)."""
FEW_SHRINKAGE, MANY_SHRINKAGE = 0.1, 0.02
"""Pull towards the start, where there are about a hundred rows and where there are thousands."""
ALL_CONSTANTS = Constants.names()
UNSEEN_ERROR = (0.13 + 0.16 + 0.39) / 3
"""Mean error of an unfitted tile model on B200, A100 and L40S, computed from public measurement tables."""
UNSEEN_BAR = float(np.log(10) * np.log1p(UNSEEN_ERROR))
"""Half-width, in log time, that holds 9 of 10 where |log error| is exponentially distributed (assumption)."""

AMPERE_SXM, AMPERE_PCIE = ["A100-SXM-80GB"], "A100 80GB PCIe"
HOPPER_SXM, HOPPER_PCIE = ["H100-SXM", "H200-SXM"], "H100 80GB PCIe"


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants of a class, the error bar, and what they were fitted on."""

    constants: Constants
    tables: list[Measured]
    low: float
    high: float
    words: str


def log_errors(table: Measured, constants: Constants, sparse: bool = False) -> Array:
    """log(measured / predicted) of measured products."""
    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    return np.log(table.seconds / choose(table.problem, constants, kernels).seconds)


def bar_of(errors: Array) -> tuple[float, float]:
    """Bounds that hold 9 of 10 log errors."""
    low, high = np.quantile(errors, [0.05, 0.95])
    return float(low), float(high)


def dense_rows(cards: list[str], dtype: str, part: str) -> pd.DataFrame:
    """Rows of the large tables; those to be fitted are sampled."""
    table = dense_table(dtype)
    rows = table[table.gpu.isin(cards) & (table.part == part)]
    return rows.sample(min(SAMPLE, len(rows)), random_state=SEED) if part == "fit" else rows


def fit_large(cards: list[str], dtype: str, paired: list[tuple[str, str]], start: Constants) -> Fitted:
    """Dense constants from large tables, with the training networks of the small one beside them.

    paired: card and type of rows of the small table. The error bar comes from pairs (N, K) kept for it.
    """
    small = [paired_measured(_training(card, name), name, False, PAIRED_WEIGHT) for card, name in paired]
    tables = [dense_measured(dense_rows(cards, dtype, "fit"), dtype), *small]
    names = GEMM_CONSTANTS
    if dtype == "fp8":  # a launch costs the same in all types; without it the two floors could not be told apart
        names = tuple(name for name in ALL_CONSTANTS if name != "floor_s")
    constants = fit(tables, start, DENSE_KERNELS, names=names, shrinkage=MANY_SHRINKAGE)
    low, high = bar_of(log_errors(dense_measured(dense_rows(cards, dtype, "bars"), dtype), constants))
    beside = "".join(f", {card} {name} (2:4 table, dense)" for card, name in paired)
    return Fitted(constants, tables, low, high, f"{', '.join(cards)} {dtype}{beside}; part `fit`, seed {SEED}")


def sparse_start(dense: Constants) -> Constants:
    """Where the fit of 2:4 kernels starts: at the dense constants, but another library lays out tiles its own way."""
    fresh = Constants()
    return replace(dense, band=fresh.band, l2=fresh.l2, hits=fresh.hits)


def fit_small(paired: list[tuple[str, str]], sparse: bool, start: Constants) -> Fitted:
    """Constants from the small table; the error bar from leaving one training network out in turn."""

    def tables_of(keep: Callable[[pd.DataFrame], pd.Series]) -> list[Measured]:
        rows = [(_training(card, name), name) for card, name in paired]
        return [paired_measured(some[keep(some)], name, sparse) for some, name in rows if keep(some).any()]

    kernels = SPARSE_KERNELS if sparse else DENSE_KERNELS
    start = sparse_start(start) if sparse else start
    errors = []
    table = sparse_table()
    for left_out in table[table.part == "fit"].shape_set.unique():
        rest = fit(
            tables_of(lambda rows, name=left_out: rows.shape_set != name),  # type: ignore[misc]
            start, kernels, shrinkage=FEW_SHRINKAGE, evaluations=12,
        )  # fmt: skip
        errors += [log_errors(table, rest, sparse)
                   for table in tables_of(lambda rows, name=left_out: rows.shape_set == name)]  # type: ignore[misc]  # fmt: skip
    tables = tables_of(lambda rows: rows.part == "fit")
    constants = fit(tables, start, kernels, shrinkage=FEW_SHRINKAGE)
    named = ", ".join(f"{card} {name}" for card, name in paired)
    words = f"{named} (2:4 table, {'2:4' if sparse else 'dense'}), networks of part `fit`, seed {SEED}"
    return Fitted(constants, tables, *bar_of(np.concatenate(errors)), words)


def _training(card: str, dtype: str) -> pd.DataFrame:
    rows = sparse_rows(card, dtype)
    return rows[rows.part == "fit"]


def ampere() -> dict[str, Fitted]:
    """Classes of the A100."""
    sixteen = [(AMPERE_PCIE, "bf16"), (AMPERE_PCIE, "fp16")]
    dense = fit_large(AMPERE_SXM, "bf16", sixteen, Constants())
    return {
        "dense_16bit": dense,
        "sparse_16bit": fit_small(sixteen, True, dense.constants),
        "dense_int8": fit_small([(AMPERE_PCIE, "int8")], False, dense.constants),
        "sparse_int8": fit_small([(AMPERE_PCIE, "int8")], True, dense.constants),
    }


def hopper() -> dict[str, Fitted]:
    """Classes of H100 and H200."""
    dense = fit_large(HOPPER_SXM, "bf16", [(HOPPER_PCIE, "bf16")], Constants())
    eight = fit_large(HOPPER_SXM, "fp8", [(HOPPER_PCIE, "fp8")], dense.constants)
    return {
        "dense_16bit": dense,
        "sparse_16bit": fit_small([(HOPPER_PCIE, "bf16")], True, dense.constants),
        "dense_fp8": eight,
        "sparse_fp8": fit_small([(HOPPER_PCIE, "fp8")], True, eight.constants),
        "dense_int8": fit_small([(HOPPER_PCIE, "int8")], False, eight.constants),
        "sparse_int8": fit_small([(HOPPER_PCIE, "int8")], True, eight.constants),
    }


def one_card(card: str, types: tuple[str, ...]) -> dict[str, Fitted]:
    """Dense classes of one SXM card alone, from which the transfer to others is judged."""
    dense = fit_large([card], "bf16", [], Constants())
    rest = {f"dense_{name}": fit_large([card], name, [], dense.constants) for name in types}
    return {"dense_16bit": dense, **rest}


def generic() -> dict[str, Fitted]:
    """Classes over both generations, for cards of a third; their error bar is not from these data."""
    cards = [*AMPERE_SXM, *HOPPER_SXM]
    pairs16 = [(AMPERE_PCIE, "bf16"), (HOPPER_PCIE, "bf16")]
    pairs8 = [(AMPERE_PCIE, "int8"), (HOPPER_PCIE, "int8")]
    dense = fit_large(cards, "bf16", pairs16, Constants())
    eight = fit_large(HOPPER_SXM, "fp8", [(HOPPER_PCIE, "fp8")], dense.constants)
    return {
        "dense_16bit": dense,
        "sparse_16bit": fit_small(pairs16, True, dense.constants),
        "dense_fp8": eight,
        "sparse_fp8": fit_small([(HOPPER_PCIE, "fp8")], True, eight.constants),
        "dense_int8": fit_small(pairs8, False, eight.constants),
        "sparse_int8": fit_small(pairs8, True, eight.constants),
    }


def class_entry(fitted: Fitted, level: str, command: str) -> dict[str, Any]:
    """A class as it is written to a file, with shapes that stand for those fitted."""
    low, high = (-UNSEEN_BAR, UNSEEN_BAR) if level == LEVELS[0] else (fitted.low, fitted.high)
    shapes = np.concatenate([_shapes(table.problem) for table in fitted.tables])
    stand = shapes[spread(log_shapes(*shapes.T))]
    return {
        "level": level, "fitted_on": fitted.words, "rows": len(shapes), "command": command,
        "constants": fitted.constants.rounded(),
        "error": {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")},
        "shapes": stand.astype(int).tolist(),
    }  # fmt: skip


def _shapes(problem: Problem) -> Array:
    return np.concatenate([problem.m, problem.n, problem.k], axis=1)


def write(path: Path, name: str, classes: dict[str, dict[str, Any]], base: str = "") -> None:
    """Write a calibration file."""
    content = {"format": FORMAT, "version": VERSION, "name": name, **({"base": base} if base else {})}
    text = yaml.safe_dump({**content, "classes": classes}, sort_keys=False, width=118, default_flow_style=None)
    head = "# Constants of GPU kernel times. Fitted together and not identifiable one by one: no hardware facts.\n"
    path.write_text(head + text, encoding="utf-8")


def main() -> None:
    """Fit and write all shipped calibrations."""
    folder = Path(__file__).parents[1] / "accelerators" / "calibrations"
    jobs: dict[str, tuple[Callable[[], dict[str, Fitted]], str]] = {
        "ampere": (ampere, LEVELS[1]),
        "hopper": (hopper, LEVELS[1]),
        "ampere-a100-sxm": (lambda: one_card("A100-SXM-80GB", ()), LEVELS[1]),
        "hopper-h100-sxm": (lambda: one_card("H100-SXM", ("fp8",)), LEVELS[1]),
        "generic": (generic, LEVELS[0]),
    }
    for name, (make, level) in jobs.items():
        write(folder / f"{name}.yaml", name, {kind: class_entry(one, level, COMMAND) for kind, one in make().items()})
        print(f"written: {folder / name}.yaml")


if __name__ == "__main__":
    main()

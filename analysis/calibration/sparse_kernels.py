"""Fit the constants of sparse kernels again: `python -m zerocast.analysis.calibration.sparse_kernels`, seconds.

The tables were measured under conditions of their own, which are fitted beside the constants and are no part of them:
what a pair of events around a kernel adds on that machine, and written lines that fill the L2 where the benchmark
empties it by writing before every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares

from zerocast.accelerators import load
from zerocast.accelerators.schema import KernelConstants, SparseKernel
from zerocast.accelerators.tables import sparse_kernels
from zerocast.simulator.gpu.card import Card, card_of, gpu_part
from zerocast.simulator.gpu.sparse import Matrix, sparse_times
from zerocast.workloads.patterns import Pattern, Uniform

Array = NDArray[np.float64]

CARDS = {"RTX 2080 SUPER": "nvidia-rtx2080-super", "RTX 3090": "nvidia-rtx3090", "RTX 4090": "nvidia-rtx4090"}
"""Templates by the names in the table."""
FIXED = ("floor_s", "scattered_bytes", "error")
"""What the table cannot tell: the smallest kernel, taken from the dense calibrations, and two cache lines of 128 bytes
less the six that a nonzero needs."""
SETS_UP = "csr-spmv"
"""The kernel that is several launches: its floor is fitted."""
MOST = {"dram": 0.97}
"""No kernel reaches all of the datasheet's bandwidth."""
LEAST_FLOOR_S = 2.4e-6
FOLDS = 4
BORROWED = "ga10x"
"""The generation whose constants a kernel takes where it was not measured, which its source says."""
UNMEASURED = {
    "gather-gemv": ("turing", "ga10x", "ada", "other"), "gemv": (), "bitmap-spmv": ("other",), "csr-spmv": ("other",),
    "panel-spmm": ("ada", "other"),
}  # fmt: skip
"""Generations without measurements by kernel; `other` stands for cards of all others. No entry: all but `BORROWED`.
Turing has no 2:4 tensor cores."""
GENERATIONS = ("turing", "ga10x", "ada", "other")
OUTLIER = 0.1
"""Log residual from which a product counts linearly."""
START = -11.5, -2.0
"""Logarithms of the conditions where their fit starts."""
TABLE = Path(__file__).parents[2] / "accelerators" / "tables" / "sparse-kernels.yaml"

Made = dict[str, KernelConstants]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What measurements hold beside the kernel: seconds, and the share of the L2 that is written lines."""

    overhead_s: float = 0.0
    dirty: float = 0.0


@cache
def sparse_kernel_table() -> pd.DataFrame:
    """Measured products: collection, gpu, kernel, height (rows of an entry), M, N, K, density, us, source."""
    return pd.read_csv(files("zerocast.analysis") / "references" / "gpu" / "sparse_kernels.csv")  # type: ignore[call-overload]


@cache
def card_of_table(gpu: str) -> tuple[Card, str]:
    """A card of the table, and the generation whose constants its sparse kernels take."""
    accelerator = load(CARDS[gpu])
    return card_of(accelerator, "fp16"), gpu_part(accelerator).sparse_kernels


def matrix_of(kernel: SparseKernel, rows: pd.DataFrame) -> Matrix:
    """Measured products of one kernel: zeros at random places, of vectors, or V:2:M, with twice as many entries."""
    density = np.ones(len(rows)) if kernel.zeros == "none" else rows.density.to_numpy(dtype=float)
    k = rows.K.to_numpy(dtype=float)
    filled = np.minimum(2 * density, 1.0) if kernel.panels else density
    fullest = [float(Pattern.slowest(Uniform(share), {"k": length}, kernel.lockstep))
               for share, length in zip(density, k, strict=True)]  # fmt: skip
    uneven = np.array(fullest) / (density * k) if kernel.lockstep > 1 else 1.0
    m, n, height = (rows[name].to_numpy(dtype=float) for name in ("M", "N", "height"))
    return Matrix(m, n, k, filled, density, height, uneven=uneven)


def predicted(
    kernel: SparseKernel, constants: KernelConstants, card: Card, matrix: Matrix, conditions: Conditions
) -> Array:
    """Seconds that a collection would measure."""
    times = sparse_times(kernel, constants, card, matrix, conditions.dirty * card.l2_bytes)
    return conditions.overhead_s + times.seconds


def fit_collection(rows: pd.DataFrame) -> tuple[Made, Conditions]:
    """Constants of the kernels that a collection timed on a card, and its conditions: least squares on log time
    (Huber-like loss). Without small or repeated products, which tell them, conditions stay where they hurt nothing."""
    card, generation = card_of_table(rows.gpu.iloc[0])
    groups = [(kernel, rows[rows.kernel == kernel.name]) for kernel in sparse_kernels(generation)]
    groups = [(kernel, some) for kernel, some in groups if len(some)]
    starts = {kernel.name: kernel.constants[generation] for kernel, _ in groups}
    free = [(name, field) for name, start in starts.items() for field in sorted(start.model_fields_set)
            if field not in FIXED or (name, field) == (SETS_UP, "floor_s")]  # fmt: skip
    least = np.array([np.log(LEAST_FLOOR_S) if field == "floor_s" else -40.0 for _, field in free] + [-40.0, -40.0])
    most = np.log([MOST.get(field, np.inf) for _, field in free] + [1e-4, 1.0])
    wanted = [np.log(some.us.to_numpy() * 1e-6) for _, some in groups]
    matrices = [matrix_of(kernel, some) for kernel, some in groups]

    def unpacked(logs: Array) -> tuple[Made, Conditions]:
        *values, overhead_s, dirty = np.exp(logs).tolist()
        changed: dict[str, dict[str, float]] = {name: {} for name in starts}
        for (name, field), value in zip(free, values, strict=True):
            changed[name][field] = value
        return {name: start.model_copy(update=changed[name]) for name, start in starts.items()}, Conditions(
            overhead_s, dirty
        )

    def residuals(logs: Array) -> Array:
        made, conditions = unpacked(logs)
        parts = [np.log(predicted(kernel, made[kernel.name], card, matrix, conditions)) - log_s
                 for (kernel, _), matrix, log_s in zip(groups, matrices, wanted, strict=True)]  # fmt: skip
        return np.concatenate(parts)

    start = np.concatenate([np.log([getattr(starts[name], field) for name, field in free]), START])
    found = least_squares(
        residuals, np.clip(start, least + 0.02, most - 0.02), bounds=(least, most), loss="soft_l1", f_scale=OUTLIER
    )
    return unpacked(found.x)


def judged(rows: pd.DataFrame, folds: int = 1) -> pd.DataFrame:
    """Measured products with the seconds that their collection would measure, in the column `predicted_s`.

    With folds, constants are fitted on the matrices (N, K) outside of a product's fold; with 1, on all.
    """
    parts = []
    for _, mine in rows.groupby(["collection", "gpu"]):
        fold = pd.factorize(mine.N.astype(str) + "x" + mine.K.astype(str))[0] % folds
        card, generation = card_of_table(mine.gpu.iloc[0])
        for number in range(folds):
            held = mine[fold == number]
            made, conditions = fit_collection(mine[fold != number] if folds > 1 else mine)
            parts += [
                some.assign(predicted_s=predicted(kernel, made[kernel.name], card, matrix_of(kernel, some), conditions))
                for kernel in sparse_kernels(generation) if len(some := held[held.kernel == kernel.name])
            ]  # fmt: skip
    return pd.concat(parts)


def log_errors(rows: pd.DataFrame) -> pd.Series:
    """log(measured / predicted) of judged products."""
    return pd.Series(np.log(rows.us * 1e-6 / rows.predicted_s), rows.index)


def main() -> None:
    """Fit all constants and write them into the table of the kernels."""
    text = TABLE.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    kernels = {raw["name"]: raw for raw in content["kernels"]}
    table = sparse_kernel_table()
    for (collection, gpu), rows in table.groupby(["collection", "gpu"]):
        made, conditions = fit_collection(rows)
        print(f"{collection}, {gpu}: {conditions}")
        errors = log_errors(judged(rows, FOLDS)).abs()
        for name, constants in made.items():
            own = rows.kernel == name
            bar = float(errors[own].quantile(0.9))
            generation = card_of_table(gpu)[1]
            kernels[name]["constants"][generation] = _rounded(constants, bar)
            source = f"fitted on {own.sum()} products, {gpu}: {rows.source.iloc[0]}"
            kernels[name]["sources"][generation] = source
    for name, raw in kernels.items():
        _borrow(name, raw, kernels["gemv"]["constants"] if name == "gather-gemv" else raw["constants"])
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    body = yaml.safe_dump(content, sort_keys=False, width=118, default_flow_style=None)
    TABLE.write_text(head + body, encoding="utf-8")


def _rounded(constants: KernelConstants, bar: float) -> dict[str, float]:
    """Constants to four digits, with the error bar."""
    values = constants.model_dump(exclude_unset=True) | {"error": bar}
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def _borrow(name: str, raw: dict[str, Any], known: dict[str, dict[str, float]]) -> None:
    """Give a kernel constants for the generations on which nobody measured it, and say so."""
    for generation in UNMEASURED.get(name, tuple(each for each in GENERATIONS if each != BORROWED)):
        origin = generation if name == "gather-gemv" and generation in known else BORROWED
        raw["constants"][generation] = {key: value for key, value in known[origin].items() if key != "error"}
        what = f"gemv of {origin}" if name == "gather-gemv" else origin
        raw["sources"][generation] = f"assumption: not measured, constants of {what}"


if __name__ == "__main__":
    main()

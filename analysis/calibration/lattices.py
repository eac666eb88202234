"""Learn the lattices of measured cards again: `python -m zerocast.analysis.calibration.lattices`, two minutes.

Gradient boosting on the log residuals of the kernel model (extra `fit`), on all products but those of the pairs (N, K)
that are held out. Its features are the sides and what each kernel tile would take. What it says at every node of the
table's own sides is made monotone: midway between the most that a smaller and the least that a larger product takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zerocast.accelerators import load
from zerocast.analysis.calibration.tables import CARDS, SEED, WIDTH, dense_measured, dense_table
from zerocast.simulator.gpu.card import card_of, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.fit.constants import Constants
from zerocast.simulator.gpu.fit.lattice import UNIT
from zerocast.simulator.gpu.predict import roofline_parts
from zerocast.simulator.gpu.problem import Problem, problem
from zerocast.simulator.gpu.times import DENSE_KERNELS, Kernels, choose

Array = NDArray[np.float64]

LEARNED = (
    ("A100-SXM-80GB", "bf16"), ("H100-SXM", "bf16"), ("H200-SXM", "bf16"), ("H100-SXM", "fp8"), ("H200-SXM", "fp8"),
)  # fmt: skip
TREES, LEAVES, RATE, LEAST = 500, 31, 0.05, 10
"""Trees, leaves of each, learning rate and products in a leaf (usual values, not searched)."""
SEEDS = 2
"""Forests whose mean is taken."""
FOLDER = Path(__file__).parents[2] / "accelerators" / "lattices"


def features(products: Problem, constants: Constants) -> tuple[Array, Array]:
    """What the trees see of products, shape (shapes, features), and the model's log seconds."""
    modelled = np.log(choose(products, constants).seconds)
    columns = [*(np.log(side[:, 0]) for side in (products.m, products.n, products.k)), modelled]
    splits = tuple(int(split) for split in np.unique(DENSE_KERNELS.split))
    for tile in sorted(set(zip(DENSE_KERNELS.tile_m.tolist(), DENSE_KERNELS.tile_n.tolist(), strict=True))):
        columns += [np.log(choose(products, constants, Kernels.of([tile], some)).seconds) for some in ((1,), splits)]
    columns += [np.log(part) for part in roofline_parts(products)]
    return np.stack(columns, axis=1), modelled


def learned(card: str, dtype: str, rows: pd.DataFrame) -> tuple[list[Array], Array]:
    """Axes of a lattice, and monotone log seconds at its nodes, from measured products."""
    import lightgbm  # of extra `fit`: no command needs it

    accelerator = load(CARDS[card])
    constants = calibration_of(gpu_part(accelerator).calibration).of(kind_of(dtype)).constants
    measured = dense_measured(rows, dtype)
    seen, modelled = features(measured.problem, constants)
    axes = [np.sort(dense_table(dtype)[side].unique()) for side in ("M", "N", "K")]
    sides = (side.ravel() for side in np.meshgrid(*axes, indexing="ij"))
    nodes = problem(card_of(accelerator, dtype), *sides, element_bytes=WIDTH[dtype], quantise=dtype == "fp8")
    asked, log_s = features(nodes, constants)
    for seed in range(SEEDS):
        trees = lightgbm.LGBMRegressor(
            n_estimators=TREES, num_leaves=LEAVES, learning_rate=RATE, min_child_samples=LEAST, subsample=0.8,
            subsample_freq=1, colsample_bytree=0.5, reg_lambda=1.0, objective="l1", random_state=seed, verbose=-1,
        )  # fmt: skip
        log_s = log_s + trees.fit(seen, np.log(measured.seconds) - modelled).predict(asked) / SEEDS
    return axes, monotone(log_s.reshape([len(axis) for axis in axes]))


def monotone(values: Array) -> Array:
    """Values that fall along no axis: midway between the running maximum from below and the minimum from above."""
    low, high = values, values
    for axis in range(values.ndim):
        low = np.maximum.accumulate(low, axis=axis)
        high = np.flip(np.minimum.accumulate(np.flip(high, axis), axis=axis), axis)
    return (low + high) / 2


def kind_of(dtype: str) -> str:
    """Class of the constants of a table's products."""
    return "dense_fp8" if dtype == "fp8" else "dense_16bit"


def write(path: Path, axes: list[Array], log_s: Array, **about: Any) -> None:
    """Write a lattice; rounding keeps it monotone."""
    m, n, k = axes
    np.savez_compressed(path, m=m, n=n, k=k, log_s=np.round(log_s / UNIT).astype(np.int16), **about)


def main() -> None:
    """Learn and write all lattices."""
    for card, dtype in LEARNED:
        table = dense_table(dtype)
        rows = table[(table.gpu == card) & (table.part != "held")]
        axes, log_s = learned(card, dtype, rows)
        path = FOLDER / f"{CARDS[card]}.{kind_of(dtype)}.npz"
        words = f"NVIDIA aiconfigurator, {len(rows)} products of {card} in {dtype}, parts `fit` and `bars`, seed {SEED}"
        write(path, axes, log_s, dtype=dtype, quantise=dtype == "fp8", about=words)
        print(f"written: {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

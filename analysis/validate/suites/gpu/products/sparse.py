"""Sparse kernels on GPUs against products that somebody timed: their time, and whether they beat the dense kernel.

Matrices (N, K) are left out in turn; constants are those of a generation, and conditions those of a collection.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from zerocast.accelerators import load
from zerocast.analysis.calibration.sparse_kernels import CARDS, FOLDS, judged, sparse_kernel_table
from zerocast.analysis.validate.comparison import Comparison, at_least, at_most
from zerocast.simulator.gpu.card import card_of, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import predict
from zerocast.simulator.gpu.problem import problem

TIME, RIGHT = 0.20, 0.92
SHAPE = ["collection", "gpu", "M", "N", "K", "density"]


def sparse_kernel_rows() -> list[Comparison]:
    """Mean error of the time of each kernel, and the share of right faster-or-slower of each collection."""
    table = judged(sparse_kernel_table(), FOLDS)
    found = []
    for (gpu, kernel), rows in table.groupby(["gpu", "kernel"]):
        error = np.abs(rows.predicted_s / (rows.us * 1e-6) - 1)
        note = f"{len(rows)} rows, matrices left out; median {error.median():.1%}, p90 {error.quantile(0.9):.1%}"
        what = f"{gpu}, {kernel}: mean error of the time"
        found.append(at_most("gpu", what, float(error.mean()), TIME, str(rows.source.iloc[0]), note))
    for collection, rows in pd.concat([table, _dense(sparse_kernel_table())]).groupby("collection"):
        right = _right(rows)
        note = f"{len(right)} pairs of a sparse and a dense kernel"
        what = f"{collection}: share of right faster-or-slower of sparse kernels"
        found.append(at_least("gpu", what, float(right.mean()), RIGHT, str(rows.source.iloc[0]), note))
    return found


def _dense(table: pd.DataFrame) -> pd.DataFrame:
    """Dense products of many rows under the constants of their card, which saw none of them."""
    parts = []
    for gpu, rows in table[table.kernel == "dense"].groupby("gpu"):
        accelerator = load(CARDS[str(gpu)])
        calibrated = calibration_of(gpu_part(accelerator).calibration).of("dense_16bit")
        products = problem(card_of(accelerator, "fp16"), *(rows[side].to_numpy() for side in ("M", "N", "K")))
        parts.append(rows.assign(predicted_s=predict(products, calibrated).seconds))
    return pd.concat(parts)


def _right(rows: pd.DataFrame) -> pd.Series:
    """Whether a sparse kernel is rightly said to be quicker or slower than the dense one of the same product."""
    is_dense = rows.kernel.isin(["gemv", "dense"])
    by = SHAPE if (rows.kernel == "gemv").any() else [name for name in SHAPE if name != "density"]
    dense = rows[is_dense].drop_duplicates(by)
    pairs = rows[~is_dense].merge(dense[[*by, "us", "predicted_s"]], on=by, suffixes=("", "_dense"))
    return (pairs.us < pairs.us_dense) == (pairs.predicted_s < pairs.predicted_s_dense)

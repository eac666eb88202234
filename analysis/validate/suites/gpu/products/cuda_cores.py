"""Products on CUDA cores and on the tensor cores of Volta and Turing, pairs (N, K) left out, by card."""

from __future__ import annotations

import numpy as np

from zerocast.accelerators import load
from zerocast.analysis.calibration.cuda_cores import CARDS, measured, table
from zerocast.analysis.validate.comparison import Comparison, at_most
from zerocast.simulator.gpu.card import TYPE_CLASSES, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import predict

LIMIT = 0.20
"""Largest mean error; two collections of one card differ by up to 15 % among themselves."""
SOURCE = "DeepBench @da81ba7820, Apache-2.0; NeuSight @6945927d9a, MIT"


def products_on_older_cards() -> list[Comparison]:
    """Mean error of the products of each card in fp32, and of two in fp16."""
    found = []
    for dtype in ("fp32", "fp16"):
        rows = table(dtype)
        for name in CARDS:
            held = rows[(rows.gpu == name) & (rows.part == "held")]
            if not len(held):
                continue
            calibrated = calibration_of(gpu_part(load(CARDS[name])).calibration).of(f"dense_{TYPE_CLASSES[dtype]}")
            errors = np.concatenate(
                [predict(one.problem, calibrated).seconds / one.seconds - 1 for one in measured(held, dtype)]
            )
            size = np.abs(errors)
            note = f"median {np.median(size):.1%}, bias {errors.mean():+.1%}, {len(errors)} rows; {calibrated.level}"
            found.append(at_most("gpu", f"{name} {dtype}: mean error, left-out pairs", float(size.mean()), LIMIT,
                                 SOURCE, note))  # fmt: skip
    return found

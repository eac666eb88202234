"""Products and convolutions on CUDA cores, and products on the tensor cores of Volta and Turing, by card."""

from __future__ import annotations

import numpy as np

from zerocast.accelerators import load
from zerocast.analysis.calibration.cuda_cores import CARDS, measured, table
from zerocast.analysis.products.conv_columns import convolution
from zerocast.analysis.validate.comparison import Comparison, at_most, reference_rows
from zerocast.simulator.gpu import gpu_rows
from zerocast.simulator.gpu.card import TYPE_CLASSES, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import predict

LIMIT = 0.20
"""Largest mean error; two collections of one card differ by up to 15 % among themselves."""
OF_WINDOWS = 0.25
"""The same of convolutions, to which no constant was fitted."""
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


def convolutions_on_cuda_cores() -> list[Comparison]:
    """Mean error of forward convolutions in fp32, as products or by Winograd's algorithm, by card."""
    errors: dict[str, list[float]] = {}
    for row in reference_rows("gpu/convolutions.csv"):
        n, c, k, h, w, r, s, above, left, stride = (int(row[name]) for name in _COLUMNS)
        p, q = ((side + 2 * pad - taps) // stride + 1 for side, pad, taps in ((h, above, r), (w, left, s)))
        sizes = {"n": n, "g": 1, "k": k, "c": c, "p": p, "q": q, "r": r, "s": s}
        (found,) = gpu_rows([convolution(sizes, stride, image=(h, w))], load(CARDS[row["gpu"]]))
        errors.setdefault(row["gpu"], []).append(found.latency_s * 1e3 / float(row["ms"]) - 1)
    return [
        at_most("gpu", f"{card} fp32: mean error, convolutions", float(np.abs(signed).mean()), OF_WINDOWS, SOURCE,
                f"median {np.median(np.abs(signed)):.1%}, bias {np.mean(signed):+.1%}, {len(signed)} rows")
        for card, signed in errors.items()
    ]  # fmt: skip


_COLUMNS = ("N", "C", "K", "H", "W", "R", "S", "pad_h", "pad_w", "stride")

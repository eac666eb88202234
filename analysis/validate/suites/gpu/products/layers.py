"""Layers of language models that somebody else timed, with other software than any product that was fitted."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, reference_rows
from zerocast.simulator.gpu.card import card_of, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import predict
from zerocast.simulator.gpu.problem import problem

CARDS = {"H100": "nvidia-h100-sxm", "RTX4090": "nvidia-rtx4090"}
COVERAGE = 0.9
UNSEEN_ON_4090 = ("o_proj",)
"""Layers of the RTX 4090 that its generation's constants were not fitted to."""
SOURCE = "github.com/casys-kaist/LLMServingSim @5daddb21a5, MIT: torch's and vLLM's profilers"


def layers_elsewhere() -> list[Comparison]:
    """Share of the layers of each card that lie inside their error bars; no constant has seen one of them."""
    by_card = defaultdict(list)
    for row in reference_rows("gpu/gpu_layers.csv"):
        if row["gpu"] == "RTX4090" and row["layer"] not in UNSEEN_ON_4090:
            continue
        by_card[row["gpu"]].append(row)
    found = []
    for name, rows in by_card.items():
        accelerator = load(CARDS[name])
        m, n, k = (np.array([float(row[side]) for row in rows]) for side in "MNK")
        measured = np.array([float(row["us"]) for row in rows]) * 1e-6
        calibrated = calibration_of(gpu_part(accelerator).calibration).of("dense_16bit")
        times = predict(problem(card_of(accelerator, "bf16"), m, n, k), calibrated)
        inside = float(((times.low_s <= measured) & (measured <= times.high_s)).mean())
        error = np.abs(times.seconds / measured - 1)
        note = f"at least {COVERAGE:.0%}; {len(rows)} layers, mean error {error.mean():.1%}"
        what = f"{name}, layers of language models in bf16: share inside the error bar"
        found.append(Comparison("gpu", what, inside, COVERAGE, "", None, None, inside >= COVERAGE, SOURCE, note))
    return found

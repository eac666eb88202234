"""Layers of language models that somebody else timed, with other software than any product that was fitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, at_least, at_most, reference_rows
from zerocast.simulator.gpu.card import card_of, gpu_part
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.fit.lattice import lattice_of
from zerocast.simulator.gpu.predict import Prediction, predict
from zerocast.simulator.gpu.problem import problem

CARDS = {"H100": "nvidia-h100-sxm", "RTX4090": "nvidia-rtx4090", "A6000": "nvidia-a6000", "RTX3090": "nvidia-rtx3090",
         "RTXPRO6000": "nvidia-rtx-pro6000"}  # fmt: skip
COVERAGE = 0.9
MOST = 0.08
"""Largest mean error of the layers of a card."""
UNSEEN_ON_4090 = ("o_proj",)
"""Layers of the RTX 4090 that its generation's constants were not fitted to."""
SOURCE = "github.com/casys-kaist/LLMServingSim @5daddb21a5, MIT: torch's and vLLM's profilers"

Row = dict[str, str]


def layers_elsewhere() -> list[Comparison]:
    """Share of the layers of each card that lie inside their error bars; no constant has seen one of them."""
    rows = reference_rows("gpu/gpu_layers.csv")
    unseen = [row for row in rows if row["gpu"] != "RTX4090" or row["layer"] in UNSEEN_ON_4090]
    found = []
    for name, mine in _by_card(unseen).items():
        times, seconds = _priced(name, mine, learned=False)
        inside = float(((times.low_s <= seconds) & (seconds <= times.high_s)).mean())
        what = f"{name}, layers of language models in bf16: share inside the error bar"
        found.append(at_least("gpu", what, inside, COVERAGE, SOURCE, _words(times.seconds / seconds - 1)))
    return found


def layers_by_card() -> list[Comparison]:
    """Mean error of the layers of each card, those that constants were fitted to among them."""
    rows = [row for name in ("layers", "workstation_layers") for row in reference_rows(f"gpu/gpu_{name}.csv")]
    found = []
    for name, mine in _by_card(rows).items():
        times, seconds = _priced(name, mine, learned=True)
        errors = times.seconds / seconds - 1
        what = f"{name}, layers of language models in bf16: mean error"
        found.append(at_most("gpu", what, float(np.abs(errors).mean()), MOST, SOURCE, _words(errors)))
    return found


def _words(errors: NDArray[np.float64]) -> str:
    size = np.abs(errors)
    return f"{len(errors)} layers, mean {size.mean():.1%}, median {np.median(size):.1%}, bias {errors.mean():+.1%}"


def _by_card(rows: Sequence[Row]) -> dict[str, list[Row]]:
    cards: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cards[row["gpu"]].append(row)
    return cards


def _priced(name: str, rows: Sequence[Row], learned: bool) -> tuple[Prediction, NDArray[np.float64]]:
    """Predictions of layers on a card, and their measured seconds. learned: with the card's lattice, as users have."""
    card = load(CARDS[name])
    m, n, k, measured_us = (np.array([float(row[side]) for row in rows]) for side in ("M", "N", "K", "us"))
    warm = [row.get("operands") == "warm" for row in rows]
    calibrated = calibration_of(gpu_part(card).calibration).of("dense_16bit")
    lattice = lattice_of(CARDS[name], "dense_16bit") if learned else None
    return predict(problem(card_of(card, "bf16"), m, n, k, repeats=warm), calibrated, lattice), measured_us * 1e-6

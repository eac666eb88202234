"""Predictions against a file of `zerocast measure`: `zerocast validate gpu --measured FILE`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from accelerators import Accelerator, load
from analysis.calibrate import measured_products, read_measured
from analysis.validate.comparison import Comparison, information
from simulator.errors import SimulationError
from simulator.gpu.calibration import calibration_of
from simulator.gpu.card import gpu_part, type_class
from simulator.gpu.predict import datasheet_roofline, predict

DEVICES = {
    "NVIDIA A100 80GB PCIe": "nvidia-a100-pcie-80g",
    "NVIDIA A100-SXM4-80GB": "nvidia-a100-sxm-80g",
    "NVIDIA H100 PCIe": "nvidia-h100-pcie",
    "NVIDIA H100 80GB HBM3": "nvidia-h100-sxm",
    "NVIDIA H200": "nvidia-h200-sxm",
    "NVIDIA L40S": "nvidia-l40s",
    "NVIDIA GeForce RTX 4090": "nvidia-rtx4090",
    "NVIDIA B200": "nvidia-b200",
}
"""Templates by the name that the driver gives."""


def compare_measured(path: Path, accelerator: Accelerator | None = None) -> list[Comparison]:
    """Errors of the predictions for each device, data type, sparsity and role in a file, as information.

    accelerator: the card; without it the template of each device's name. Devices without one are counted only.
    Raises `AnalysisError` for a file of another kind or schema version.
    """
    table = read_measured(path)
    if "device" not in table:
        table = table.assign(device="", role="")
    rows = []
    for key, some in table.groupby(["device", "dtype", "sparsity", "role"], dropna=False, sort=False):
        device, dtype, sparsity, role = map(str, key)
        what = " ".join(word for word in (device, dtype, sparsity, role) if word)
        card = accelerator or (load(DEVICES[device]) if device in DEVICES else None)
        rows += _rows(what, some, card, dtype, sparsity == "2:4")
    return rows


def _rows(what: str, rows: pd.DataFrame, card: Accelerator | None, dtype: str, sparse: bool) -> list[Comparison]:
    """Mean error and what else there is to say about products of one kind."""
    if card is None:
        return [information("gpu", f"{what}: products", len(rows), "", "no template of this name; give --accelerator")]
    try:
        kind = f"{'sparse' if sparse else 'dense'}_{type_class(card, dtype)}"
        calibrated = calibration_of(gpu_part(card).calibration).of(kind)
    except SimulationError as error:
        return [information("gpu", f"{what}: products", len(rows), "", str(error))]
    measured = measured_products(rows, card)
    found = predict(measured.problem, calibrated, sparse)
    errors = found.seconds / measured.seconds - 1
    roofline = np.abs(datasheet_roofline(measured.problem) / measured.seconds - 1).mean()
    inside = ((found.low_s <= measured.seconds) & (measured.seconds <= found.high_s)).mean()
    size = np.abs(errors)
    note = (
        f"{calibrated.level}, {len(rows)} products, median {np.median(size):.1%}, p90 {np.quantile(size, 0.9):.1%}, "
        f"bias {errors.mean():+.1%}; {inside:.0%} inside the error bar; datasheet roofline {roofline:.1%}"
    )
    return [information("gpu", f"{what}: mean error", float(size.mean()), "", note)]

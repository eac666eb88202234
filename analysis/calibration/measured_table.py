"""Measured products from a file of `zerocast measure` or from a CSV, checked, with what there is to know of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zerocast.accelerators import Accelerator
from zerocast.analysis.calibration.plausible import refuse
from zerocast.analysis.calibration.tables import WIDTH
from zerocast.analysis.csv_table import read_table
from zerocast.analysis.errors import AnalysisError
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.fitting import Measured
from zerocast.simulator.gpu.problem import join, problem

COLUMNS = ("M", "N", "K", "us")
OUT_BYTES = {"float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "int8": 1}
LARGEST = 10**8
"""Largest extent of a product that is believed, as in tables for `zerocast gemm`."""
DEFAULTS: dict[str, Any] = {
    "dtype": "bf16", "sparsity": "dense", "weights_cold": True, "out_dtype": "", "device": "", "role": "", "phase": "",
}  # fmt: skip
"""Columns that may be missing, or empty in a row."""
WORDS = {"sparsity": ("dense", "2:4"), "dtype": tuple(WIDTH), "out_dtype": ("", *OUT_BYTES)}
TRUTH = {"true": True, "1": True, "1.0": True, "yes": True, "false": False, "0": False, "0.0": False, "no": False}


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """The products of a file that were measured.

    table: columns `COLUMNS` and those of `DEFAULTS`, and line, the number of the row's line in the file. machines: what
    is known of those that measured them, see `measured_device.mismatch`. notes: what a reader should know of the file.
    """

    path: Path
    table: pd.DataFrame
    machines: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_measured(path: Path) -> MeasuredFile:
    """The measured products of a file.

    Raises `AnalysisError` for a file that is not readable, of another schema version, without a needed column or
    without a product, and for rows with figures or words that are none, with their count and lines.
    """
    with path.open("rb") as stream:
        head = stream.read(512).removeprefix(b"\xef\xbb\xbf").lstrip()
    return _records(path) if head.startswith(b"{") else _table(path)


def _records(path: Path) -> MeasuredFile:
    """A file of `zerocast measure`: its products with the library's default algorithm."""
    from zerocast.analysis.measure.machine.drift import drift_words
    from zerocast.analysis.measure.results import load_measurements

    rows, about = load_measurements(path)
    rows = rows[rows.suite == "gemm"]
    whole = rows[rows.error == ""]
    notes = list(about["notes"])
    if failed := len(rows) - len(whole):
        notes.append(f"products that failed, left out: {failed}")
    reasons = {name: reason for name, reason in about["left_out"].items() if name != "energy"}
    for reason in dict.fromkeys(reasons.values()):
        notes.append(f"left out: {', '.join(name for name in reasons if reasons[name] == reason)} ({reason})")
    if whole.empty:
        raise AnalysisError(f"{path}: no product was measured; run `zerocast measure --suite gemm`")
    table = whole[whole.algorithm == "default"].rename(columns={"median_us": "us"})
    used = set(table.session)
    machines = [session for session in about["sessions"] if session["session"] in used]
    return MeasuredFile(path, _checked(table, path), machines, [*notes, drift_words(about["drift"])])


def _table(path: Path) -> MeasuredFile:
    _, rows = read_table(path, COLUMNS)
    spelt = {name.lower(): name for name in COLUMNS}
    cells = [{spelt.get(name, name): row.get(name) for name in row.cells} | {"line": row.line} for row in rows]
    table = _checked(pd.DataFrame(cells).replace("", None), path)
    return MeasuredFile(path, table, [{"device": name} for name in table.device.unique() if name])


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Defaults where nothing is said, and no figure or word that is none."""
    wrong: dict[int, str] = {}

    def note(good: pd.Series, name: str, problem: str) -> None:
        for line, value in zip(table.line[~good], table[name][~good], strict=True):
            wrong.setdefault(int(line), f"column {name}: {value!s} is {problem}")

    for name in COLUMNS:
        numbers = pd.to_numeric(table[name], errors="coerce")
        whole = (numbers % 1 == 0) & (numbers <= LARGEST)
        good = (numbers > 0) & np.isfinite(numbers) & ((name == "us") | whole)
        note(good, name, "no positive number" if name == "us" else f"no whole number from 1 to {LARGEST}")
        table = table.assign(**{name: numbers})
    for name, default in DEFAULTS.items():
        filled = table[name].where(table[name].notna(), default) if name in table else default
        table = table.assign(**{name: filled})
    table = table.assign(**{name: table[name].astype(str) for name in ("device", "role", "phase")})
    for name, known in WORDS.items():
        table = table.assign(**{name: table[name].astype(str).str.lower()})
        note(table[name].isin(known), name, f"unknown; choose {', '.join(filter(None, known))}")
    truth = table.weights_cold.astype(str).str.lower().map(TRUTH)
    note(truth.notna(), "weights_cold", "neither true nor false")
    refuse(path, wrong, len(table), "are no measurements")
    return table.assign(weights_cold=truth.astype(bool)).reset_index(drop=True)


def measured_products(rows: pd.DataFrame, accelerator: Accelerator) -> Measured:
    """Rows of a checked table as products with their times, in their order; all dense, or all 2:4."""
    parts, places = [], []
    rows = rows.reset_index(drop=True)
    for (dtype, cold, out), some in rows.groupby(["dtype", "weights_cold", "out_dtype"], sort=False):
        parts.append(problem(
            card_of(accelerator, str(dtype)), *(some[side].to_numpy() for side in ("M", "N", "K")),
            element_bytes=WIDTH[str(dtype)], out_element_bytes=OUT_BYTES.get(str(out), 2),
            group=4 if bool((some.sparsity == "2:4").all()) else 0, repeats=not bool(cold),
        ))  # fmt: skip
        places.append(some.index.to_numpy())
    order = np.argsort(np.concatenate(places))
    return Measured(join(parts)[order], rows.us.to_numpy(dtype=float) * 1e-6)

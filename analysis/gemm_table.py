"""Price a table of matrix products: CSV in, CSV out. No PyTorch, no pandas."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zerocast.accelerators import Accelerator
from zerocast.analysis.csv_table import Row, read_table
from zerocast.analysis.errors import AnalysisError
from zerocast.simulator import Gemm, SimulationError, plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM, Pattern, Uniform

REQUIRED = ("M", "N", "K")
OPTIONAL = ("batch", "dtype", "density_a", "density_b", "pattern")
RESULTS = (
    "latency_s", "cycles", "energy_j", "dram_read_bytes", "dram_write_bytes", "bound", "dataflow",
    "utilisation", "skipped", "order", "tile_m", "tile_n", "tile_k", "fallback", "note",
)  # fmt: skip
LARGEST = 10**8
"""Largest extent accepted: beyond it the list of tile sizes alone would fill the memory."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of the table: the cells as they were, the product they ask for, and where they stand."""

    cells: tuple[str, ...]
    gemm: Gemm
    where: str


def read_shapes(path: Path, accelerator: Accelerator) -> tuple[list[str], list[Shape]]:
    """Header and products of a CSV with the columns `REQUIRED` and any of `OPTIONAL`, in any case and order.

    out[M, N] = A[M, K] B[K, N], `batch` times over. density_* are shares of nonzeros at random places,
    pattern is `dense` or N:M (also nm:N:M) along K of B; dtype defaults to the first that the array multiplies.
    Other columns are carried along.
    Raises `AnalysisError` naming file, line and column of the first mistake.
    """
    header, rows = read_table(path, REQUIRED)
    return header, [_shape(row, accelerator) for row in rows]


def _shape(row: Row, accelerator: Accelerator) -> Shape:
    m, n, k, batch = (_extent(row, column) for column in ("m", "n", "k", "batch"))
    dtype = row.get("dtype") or next(iter(accelerator.compute.rates))
    if dtype not in accelerator.compute.rates:
        known = ", ".join(accelerator.compute.rates)
        raise row.error("dtype", f"{accelerator.name} does not multiply {dtype!r}; it has {known}")
    gemm = plain_gemm(m, n, k, dtype, BITS[dtype], _density(row, "density_a"), _weight(row))
    return Shape(row.raw, replace(gemm, batch=batch), row.where)


def _extent(row: Row, column: str) -> int:
    text = row.get(column)
    if not text and column == "batch":
        return 1
    try:
        value = int(text)
    except ValueError:
        raise row.error(column, f"{text!r} is not a whole number") from None
    if not 1 <= value <= LARGEST:
        raise row.error(column, f"{value} must lie between 1 and {LARGEST}")
    return value


def _density(row: Row, column: str) -> Pattern:
    text = row.get(column)
    if not text:
        return DENSE
    try:
        share = float(text)
    except ValueError:
        raise row.error(column, f"{text!r} is not a number") from None
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise row.error(column, f"{text} is outside [0, 1]; a density is the share of nonzeros")
    return DENSE if share == 1 else Uniform(share)


def _weight(row: Row) -> Pattern:
    """Pattern of B from its density or its N:M, which must not contradict each other."""
    law, text = _density(row, "density_b"), row.get("pattern").lower()
    if text in ("", "dense"):
        if text and not law.is_dense:
            raise row.error("pattern", f"dense contradicts density_b {law.density:g}; leave one of them out")
        return law
    match = re.fullmatch(r"(?:nm:)?(\d{1,6}):(\d{1,6})", text)
    if not match:
        raise row.error("pattern", f"{text!r} is no pattern; write dense, or N:M such as 2:4")
    n, m = int(match[1]), int(match[2])
    if not 1 <= n <= m:
        raise row.error("pattern", f"{text}: N must lie between 1 and M = {m}")
    if not law.is_dense and not math.isclose(law.density, n / m, abs_tol=1e-6):
        raise row.error("pattern", f"{text} contradicts density_b {law.density:g}; leave one of them out")
    return DENSE if n == m else NM(n, m, "k")


def price_shapes(
    shapes: Sequence[Shape],
    accelerator: Accelerator,
    objective: str = "latency",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """For each shape the figures named by `RESULTS`, under its best mapping; equal shapes are mapped once.

    Latency includes the launch overhead, energy is dynamic. `progress` is called with shapes done and in all.
    N:M weights that a GPU's sparse tensor cores do not take are priced dense, as in a network, and `note` says why.
    A shape that fits no mapping has NaN for figures and the reason in `note`.
    Raises `AnalysisError` naming the first line where this befalls every shape.
    """
    pricer = Pricer(accelerator, objective)  # type: ignore[arg-type]
    overhead = accelerator.host.launch_overhead_s
    refused = [pricer.refusal(shape.gemm) for shape in shapes]
    if refused and all(refused):
        raise _hopeless(shapes, refused[0])
    try:
        pricer.prepare([shape.gemm for shape in shapes])
    except SimulationError as error:
        raise AnalysisError(str(error)) from None
    unpriced: list[str] = []
    for number, shape in enumerate(shapes):
        try:
            row = pricer.gemm(shape.gemm)
        except SimulationError as error:
            unpriced.append(str(error))
            if len(unpriced) == len(shapes):
                raise _hopeless(shapes, unpriced[0]) from None
            figures: tuple[Any, ...] = (*(_NONE.get(name, math.nan) for name in RESULTS[:-1]), f"not priced: {error}")
        else:
            figures = (row.latency_s + overhead, *(getattr(row, name) for name in RESULTS[1:]))
        if progress is not None:
            progress(number + 1, len(shapes))
        yield figures


_NONE = {**dict.fromkeys(("bound", "dataflow", "skipped", "order"), ""), "fallback": "not priced"}
"""What columns of words hold of a shape that has no price."""


def _hopeless(shapes: Sequence[Shape], reason: str) -> AnalysisError:
    """The error for a table none of whose shapes can be priced as it was asked for."""
    others = f"; so it is with all {len(shapes)} shapes of the table" if len(shapes) > 1 else ""
    return AnalysisError(f"{shapes[0].where}: {reason}{others}")


def remarks(figures: Sequence[tuple[Any, ...]]) -> str:
    """How many shapes were priced otherwise than asked for or not at all; "" where none was."""
    why = [row[RESULTS.index("fallback")] for row in figures]
    counts = {"dense, not N:M": why.count("refused"), "not at all": why.count("not priced")}
    words = [f"{count} priced {how}" for how, count in counts.items() if count]
    return f"; {' and '.join(words)}, see column note" if words else ""


def write_table(path: Path, header: list[str], shapes: list[Shape], figures: Iterable[tuple[Any, ...]]) -> None:
    """Write the input's columns with the figures beside them, once all are known.

    A figure whose name the input has already is called NAME_priced.
    """
    rows = [(*shape.cells, *figure) for shape, figure in zip(shapes, figures, strict=True)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, *(f"{name}_priced" if name in header else name for name in RESULTS)])
        writer.writerows(rows)

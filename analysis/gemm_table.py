"""Price a table of matrix products: CSV in, CSV out. No PyTorch, no pandas."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerators import Accelerator
from analysis.errors import AnalysisError
from simulator import Gemm, SimulationError, plain_gemm
from simulator.einsum_cost import Pricer
from workloads.ir import BITS
from workloads.patterns import DENSE, NM, Pattern, Uniform

REQUIRED = ("m", "n", "k")
OPTIONAL = ("batch", "dtype", "density_a", "density_b", "pattern")
RESULTS = (
    "latency_s", "cycles", "energy_j", "dram_read_bytes", "dram_write_bytes", "bound", "dataflow",
    "utilisation", "skipped", "order", "tile_m", "tile_n", "tile_k", "note",
)  # fmt: skip
LARGEST = 10**8
"""Largest extent accepted: beyond it the list of tile sizes alone would fill the memory."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of the table: the cells as they were, the product they ask for, and where they stand."""

    cells: tuple[str, ...]
    gemm: Gemm
    where: str


@dataclass(frozen=True, slots=True)
class _Row:
    """Cells of one line by lower-case column name, and the place for error messages."""

    cells: dict[str, str]
    names: dict[str, str]
    where: str

    def get(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def error(self, column: str, problem: str) -> AnalysisError:
        return AnalysisError(f"{self.where}, column {self.names.get(column, column)}: {problem}")


def read_shapes(path: Path, accelerator: Accelerator) -> tuple[list[str], list[Shape]]:
    """Header and products of a CSV with the columns `REQUIRED` and any of `OPTIONAL`, in any case and order.

    out[M, N] = A[M, K] B[K, N], `batch` times over. density_* are shares of nonzeros at random places,
    pattern is `dense` or N:M (also nm:N:M) along K of B; dtype defaults to the first that the array multiplies.
    Other columns are carried along.
    Raises `AnalysisError` naming file, line and column of the first mistake.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnalysisError(f"{path}: not a text file in UTF-8; save the table as CSV") from None
    reader = csv.reader(text.splitlines())
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise AnalysisError(f"{path} line {reader.line_num}: not CSV ({error})") from None
    if not lines:
        raise AnalysisError(f"{path}: the table is empty; give a header with M, N, K and a line per shape")
    at, header = lines[0]
    names = {name.strip().lower(): name.strip() for name in header}
    if missing := [name.upper() for name in REQUIRED if name not in names]:
        lacks = " and no column ".join(missing)
        raise AnalysisError(f"{path} line {at}: no column {lacks}; the header has {', '.join(names.values())}")
    if len(names) < len(header):
        raise AnalysisError(f"{path} line {at}: a column stands twice in the header {', '.join(header)}")
    if len(lines) == 1:
        raise AnalysisError(f"{path} line {at}: the table has a header and no shapes")
    return header, [_shape(path, number, names, cells, accelerator) for number, cells in lines[1:]]


def _shape(path: Path, number: int, names: dict[str, str], cells: list[str], accelerator: Accelerator) -> Shape:
    where = f"{path} line {number}"
    if len(cells) != len(names):
        raise AnalysisError(f"{where}: {len(cells)} cells, the header has {len(names)} columns")
    row = _Row(dict(zip(names, cells, strict=True)), names, where)
    m, n, k, batch = (_extent(row, column) for column in (*REQUIRED, "batch"))
    dtype = row.get("dtype") or next(iter(accelerator.compute.rates))
    if dtype not in accelerator.compute.rates:
        known = ", ".join(accelerator.compute.rates)
        raise row.error("dtype", f"{accelerator.name} does not multiply {dtype!r}; it has {known}")
    gemm = plain_gemm(m, n, k, dtype, BITS[dtype], _density(row, "density_a"), _weight(row))
    return Shape(tuple(cells), replace(gemm, batch=batch), where)


def _extent(row: _Row, column: str) -> int:
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


def _density(row: _Row, column: str) -> Pattern:
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


def _weight(row: _Row) -> Pattern:
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
    Raises `AnalysisError` naming the line of a shape that fits no mapping.
    """
    pricer = Pricer(accelerator, objective)  # type: ignore[arg-type]
    overhead = accelerator.host.launch_overhead_s
    for shape in shapes:
        if refused := pricer.refusal(shape.gemm):
            raise AnalysisError(f"{shape.where}: {refused}")
    try:
        pricer.prepare([shape.gemm for shape in shapes])
    except SimulationError as error:
        raise AnalysisError(str(error)) from None
    for number, shape in enumerate(shapes):
        try:
            row = pricer.gemm(shape.gemm)
        except SimulationError as error:
            raise AnalysisError(f"{shape.where}: {error}") from None
        if progress is not None:
            progress(number + 1, len(shapes))
        yield (row.latency_s + overhead, *(getattr(row, name) for name in RESULTS[1:]))


def write_table(path: Path, header: list[str], shapes: list[Shape], figures: Iterable[tuple[Any, ...]]) -> None:
    """Write the input's columns with the figures beside them, once all are known.

    A figure whose name the input has already is called NAME_priced.
    """
    rows = [(*shape.cells, *figure) for shape, figure in zip(shapes, figures, strict=True)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*header, *(f"{name}_priced" if name in header else name for name in RESULTS)])
        writer.writerows(rows)

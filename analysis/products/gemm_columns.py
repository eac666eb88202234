"""What the columns of a table of matrix products mean: names that this field uses, and what is none of them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zerocast.accelerators import Accelerator
from zerocast.analysis.csv_table import Row, read_table
from zerocast.analysis.errors import AnalysisError
from zerocast.simulator import Gemm, plain_gemm
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM, Pattern, Uniform

Columns = Mapping[str, tuple[str, ...]]
"""Column -> other names that it goes by, in any case."""
REQUIRED = ("M", "N", "K")
COLUMNS: Columns = {
    "batch": (),
    "count": ("repetitions", "repeat", "repeats"),
    "dtype": ("data type", "data_type", "input_dtype"),
    "weight_dtype": (),
    "output_dtype": ("out_dtype",),
    "weight_bits": (),
    "density_a": (),
    "density_b": ("density",),
    "pattern": ("sparsity", "nm", "n:m"),
    "then_n": (),
    "layer": ("layer name", "layer_name", "name", "label"),
}
"""SCALE-Sim's topology files have `Layer name` and `Sparsity`."""

_LOADED = ("densit", "sparsit", "bits", "dtype", "pattern", "prun", "zeros", "mask")
"""Parts of names that would change the price: such a column is refused, where another is only carried along."""
LARGEST = 10**8
"""Largest extent accepted: beyond it the list of tile sizes alone would fill the memory."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One line of the table: the cells as they were, the product they ask for, where they stand, how often the
    product is done, and its name: that of the column layer, else its sizes, MxNxK. then: a second product, of the first
    one's result, that runs fused with it (`products.fused`)."""

    cells: tuple[str, ...]
    gemm: Gemm
    where: str
    count: int = 1
    name: str = ""
    then: Gemm | None = None

    @property
    def products(self) -> tuple[Gemm, ...]:
        """The product, and what is fused with it."""
        return (self.gemm,) if self.then is None else (self.gemm, self.then)


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read. counted: whether it says how often each product is done. remarks: what to know of it."""

    header: list[str]
    shapes: list[Shape]
    counted: bool
    remarks: tuple[str, ...]


def read_shapes(path: Path, accelerator: Accelerator) -> Table:
    """The products of a CSV with the columns `REQUIRED` and any of `COLUMNS`, in any case and order.

    out[M, N] = A[M, K] B[K, N], `batch` times over; `count` such products follow one another. density_* are shares of
    nonzeros at random places (density alone is that of B, the weights), pattern is `dense` or N:M (also nm:N:M) along K
    of B; dtype is that of A and defaults to the first that the array multiplies, weight_dtype and output_dtype are of B
    and out where they differ from it; weight_bits are those that a stored element of B takes.
    then_n: the columns of a second product, out2[M, then_n] = out[M, N] B2[N, then_n], that runs fused with the first.
    Other columns are carried along, and a remark names them.
    Raises `AnalysisError` naming file, line and column of the first mistake, and for a column that is not read but
    by its name would change the price.
    """
    return read_as(path, REQUIRED, COLUMNS, lambda row: _shape(row, accelerator))


def read_as(path: Path, required: Sequence[str], columns: Columns, shape: Callable[[Row], Shape]) -> Table:
    """A table with some `required` columns and any of `columns`, each of its rows read by `shape`."""
    header, rows = read_table(path, required)
    names, remarks = _names(path, rows[0].names, required, columns)
    readable = [replace(row, cells=_renamed(row.cells, names), names=_renamed(row.names, names)) for row in rows]
    return Table(header, [shape(row) for row in readable], "count" in names.values(), remarks)


def _names(
    path: Path, found: dict[str, str], required: Sequence[str], columns: Columns
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What each column of a header (lower case -> as spelt) is read as, and remarks on it."""
    read = f"read are {', '.join((*required, *columns))}"
    asked = {name.lower() for name in required}
    known = {other: name for name, others in columns.items() for other in (name, *others)}
    names = {column: known[column] for column in found if column in known}
    for meaning in dict.fromkeys(names.values()):
        same = [found[column] for column, name in names.items() if name == meaning]
        if len(same) > 1:
            raise AnalysisError(f"{path}: the columns {' and '.join(same)} mean the same, {meaning}; keep one")
    others = [column for column in found if column not in known and column not in asked and column]
    for column in others:
        near = difflib.get_close_matches(column, [*columns, "density", "sparsity"], n=1, cutoff=0.8)
        if near or any(part in column for part in _LOADED):
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise AnalysisError(
                f"{path}: the column {found[column]!r} is not read, though it would change the price; {hint}{read}"
            )
    remarks = []
    if "density" in names:
        remarks.append(f"column {found['density']} is taken as density_b, that of the weights")
    if others:
        remarks.append(f"not read, carried along: {', '.join(found[column] for column in others)}; {read}")
    return names, tuple(remarks)


def _renamed(columns: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """Something by column, under what each is read as."""
    return {names.get(column, column): value for column, value in columns.items()}


def _shape(row: Row, accelerator: Accelerator) -> Shape:
    m, n, k = (whole(row, column) for column in ("m", "n", "k"))
    batch, count = (whole(row, column, 1) for column in ("batch", "count"))
    gemm = typed(row, plain_gemm(m, n, k, "", 0, density_of(row, "density_a"), weight_pattern(row)), accelerator)
    if not (columns := whole(row, "then_n", 0)):
        return Shape(row.raw, replace(gemm, batch=batch), row.where, count, row.get("layer") or f"{m}x{n}x{k}")
    then = replace(typed(row, plain_gemm(m, columns, n, "", 0), accelerator), batch=batch)
    name = row.get("layer") or f"{m}x{n}x{k}x{columns}"
    return Shape(row.raw, replace(gemm, batch=batch), row.where, count, name, then)


def typed(row: Row, gemm: Gemm, accelerator: Accelerator) -> Gemm:
    """The product with the types of its three operands, which the array must be able to multiply."""
    dtype = row.get("dtype") or accelerator.compute.native_type
    weight, output = (row.get(column) or dtype for column in ("weight_dtype", "output_dtype"))
    for column, name in (("dtype", dtype), ("weight_dtype", weight), ("output_dtype", output)):
        if name not in BITS:
            raise row.error(column, f"{name!r} is no data type; known are {', '.join(BITS)}")
        narrower = column == "weight_dtype" and BITS[name] < BITS[dtype] == 16
        if accelerator.gpu is not None and name != dtype and not narrower:
            raise row.error(
                column, f"kernels of {dtype} beside {name} are not modelled; narrower weights of 16-bit products are"
            )
    gemm = replace(gemm, dtype=dtype, weight_dtype="" if weight == dtype else weight)
    if accelerator.compute.multiplies_as(gemm.types) is None:
        known = ", ".join(accelerator.compute.rates)
        column = "weight_dtype" if gemm.weight_dtype else "dtype"
        raise row.error(column, f"{accelerator.name} does not multiply {gemm.types!r}; it has {known}")
    bits = {"input": BITS[dtype], "weight": _weight_bits(row, weight, accelerator), "output": BITS[output]}
    return replace(gemm, **{side: replace(getattr(gemm, side), bits=size) for side, size in bits.items()})


def whole(row: Row, column: str, missing: int | None = None, least: int = 1) -> int:
    """A whole number from `least` to `LARGEST`; `missing` where the column is not there or empty."""
    text = row.get(column)
    if not text and missing is not None:
        return missing
    try:
        value = int(text)
    except ValueError:
        raise row.error(column, f"{text!r} is not a whole number") from None
    if not least <= value <= LARGEST:
        raise row.error(column, f"{value} must lie between {least} and {LARGEST}")
    return value


def _weight_bits(row: Row, dtype: str, accelerator: Accelerator) -> int:
    """Bits of a stored element of B; those of the type where nothing is said."""
    if not row.get("weight_bits"):
        return BITS[dtype]
    bits = whole(row, "weight_bits")
    if bits > BITS[dtype]:
        raise row.error("weight_bits", f"{bits} are more than the {BITS[dtype]} of {dtype}")
    if accelerator.gpu is not None and bits != BITS[dtype]:
        raise row.error(
            "weight_bits",
            f"kernels whose weights have {bits} bits in {dtype} are not modelled; give a narrower weight_dtype",
        )
    return bits


def density_of(row: Row, column: str) -> Pattern:
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


def weight_pattern(row: Row) -> Pattern:
    """Pattern of B from its density or its N:M, which must not contradict each other."""
    law, text = density_of(row, "density_b"), row.get("pattern").lower()
    if text in ("", "dense"):
        if text and not law.is_dense:
            raise row.error("pattern", f"dense contradicts density_b {law.density:g}; leave one of them out")
        return law
    match = re.fullmatch(r"(?:nm:)?(\d{1,6}):(\d{1,6})", text)
    if not match:
        share = " (a share of zeros goes into density_b, as 1 less it)" if _is_number(text) else ""
        raise row.error("pattern", f"{text!r} is no pattern; write dense, or N:M such as 2:4{share}")
    n, m = int(match[1]), int(match[2])
    if not 1 <= n <= m:
        raise row.error("pattern", f"{text}: N must lie between 1 and M = {m}")
    if not law.is_dense and not math.isclose(law.density, n / m, abs_tol=1e-6):
        raise row.error("pattern", f"{text} contradicts density_b {law.density:g}; leave one of them out")
    return DENSE if n == m else NM(n, m, "k")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

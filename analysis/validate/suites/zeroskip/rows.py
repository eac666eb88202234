"""What the engines' comparisons share: reference rows, what their conditions say, and products made from them."""

from __future__ import annotations

import re

from zerocast.analysis.validate.comparison import Comparison, reference_rows
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.workloads.patterns import DENSE, Pattern, Uniform

SUITE = "zeroskip"
Row = dict[str, str]


def rows_of(system: str, metric: str) -> list[Row]:
    """Reference rows of one system and metric."""
    rows = reference_rows("zeroskip.csv")
    return [row for row in rows if row["system"] == system and row["metric"] == metric]


def fact(row: Row, name: str) -> str:
    """Value of `name=value` in a row's conditions. Raises `SimulationError` where the row does not say it."""
    for part in row["conditions"].split("; "):
        key, _, value = part.partition("=")
        if key == name and value:
            return value
    raise SimulationError(
        f"{row['system']} {row['workload']}: its conditions lack {name!r}; write '{name}=value' into zeroskip.csv"
    )


def numbers(row: Row, text: str, form: str) -> tuple[int, ...]:
    """Whole numbers above zero in `text`, which must have the form M1-N1-K1 (a letter or separator each, digits
    anywhere). Raises `SimulationError` for anything else."""
    found = re.fullmatch(re.sub(r"\d+", r"(\\d+)", form), text)
    values = tuple(map(int, found.groups())) if found else ()
    if not values or min(values) < 1:
        raise SimulationError(f"{row['system']} {row['workload']}: {text!r} is not a shape of the form {form}")
    return values


def product_of(row: Row, dtype: str, bits: int, most: int | None = None) -> Gemm:
    """The product M-N-K of a row under its uniform densities; extents cut to `most`."""
    m, n, k = (min(size, most or size) for size in numbers(row, row["workload"], "M1-N1-K1"))
    a, b = (zeros_of(float(fact(row, f"{side} density"))) for side in "AB")
    return plain_gemm(m, n, k, dtype, bits, a, b)


def zeros_of(density: float) -> Pattern:
    """Uniformly random zeros that leave this share of nonzeros; none where it is 1."""
    return DENSE if density >= 1 else Uniform(density)


def shown(
    what: str, predicted: float, reference: float, unit: str, source: str, note: str, ok: bool | None = None
) -> Comparison:
    """A figure beside a published one to which it is not held within a tolerance."""
    return Comparison(SUITE, what, predicted, reference, unit, predicted / reference - 1, None, ok, source, note)

"""Two fused matrix products on the RTL of a 16x16 array: cycles under tiles that are given.

One set of constants, the template's; the cycles between two streams come from the array-bound rows of 512x256x48 in
blocks of 64 rows, all other rows are predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import mean

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel
from zerocast.analysis.validate.comparison import Comparison, against, at_most, reference_rows
from zerocast.simulator.products.fused import fused_cost
from zerocast.simulator.products.gemm import Gemm, plain_gemm

SUITE = "fused"
TOLERANCE = MEAN = 0.15
"""Error allowed of each row's cycles, and of their mean."""

Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    table = reference_rows("fused.csv")
    say(f"{len(table)} pairs of fused products under given tiles")
    rows = [against(SUITE, _name(row), cycles(row), float(row["cycles"]), "cycles", TOLERANCE, row["source"])
            for row in table]  # fmt: skip
    worst = mean(abs(row.error or 0.0) for row in rows)
    return [*rows, at_most(SUITE, "mean error of all pairs", worst, MEAN, table[0]["source"])]


def cycles(row: Row) -> float:
    """Predicted cycles of a pair under the row's tiles."""
    machine = _machine()
    first, second = products(row)
    return fused_cost(first, second, machine).latency_s * machine.technology.clock_hz


def products(row: Row) -> tuple[Gemm, Gemm]:
    """Both products of a row with their tiles."""
    m, n, k, then_n = (int(row[name]) for name in ("m", "n", "k", "then_n"))
    one, two = (
        replace(plain_gemm(m, *sizes, "int16", 16), given=_tile(row, prefix))
        for sizes, prefix in (((n, k), ""), ((then_n, n), "then_"))
    )
    return one, two


def _tile(row: Row, prefix: str) -> Given:
    n, k = (int(row[f"{prefix}{side}_tile"]) for side in "nk")
    return Given(levels=(GivenLevel(tile=Extents(m=int(row["rows"]), n=n, k=k)),))


def _name(row: Row) -> str:
    tiles = f"{row['n_tile']}x{row['k_tile']} then {row['then_n_tile']}x{row['then_k_tile']}"
    return f"{row['m']}x{row['n']}x{row['k']} then {row['then_n']} columns, {row['rows']} rows, tiles {tiles}"


@cache
def _machine() -> Accelerator:
    return load("fused-rtl-16x16")

"""Layers on the RTL of a 16x16 Gemmini: cycles under mappings that are given, and under the search's own.

One set of constants, the template's; three of them (share of the bus, least cycles of an instruction, what hides) come
from every second layer under given mappings, all other rows are predictions. Each row has memories of its own, which
its tile may fill once. The controller's loops over tiles are samples and positions, output channels, then the
reduction, whatever the order that a mapping lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import mean

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.products.conv_columns import convolution
from zerocast.analysis.products.timeloop import given_entry
from zerocast.analysis.validate.comparison import Comparison, against, at_most, reference_rows
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.given import given_products

SUITE = "gemmini"
GIVEN, OWN = 0.15, 0.20
"""Mean error allowed of cycles under the given mappings, and under the search's own."""
ORDER = "mnk"
"""Order of the controller's loops over tiles."""

Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    table = reference_rows("gemmini.csv")
    say(f"{len(table)} layers under given mappings, and under mappings of our own")
    layers = list(dict.fromkeys(map(_layer, table)))
    calibrated = set(layers[::2])
    given, own = [given_row(row) for row in table], [own_row(row) for row in table]
    source = table[0]["source"]
    seen = [found for row, found in zip(table, given, strict=True) if _layer(row) in calibrated]
    unseen = [found for row, found in zip(table, given, strict=True) if _layer(row) not in calibrated]
    return [*given, *own, *(
        at_most(SUITE, f"mean error {what}", mean(abs(row.error or 0.0) for row in rows), most, source)
        for what, rows, most in (
            ("under given mappings, layers calibrated on", seen, GIVEN),
            ("under given mappings, other layers", unseen, GIVEN), ("under the search's own", own, OWN),
        )
    )]  # fmt: skip


def given_row(row: Row) -> Comparison:
    """Cycles under the row's mapping."""
    found = against(SUITE, f"{_name(row)}, {row['mapping']}", given_cycles(row), float(row["given_cycles"]), "cycles",
                    0.0, row["source"])  # fmt: skip
    return replace(found, tolerance=None, ok=None)


def own_row(row: Row) -> Comparison:
    """Cycles under the search's mapping, beside the better of the given one and the controller's default."""
    measured = min(float(row["given_cycles"]), float(row["default_cycles"]))
    what = f"{_name(row)}, own mapping beside the better of {row['mapping']} and the default"
    found = against(SUITE, what, own_cycles(row), measured, "cycles", 0.0, row["source"])
    return replace(found, tolerance=None, ok=None)


def given_cycles(row: Row) -> float:
    """Predicted cycles under the row's mapping, whose tile may fill the memories once."""
    single = {f"memories.{name}.double_buffered": False for name in ("scratchpad", "accumulator")}
    machine = _machine(row, **single)
    entry = given_entry(row["mapping"], {rank: int(row[rank.lower()]) for rank in "NKCPQRS"}, ORDER)
    (product,) = given_products({"layer": (layer(row),)}, {"layer": entry}, machine)["layer"]
    return _cycles(product, machine)


def own_cycles(row: Row) -> float:
    """Predicted cycles under the search's mapping."""
    return _cycles(layer(row), _machine(row))


def layer(row: Row) -> Gemm:
    """The row's convolution; its P and R are columns."""
    n, k, c, p, q, r, s, stride = _layer(row)
    product = convolution({"n": n, "g": 1, "k": k, "c": c, "p": q, "q": p, "r": s, "s": r}, stride)
    sides = {side: replace(getattr(product, side), bits=8) for side in ("input", "weight", "output")}
    return replace(product, dtype="int8", **sides)


def _layer(row: Row) -> tuple[int, ...]:
    return tuple(int(row[name]) for name in ("n", "k", "c", "p", "q", "r", "s", "stride"))


def _name(row: Row) -> str:
    n, k, c, p, q, r, s, stride = _layer(row)
    memories = f"{row['accumulator_bytes']} + {row['scratchpad_bytes']} B"
    return f"{n}x{k}x{c}x{p}x{q}x{r}x{s}/{stride} in {memories}"


def _machine(row: Row, **changes: bool) -> Accelerator:
    sizes = {f"memories.{name}.capacity_bytes": float(row[f"{name}_bytes"]) for name in ("scratchpad", "accumulator")}
    return load("gemmini-16x16", sizes | changes)


def _cycles(product: Gemm, machine: Accelerator) -> float:
    row = Pricer(machine, "latency", "analytic").gemm(product)
    return row.latency_s * machine.technology.clock_hz

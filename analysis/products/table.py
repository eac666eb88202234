"""Price a table of matrix products: CSV in, CSV out. No PyTorch, no pandas."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from zerocast.accelerators import Accelerator
from zerocast.accelerators.schema.given import GivenLevel
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.products.gemm_columns import Shape, Table
from zerocast.analysis.products.unseen_zeros import unseen_zeros
from zerocast.simulator import Gemm, SimulationError
from zerocast.simulator.cards import cards_of
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.fused import fused_cost
from zerocast.simulator.products.given import Page, given_products

RESULTS = (
    "latency_s", "cycles", "energy_j", "dram_read_bytes", "dram_write_bytes", "bound", "dataflow",
    "utilisation", "skipped", "order", "tile_m", "tile_n", "tile_k", "memories", "fallback",
    "dense_kernel_s", "sparse_kernel_s", "note",
)  # fmt: skip
LAUNCHED = ("latency_s", "dense_kernel_s", "sparse_kernel_s")
"""Figures that have the launch on top, where there are any."""
Fate = Literal["as asked", "dense", "with zeros that the array does not skip", "not at all"]
TOTALS = ("total_latency_s", "total_energy_j")
"""What a table with a column `count` gets beside them: the figures times the count."""


@dataclass(frozen=True, slots=True)
class Priced:
    """Figures of a shape, named by `RESULTS`, whether it was priced as it was asked for, and its products with the
    mappings that they took."""

    figures: tuple[Any, ...]
    fate: Fate
    mapped: tuple[Gemm, ...] = ()

    def figure(self, name: str) -> float:
        """One of the figures."""
        return float(self.figures[RESULTS.index(name)])


def price_shapes(
    shapes: Sequence[Shape],
    accelerator: Accelerator,
    objective: str = "latency",
    fidelity: str = "analytic",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Priced]:
    """For each shape its figures, under its best mapping; equal shapes are mapped once.

    Latency includes the launch overhead, energy is dynamic. `progress` is called with shapes done and in all.
    N:M weights that a GPU's sparse tensor cores do not take are priced dense, as in a network, and `note` says why, as
    it does of zeros that the array does nothing about.
    A shape that fits no mapping has NaN for figures and the reason in `note`.
    Raises `AnalysisError` naming the first line where this befalls every shape, and for several cards.
    """
    refuse_cards(accelerator)
    pricer = Pricer(accelerator, objective, fidelity)  # type: ignore[arg-type]
    refused = [pricer.refusal(shape.gemm) for shape in shapes]
    if refused and all(refused):
        raise _hopeless(shapes, refused[0])
    try:
        pricer.prepare([product for shape in shapes for product in shape.products])
    except SimulationError as error:
        raise AnalysisError(str(error)) from None
    unpriced: list[str] = []
    for number, shape in enumerate(shapes):
        try:
            priced = _fused(shape, pricer) if shape.then is not None else _alone(shape, pricer)
        except SimulationError as error:
            unpriced.append(str(error))
            if len(unpriced) == len(shapes):
                raise _hopeless(shapes, unpriced[0]) from None
            nothing = (_NONE.get(name, math.nan) for name in RESULTS[:-1])
            priced = Priced((*nothing, f"not priced: {error}"), "not at all")
        if progress is not None:
            progress(number + 1, len(shapes))
        yield priced


def refuse_cards(accelerator: Accelerator) -> None:
    """`AnalysisError` for several cards: which part of a product each has, its network tells."""
    if (cards := cards_of(accelerator)) > 1:
        raise AnalysisError(
            f"gpu.cards={cards}: products of a table are priced on one card; leave it out and give one card's part of "
            "each product, or price a network with `zerocast run`, which deals its layers to the cards"
        )


def _alone(shape: Shape, pricer: Pricer) -> Priced:
    """A shape that is one product."""
    row, unseen = pricer.gemm(shape.gemm), unseen_zeros(shape.gemm, pricer.accelerator)
    note = "; ".join(filter(None, (row.note, unseen)))
    overhead = pricer.accelerator.host.launch_overhead_s
    figures = {name: getattr(row, name) for name in RESULTS}
    figures |= {"note": note} | {name: figures[name] + overhead for name in LAUNCHED if figures[name]}
    idle = unseen or row.fallback == "slower"
    seen: Fate = "with zeros that the array does not skip" if idle else "as asked"
    mapped = tuple(one for one in pricer.mapped([shape.gemm]) if one is not None)
    return Priced(tuple(figures.values()), "dense" if row.fallback == "refused" else seen, mapped)


def _fused(shape: Shape, pricer: Pricer) -> Priced:
    """A shape that is two products fused; `note` says what they cost one after the other."""
    assert shape.then is not None
    machine = pricer.accelerator
    cost = fused_cost(shape.gemm, shape.then, machine, pricer.objective, pricer.fidelity)
    apart = [pricer.gemm(product.free) for product in shape.products]
    seconds = sum(row.latency_s + machine.host.launch_overhead_s for row in apart)
    moved = sum(row.dram_read_bytes + row.dram_write_bytes for row in apart)
    tile = cost.mapped[0].given.level(0) if cost.mapped[0].given is not None else GivenLevel()
    known = {
        name: getattr(cost, name) for name in ("cycles", "energy_j", "dram_read_bytes", "dram_write_bytes", "bound")
    }
    known |= {
        "latency_s": cost.latency_s + machine.host.launch_overhead_s, "dataflow": apart[0].dataflow,
        "utilisation": sum(row.ideal_cycles for row in apart) / (cost.latency_s * machine.technology.clock_hz),
        "order": tile.order, "tile_m": cost.rows, "tile_n": tile.tile.n, "tile_k": tile.tile.k,
        "note": f"two products fused in blocks of {cost.rows} rows; one after the other {seconds:.4g} s and "
                f"{moved:.4g} B of DRAM traffic",
    }  # fmt: skip
    zeros: Fate = "with zeros that the array does not skip" if unseen_zeros(shape.gemm, machine) else "as asked"
    return Priced(tuple(known.get(name, "") for name in RESULTS), zeros, cost.mapped)


def given_shapes(shapes: Sequence[Shape], mapping: Page, accelerator: Accelerator) -> list[Shape]:
    """The shapes with what a page fixes of their mappings, by globs of names; raises what `given_products` does."""
    products: dict[str, tuple[Gemm, ...]] = {}
    for shape in shapes:
        products[shape.name] = (*products.get(shape.name, ()), *shape.products)
    left = {name: iter(found) for name, found in given_products(products, mapping, accelerator).items()}
    return [replace(shape, gemm=next(left[shape.name]), then=next(left[shape.name]) if shape.then is not None else None)
            for shape in shapes]  # fmt: skip


_NONE = {**dict.fromkeys(("bound", "dataflow", "skipped", "order", "memories"), ""), "fallback": "not priced"}
"""What columns of words hold of a shape that has no price."""


def _hopeless(shapes: Sequence[Shape], reason: str) -> AnalysisError:
    """The error for a table none of whose shapes can be priced as it was asked for."""
    others = f"; so it is with all {len(shapes)} shapes of the table" if len(shapes) > 1 else ""
    return AnalysisError(f"{shapes[0].where}: {reason}{others}")


def remarks(priced: Sequence[Priced]) -> str:
    """How many shapes were priced otherwise than asked for or not at all; "" where none was."""
    words = {"dense": "dense, not with their zeros"}
    counts = Counter(one.fate for one in priced if one.fate != "as asked")
    told = [f"{count} priced {words.get(fate, fate)}" for fate, count in counts.items()]
    return f"; {' and '.join(told)}, see column note" if told else ""


def totals(table: Table, priced: Sequence[Priced]) -> str:
    """Time and energy of the whole table where it has counts, of the shapes that could be priced; "" without."""
    if not table.counted:
        return ""
    known = [row for row in _totals(table, priced) if not math.isnan(row[0])]
    seconds, joules = (sum(row[place] for row in known) for place in (0, 1))
    return f"; in all {sum(shape.count for shape in table.shapes)} products, {seconds:.6g} s, {joules:.6g} J"


def _totals(table: Table, priced: Sequence[Priced]) -> list[tuple[float, float]]:
    return [
        (shape.count * one.figure("latency_s"), shape.count * one.figure("energy_j"))
        for shape, one in zip(table.shapes, priced, strict=True)
    ]


def nests_text(table: Table, priced: Sequence[Priced], accelerator: Accelerator, objective: str) -> str:
    """The mappings of a table drawn as loop nests; says so where there are none."""
    from zerocast.analysis.reports.nests import nests

    products: dict[str, tuple[Gemm, ...]] = {}
    for shape, one in zip(table.shapes, priced, strict=True):
        if one.mapped:
            products[shape.name] = (*products.get(shape.name, ()), *one.mapped)
    drawn = [nest.text for nest in nests(products, accelerator, objective)]  # type: ignore[arg-type]
    return "\n\n".join(drawn) or f"{accelerator.name} maps no products in tiles: no nests"


def write_table(path: Path, table: Table, priced: Sequence[Priced]) -> None:
    """Write the input's columns with the figures beside them, once all are known.

    A figure whose name the input has already is called NAME_priced.
    """
    added: Sequence[tuple[float, ...]] = _totals(table, priced) if table.counted else [()] * len(priced)
    names = (*RESULTS, *(TOTALS if table.counted else ()))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*table.header, *(f"{name}_priced" if name in table.header else name for name in names)])
        for shape, one, more in zip(table.shapes, priced, added, strict=True):
            writer.writerow((*shape.cells, *one.figures, *more))

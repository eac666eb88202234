"""Two matrix products in a row that share tiles of rows, so that what lies between them never leaves the chip.

a[m, l] = x[m, k] b[k, l], then out[m, n] = a[m, l] c[l, n]: for each block of rows the first product makes its rows of
`a` whole, which stay in a memory that takes results, and the second reads them there. Nothing else of one block is left
for the next. Tiles of both products lie in the buffers at once: while the array works on the one, the link brings what
the other needs, so that over all blocks the longer of array and link counts, between first load and last store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from zerocast.accelerators.schema import Accelerator, Memory
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws import law_of
from zerocast.simulator.objective import Objective, goal
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import tile_extents
from zerocast.simulator.products.product import Product
from zerocast.simulator.products.traffic import buffer_needs, tile_bytes
from zerocast.simulator.rates import rates_of

BLOCKS = 12
"""Sizes of the shared block of rows that are tried."""


@dataclass(frozen=True, slots=True)
class FusedCost:
    """Cost of two fused products. rows: of a block; mapped: both products with the mappings that they took. cycles: of
    the array, ports included; bound: `dram` where the link is busy for longer than the array."""

    rows: int
    latency_s: float
    cycles: float
    energy_j: float
    dram_read_bytes: float
    dram_write_bytes: float
    bound: str
    mapped: tuple[Gemm, Gemm]

    def objective(self, objective: Objective) -> float:
        """The figure to be made small."""
        return float(goal(objective, self.latency_s, self.energy_j, self.cycles))


def fused_cost(
    first: Gemm, second: Gemm, accelerator: Accelerator, objective: Objective = "latency", fidelity: str = "analytic"
) -> FusedCost:
    """Cost of two products as one, under the block of rows that makes the objective least, or the given one.

    What is given of the mappings counts for a block: their tiles' m, where both name it, is the block's rows.
    `SimulationError` for products that do not follow one another, an accelerator that has no place for what is between
    them, and where no block fits.
    """
    home = _home(accelerator)
    if (first.m, first.n, first.batch) != (second.m, second.k, second.batch):
        raise SimulationError(
            f"a product of {second.m} x {second.n} x {second.k} cannot follow {first.m} x {first.n} x {first.k}; "
            f"it reads {second.m} x {second.k}, not the {first.m} x {first.n} that the first makes"
        )
    found, failed = [], None
    for rows in _blocks(first, second, accelerator):
        try:
            found.append(_blocked(first, second, rows, accelerator, home, objective, fidelity))
        except SimulationError as error:
            failed = failed or error
    if not found:
        assert failed is not None
        raise failed
    return min(found, key=lambda cost: (cost.objective(objective), cost.energy_j))


def _home(accelerator: Accelerator) -> Memory:
    """The memory where what is between two products stays."""
    if accelerator.gpu is not None or accelerator.nested or accelerator.row_stationary:
        raise SimulationError(
            f"{accelerator.name} fuses no products: blocks of rows are known on arrays with one depth of memories alone"
        )
    buffer = accelerator.buffer_of("input")
    if "output" not in buffer.holds and not buffer.takes_results:
        raise SimulationError(
            f"{accelerator.name} cannot fuse products: {buffer.name} takes no results; "
            f"set memories.{buffer.name}.takes_results if it can"
        )
    return buffer


def _blocks(first: Gemm, second: Gemm, accelerator: Accelerator) -> Iterator[int]:
    """Rows of a block to try."""
    fixed = {rows for gemm in (first, second) if gemm.given is not None and (rows := gemm.given.level(0).tile.m)}
    if len(fixed) > 1:
        raise SimulationError(
            f"the mappings of two fused products have tiles of {' and '.join(map(str, sorted(fixed)))} rows (m); both "
            "work on the same block of rows: give one number"
        )
    if fixed:
        yield from fixed
        return
    unit = accelerator.compute.rows
    yield from (int(rows) for rows in tile_extents(first.m, unit, BLOCKS)[::-1])


def _blocked(
    first: Gemm, second: Gemm, rows: int, accelerator: Accelerator, home: Memory, objective: Objective, fidelity: str
) -> FusedCost:
    """Cost in blocks of some rows, the last one shorter where they do not divide the whole."""
    full, rest = divmod(first.m, rows)
    blocks = [_Block(first, second, rows, accelerator, home, objective, fidelity)]
    counts = [full * first.batch]
    if rest:
        blocks.append(_Block(first, second, rest, accelerator, home, objective, fidelity))
        counts.append(first.batch)
    every = list(zip(blocks, counts, strict=True))
    array_s, link_s = (sum(getattr(block, name) * count for block, count in every) for name in ("array_s", "link_s"))
    begin, end, last = blocks[0], blocks[-1], blocks[-1].last_store_s
    # the array waits for the first load, the link for the last computation
    latency = max(begin.first_load_s + array_s, link_s - last + end.last_tile_s) + last
    total = {name: sum(block.total(name) * count for block, count in every)
             for name in ("cycles", "energy_j", "dram_read_bytes", "dram_write_bytes")}  # fmt: skip
    between = first.batch * first.m * first.n * first.output.bits / 8
    total["energy_j"] += between * float(rates_of([accelerator]).j_per_byte[home.name][0])
    return FusedCost(rows=rows, latency_s=latency, bound="dram" if link_s > array_s else "compute",
                     mapped=begin.mapped(first, second), **total)  # fmt: skip


class _Block:
    """Both products over one block of rows. array_s, link_s: what they take in all; first_load_s, last_store_s: of the
    first tile and of the last; last_tile_s: of the array on the last tile."""

    def __init__(
        self, first: Gemm, second: Gemm, rows: int, accelerator: Accelerator, home: Memory, objective: Objective,
        fidelity: str,
    ) -> None:  # fmt: skip
        between = rows * first.n * first.output.bits / 8
        halves = tuple(
            (memory.name, (between if memory is home else 0.0) + self._left(memory, home, between) / 2)
            for memory in accelerator.buffers
        )
        both = all(gemm.given is not None and gemm.given.level(0).tile.n for gemm in (first, second))
        taken = ((home.name, between),) if both else halves
        parts = (_of_rows(first, rows, taken, "output"), _of_rows(second, rows, taken, "input"))
        rates = rates_of([accelerator])
        self.products = [Product(part, [accelerator], rates, objective, fidelity) for part in parts]
        for product in self.products:
            if product.failed:
                raise product.failed[0]
        self._check(accelerator, home, between)
        clock, bytes_per_s = accelerator.technology.clock_hz, accelerator.dram_bytes_per_s
        self.array_s = self.total("cycles") / clock
        self.link_s = (self.total("dram_read_bytes") + self.total("dram_write_bytes")) / bytes_per_s
        opening, closing = (tile_bytes(each.gemm, accelerator, each.mapping) for each in self.products)
        self.first_load_s = float(opening.input + opening.weight) / bytes_per_s
        self.last_store_s = float(closing.output) / bytes_per_s
        trips = self.products[1].mapping.trips
        tiles = float(trips["m"] * trips["n"] * trips["k"])
        self.last_tile_s = float(self.products[1].figures.columns["cycles"][0]) / tiles / clock

    @staticmethod
    def _left(memory: Memory, home: Memory, between: float) -> float:
        return (memory.capacity_bytes or 0.0) - (between if memory is home else 0.0)

    def _check(self, accelerator: Accelerator, home: Memory, between: float) -> None:
        """Tiles of both products, and what is between them, lie in the buffers at once."""
        made = [law_of(each.mapping.dataflow).completes(each.gemm, accelerator, each.mapping) for each in self.products]
        needs = [buffer_needs(each.gemm, accelerator, each.mapping, complete)
                 for each, complete in zip(self.products, made, strict=True)]  # fmt: skip
        for memory in accelerator.buffers:
            tiles = [float(need[memory.name]) for need in needs]
            total = sum(tiles) + (between if memory is home else 0.0)
            if total > (memory.capacity_bytes or 0.0) * (1 + 1e-12):
                raise SimulationError(
                    f"tiles of the two fused products do not fit {memory.name} together: {tiles[0]:,.0f} + "
                    f"{tiles[1]:,.0f} B and {between if memory is home else 0:,.0f} B between them, it has "
                    f"{memory.capacity_bytes:,.0f} B; give smaller tiles or fewer rows"
                )

    def total(self, name: str) -> float:
        """Sum of a column over both products."""
        return sum(float(product.figures.columns[name][0]) for product in self.products)

    def mapped(self, *whole: Gemm) -> tuple[Gemm, Gemm]:
        """The whole products with the mappings of this block."""
        one, two = (replace(gemm, given=product.mapped.given) for gemm, product in
                    zip(whole, self.products, strict=True))  # fmt: skip
        return one, two


def _of_rows(gemm: Gemm, rows: int, taken: tuple[tuple[str, float], ...], inside: str) -> Gemm:
    """Some rows of one product, of which the operand `inside` lies on chip; the tile takes all of them."""
    given = gemm.given or Given()
    level = given.level(0)
    tile = Extents(m=rows, n=level.tile.n, k=level.tile.k)
    levels = (GivenLevel(order=level.order, tile=tile, held=level.held),)
    one = replace(
        gemm, batch=1, m=rows, taken=taken, given=Given(dataflow=given.dataflow, levels=levels),
        input=replace(gemm.input, unique=rows * gemm.k), output=replace(gemm.output, unique=rows * gemm.n),
    )  # fmt: skip
    return replace(one, **{inside: replace(getattr(one, inside), on_chip=True)})

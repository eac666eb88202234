"""What an einsum costs: each of its products priced once, added up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cost import OVER_PRODUCTS, Figures, OpRow, in_order
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gpu import gpu_rows, refusal
from zerocast.simulator.gpu.power import drawn_share
from zerocast.simulator.objective import Objective
from zerocast.simulator.priced import Priced
from zerocast.simulator.products.gemm import Gemm, widened
from zerocast.simulator.products.pairs import effectual_macs
from zerocast.simulator.products.product import Product
from zerocast.simulator.rates import Rates, rates_of
from zerocast.workloads.ir import Einsum


def is_nested(accelerator: Accelerator) -> bool:
    """Whether products are mapped on several depths, or an operand lives on chip for good."""
    return accelerator.nested or len(accelerator.dram.holds) < 3


def refuse_unfilled(products: Sequence[Gemm], accelerator: Accelerator) -> None:
    """`SimulationError` for a fan-out that no product of a workload can fill by the sides that it spreads over."""
    for depth in range(accelerator.depths + 1):
        fanout = accelerator.fanout_at(depth)
        if fanout is None or not products:
            continue
        most = max(math.prod(one.batch if side == "groups" else getattr(one, side) for side in fanout.over)
                   for one in products)  # fmt: skip
        if most < fanout.count:
            raise SimulationError(
                f"memories.{accelerator.at_depth(depth)[0].name}.fanout: {fanout.count} copies over "
                f"{', '.join(fanout.over)}, of which no product here can fill more than {most}; list more sides in "
                "`over`, or lower `count`"
            )


class Pricer:
    """Prices einsums on one accelerator, or on designs of one structure (`simulator.rates`). Equal products are mapped
    and priced once.

    A GPU has one way to run a product, so that objective and fidelity make no difference to it; it is priced one
    design at a time. failed: by design, why it cannot run what it was asked to, where there are several; a single one
    raises.
    """

    def __init__(
        self,
        accelerator: Accelerator | Sequence[Accelerator],
        objective: Objective = "latency",
        fidelity: str = "analytic",
    ) -> None:
        self.accelerators = (accelerator,) if isinstance(accelerator, Accelerator) else tuple(accelerator)
        self.accelerator = self.accelerators[0]
        self.rates: Rates = rates_of(self.accelerators)
        self.objective, self.fidelity = objective, fidelity
        self.failed: dict[int, SimulationError] = {}
        self._known: dict[Gemm, Priced] = {}

    def figures(self, products: Sequence[Gemm], fused: bool = False) -> Figures:
        """Cost of an einsum on each design: the sum over its products. fused: part of the kernel before, without a
        launch of its own."""
        parts = [self._product(product).figures for product in products]
        columns = {name: in_order(part.columns[name] for part in parts) for name in parts[0].columns}
        if not fused:
            columns["latency_s"] = columns["latency_s"] + products[0].steps * self.rates.launch_overhead_s
        return Figures(in_order(part.link_s for part in parts), parts[0].weight_prologue_s, columns)

    def row(self, op: Einsum, products: Sequence[Gemm], figures: Figures) -> OpRow:
        """Row of an einsum on a single accelerator, from its figures, without its place in the schedule."""
        row = _merged([self._product(product).row() for product in products])
        if op.share != 1:
            row = _times(row, op.share)
        launch_s = float(figures.latency_s[0]) - row.latency_s if row.high_s else 0.0
        return replace(row, op=op.name, layer=op.layer, phase=op.phase, kind=op.kind, function=op.source,
                       latency_s=float(figures.latency_s[0]), low_s=row.low_s + launch_s,
                       high_s=row.high_s + launch_s)  # fmt: skip

    def gemm(self, gemm: Gemm) -> OpRow:
        """Row of one product under its best mapping, on a single accelerator, a GPU kept within its power limit."""
        row = self._product(gemm).row()
        if self.accelerator.gpu is None:
            return row
        share = drawn_share(self.accelerator, row.energy_j, row.latency_s)
        return replace(row, mac_j=row.mac_j * share, dram_j=row.dram_j * share, energy_j=row.energy_j * share)

    def mapped(self, products: Sequence[Gemm]) -> tuple[Gemm, ...]:
        """Products with the mappings that they took on the first design; nothing given where they were not mapped."""
        return tuple(self._product(product).mapped or product.free for product in products)

    def prepare(self, products: Sequence[Gemm]) -> None:
        """Price many products at once where the accelerator allows it (GPUs), so that `gemm` only looks them up.
        `SimulationError` where none of them can fill a fan-out."""
        refuse_unfilled(products, self.accelerator)
        if self.accelerator.gpu is not None:
            new = [product for product in dict.fromkeys(products) if product not in self._known]
            self._known |= zip(new, self._price(new), strict=True)

    def refusal(self, gemm: Gemm) -> str:
        """Why nothing on a GPU takes the zeros of a product's weights; "" elsewhere."""
        return "" if self.accelerator.gpu is None else refusal(gemm, self.accelerator)

    def _product(self, gemm: Gemm) -> Priced:
        if gemm not in self._known:
            (priced,) = self._price([gemm])
            for design, error in priced.failed.items():
                if len(self.accelerators) == 1:
                    raise error
                self.failed.setdefault(design, error)
            self._known[gemm] = priced
        return self._known[gemm]

    def _price(self, products: Sequence[Gemm]) -> Sequence[Priced]:
        """Products, those of several steps as one of them and its steps."""
        single = self._single([replace(each, steps=1, again=True) if each.steps > 1 else each for each in products])
        return [_Steps(one, product.steps) if product.steps > 1 else one
                for one, product in zip(single, products, strict=True)]  # fmt: skip

    def _single(self, products: Sequence[Gemm]) -> Sequence[Priced]:
        """The one place that knows kinds of accelerators: each has a way to price products, loaded on first use."""
        accelerator = self.accelerator
        if accelerator.gpu is not None:
            rows = gpu_rows([_as_run(product) for product in products], accelerator)
            return [_Whole(_own(row, product), accelerator) for product, row in zip(products, rows, strict=True)]
        if accelerator.row_stationary is not None:
            from zerocast.simulator.laws.rows import RowProduct

            return [RowProduct(product, self.accelerators, self.objective) for product in products]
        if is_nested(accelerator):
            from zerocast.simulator.nests.product import NestProduct

            return [NestProduct(product, self.accelerators, self.objective) for product in products]
        return [Product(gemm, self.accelerators, self.rates, self.objective, self.fidelity) for gemm in products]


def _as_run(product: Gemm) -> Gemm:
    """What a GPU's kernel runs in a product's place."""
    ran = product.computed or product
    return widened(ran) if product.beside else ran


def _own(row: OpRow, product: Gemm) -> OpRow:
    """A product's own part of the row of what ran in its place."""
    if product.beside:
        row = _times(row, product.n / (product.n + product.beside))
    if product.computed is not None and product.computed.batch != product.batch:  # groups side by side
        row = replace(row, effectual_macs=effectual_macs(product), input_density=product.input.pattern.density,
                      weight_density=product.weight.pattern.density)  # fmt: skip
    if product.computed is not None and not product.mask.is_dense:  # tiles of the output left out
        row = replace(row, effectual_macs=effectual_macs(product), output_density=product.mask.density,
                      output_computed=product.computed.n / product.n)  # fmt: skip
    return replace(row, macs=product.macs, m=product.m, n=product.n, k=product.k, batch=product.batch)


def _times(row: OpRow, share: float) -> OpRow:
    """A share of all that adds up in a row."""
    return replace(row, **{column: getattr(row, column) * share for column in OVER_PRODUCTS if column != "batch"})


@dataclass(frozen=True, slots=True)
class _Whole:
    """A product priced in one piece on a single accelerator, without a weight prologue to hide."""

    whole: OpRow
    accelerator: Accelerator
    failed: Mapping[int, SimulationError] = field(default_factory=dict)
    mapped: Gemm | None = None

    def row(self) -> OpRow:
        return self.whole

    @property
    def figures(self) -> Figures:
        columns = {name: np.array([float(getattr(self.whole, name))]) for name in OVER_PRODUCTS}
        moved = self.whole.dram_read_bytes + self.whole.dram_write_bytes
        link_s = min(moved / self.accelerator.dram_bytes_per_s, self.whole.latency_s)
        return Figures(np.array([link_s]), np.zeros(1), columns)


@dataclass(frozen=True, slots=True)
class _Steps:
    """A product that runs `steps` times, one after another: the first weights can be loaded before, no others."""

    one: Priced
    steps: int

    @property
    def failed(self) -> Mapping[int, SimulationError]:
        return self.one.failed

    @property
    def mapped(self) -> Gemm | None:
        mapped = self.one.mapped
        return None if mapped is None else replace(mapped, steps=self.steps, again=False)

    @property
    def figures(self) -> Figures:
        one = self.one.figures
        return replace(one.shared(self.steps), weight_prologue_s=one.weight_prologue_s)

    def row(self) -> OpRow:
        row = self.one.row()
        note = "; ".join(filter(None, (f"{self.steps} steps one after another", row.note)))
        return replace(_times(row, self.steps), note=note)


def _merged(rows: list[OpRow]) -> OpRow:
    """Row of several products in turn: sums, and the mapping of the one that takes longest."""
    if len(rows) == 1:
        return rows[0]
    longest = max(rows, key=lambda row: row.latency_s)
    sums = {column: in_order(getattr(row, column) for row in rows) for column in OVER_PRODUCTS}
    weighted = sum(row.utilisation * row.latency_s for row in rows) / max(sums["latency_s"], 1e-30)
    return replace(longest, utilisation=weighted, note=f"{len(rows)} products, the longest is shown", **sums)  # type: ignore[arg-type]

"""What an einsum costs: each of its products priced once, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.engine.losses import CAUSES
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.gemm_cost import Objective
from zerocast.simulator.gpu import gpu_rows, refusal
from zerocast.simulator.nest_product import NestProduct, is_nested
from zerocast.simulator.product import Figures, Product
from zerocast.simulator.rates import Rates, rates_of
from zerocast.simulator.result import OpRow, in_order
from zerocast.simulator.row_stationary import row_stationary_row
from zerocast.simulator.search import no_fit
from zerocast.workloads.ir import Einsum


class Pricer:
    """Prices einsums on one accelerator, or on designs of one structure (`simulator.rates`). Equal products are mapped
    and priced once.

    A row-stationary array and a GPU have one way to choose a mapping and no tiles to walk, so that objective and
    fidelity make no difference to them; they are priced one design at a time. failed: by design, why it cannot run
    what it was asked to, where there are several; a single one raises.
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
        self.objective = objective
        self.fidelity = fidelity
        self.failed: dict[int, SimulationError] = {}
        self._known: dict[Gemm, _Priced] = {}

    def figures(self, products: Sequence[Gemm], fused: bool = False) -> Figures:
        """Cost of an einsum on each design: the sum over its products. fused: part of the kernel before, without a
        launch of its own."""
        parts = [self._product(product).figures for product in products]
        link, columns = parts[0].link_s, dict(parts[0].columns)
        for part in parts[1:]:
            link = link + part.link_s
            columns = {name: value + part.columns[name] for name, value in columns.items()}
        if not fused:
            columns["latency_s"] = columns["latency_s"] + self.rates.launch_overhead_s
        return Figures(link, parts[0].weight_prologue_s, columns)

    def row(self, op: Einsum, products: Sequence[Gemm], figures: Figures) -> OpRow:
        """Row of an einsum on a single accelerator, from its figures, without its place in the schedule."""
        rows = [self._product(product).row() for product in products]
        row = _merged(rows) if len(rows) > 1 else rows[0]
        launch_s = float(figures.latency_s[0]) - row.latency_s if row.high_s else 0.0
        return replace(row, op=op.name, layer=op.layer, phase=op.phase, kind=op.kind, function=op.source,
                       latency_s=float(figures.latency_s[0]), low_s=row.low_s + launch_s,
                       high_s=row.high_s + launch_s)  # fmt: skip

    def gemm(self, gemm: Gemm) -> OpRow:
        """Row of one product under its best mapping, on a single accelerator."""
        return self._product(gemm).row()

    def mapped(self, products: Sequence[Gemm]) -> tuple[Gemm, ...]:
        """Products with the mappings that they took on the first design; nothing given where they were not mapped."""
        return tuple(self._product(product).mapped or product.free for product in products)

    def prepare(self, products: Sequence[Gemm]) -> None:
        """Price many products at once where the accelerator allows it (GPUs), so that `gemm` only looks them up."""
        if self.accelerator.gpu is not None:
            new = list(dict.fromkeys(product for product in products if product not in self._known))
            rows = gpu_rows([product.computed or product for product in new], self.accelerator)
            for product, row in zip(new, rows, strict=True):
                row = replace(row, macs=product.macs, m=product.m, n=product.n, k=product.k)
                moved = row.dram_read_bytes + row.dram_write_bytes
                self._known[product] = _Whole(row, min(moved / self.accelerator.dram_bytes_per_s, row.latency_s))

    def refusal(self, gemm: Gemm) -> str:
        """Why a GPU runs a product with N:M weights dense; "" where it does not, and on other accelerators."""
        return "" if self.accelerator.gpu is None else refusal(gemm, self.accelerator)

    def _product(self, gemm: Gemm) -> _Priced:
        if gemm not in self._known and self.accelerator.gpu is not None:
            self.prepare([gemm])
        elif gemm not in self._known and "row_stationary" in self.accelerator.compute.dataflows:
            row = row_stationary_row(gemm, self.accelerator)
            moved = row.dram_read_bytes + row.dram_write_bytes
            self._known[gemm] = _Whole(row, moved / self.accelerator.dram_bytes_per_s)
        elif gemm not in self._known:
            product: Product | NestProduct
            if is_nested(self.accelerator):
                product = NestProduct(gemm, self.accelerators, self.objective)
            else:
                product = Product(gemm, self.accelerators, self.rates, self.objective, self.fidelity)
            for design in product.failed:
                error = no_fit(gemm, self.accelerators[design])
                if len(self.accelerators) == 1:
                    raise error
                self.failed.setdefault(int(design), error)
            self._known[gemm] = product
        return self._known[gemm]


@dataclass(frozen=True, slots=True)
class _Whole:
    """A product priced in one piece on a single accelerator, without a weight prologue to hide."""

    whole: OpRow
    link_s: float
    mapped: Gemm | None = None

    def row(self) -> OpRow:
        return self.whole

    @property
    def figures(self) -> Figures:
        columns = {name: np.array([float(getattr(self.whole, name))]) for name in _SUMMED}
        return Figures(np.array([self.link_s]), np.zeros(1), columns)


_Priced = Product | NestProduct | _Whole


_SUMMED = (
    "macs", "effectual_macs", "flops", "cycles", "expected_cycles", "ideal_cycles", "latency_s", "spread_s",
    "low_s", "high_s", "dram_read_bytes", "dram_write_bytes", "dram_input_bytes", "dram_weight_bytes",
    "dram_output_bytes", "buffer_read_bytes", "buffer_write_bytes", "register_bytes", "mac_j", "register_j", "buffer_j",
    "dram_j", "energy_j", "batch", "lost_memory_cycles", "lost_port_cycles",
    *(f"lost_{cause}_cycles" for cause in CAUSES),
)  # fmt: skip


def _merged(rows: list[OpRow]) -> OpRow:
    """Row of several products in turn: sums, and the mapping of the one that takes longest."""
    longest = max(rows, key=lambda row: row.latency_s)
    sums = {column: in_order(getattr(row, column) for row in rows) for column in _SUMMED}
    weighted = sum(row.utilisation * row.latency_s for row in rows) / max(sums["latency_s"], 1e-30)
    return replace(longest, utilisation=weighted, note=f"{len(rows)} products, the longest is shown", **sums)  # type: ignore[arg-type]

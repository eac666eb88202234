"""A product priced on designs: what is asked of it, its columns and its row, and designs that are mapped one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cost import Figures, OpRow
from zerocast.simulator.energy import Energy, register_bits
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.pairs import effectual_macs

CostT = TypeVar("CostT")


class Priced(Protocol):
    """A product priced on designs of one structure. failed: by design, why nothing fits it; its figures mean nothing.
    mapped: the product with the mapping that it took on the first, None where it was not mapped."""

    @property
    def failed(self) -> Mapping[int, SimulationError]: ...

    @property
    def mapped(self) -> Gemm | None: ...

    @property
    def figures(self) -> Figures: ...

    def row(self) -> OpRow:
        """Its row on a single design, without name and schedule."""


def columns(gemm: Gemm, accelerator: Accelerator, macs: Any, energy: Energy, **others: Any) -> dict[str, Any]:
    """Columns of a product by name, numbers or arrays. macs: those executed; others: columns as they are."""
    return {
        "macs": gemm.macs, "batch": gemm.batch, "effectual_macs": effectual_macs(gemm), "flops": 2.0 * macs,
        "register_bytes": macs * register_bits(gemm, accelerator) / 8, "mac_j": energy.mac_j,
        "register_j": energy.register_j, "buffer_j": energy.buffer_j, "dram_j": energy.dram_j,
        "energy_j": energy.total_j,
    } | others  # fmt: skip


def product_row(gemm: Gemm, dataflow: str, sums: Mapping[str, float], **told: Any) -> OpRow:
    """The row of a product, without name and schedule. sums: its columns that add up; told: others."""
    every: dict[str, Any] = {**sums, **told, "macs": gemm.macs, "batch": gemm.batch}
    return OpRow(
        op="", layer="", phase="FF", kind="einsum", function="gemm", resource="array", dataflow=dataflow,
        m=gemm.m, n=gemm.n, k=gemm.k, input_density=gemm.input.pattern.density,
        weight_density=gemm.weight.pattern.density, output_density=gemm.mask.density, **every,
    )  # fmt: skip


class EachDesign(ABC, Generic[CostT]):
    """A product under the mapping that each design takes, found for one after the other.

    costs: by design, None where nothing fits it; failed: why, its figures mean nothing. `SimulationError` where nothing
    fits any.
    """

    def __init__(self, gemm: Gemm, accelerators: Sequence[Accelerator], objective: Objective = "latency") -> None:
        self.gemm, self.accelerators = gemm.free, accelerators
        self.failed: dict[int, SimulationError] = {}
        self.costs: list[CostT | None] = []
        for design, accelerator in enumerate(accelerators):
            try:
                self.costs.append(self._best(gemm, accelerator, objective))
            except SimulationError as error:
                self.failed[design] = error
                self.costs.append(None)
        if len(self.failed) == len(self.costs):
            raise self.failed[0]

    @staticmethod
    @abstractmethod
    def _best(gemm: Gemm, accelerator: Accelerator, objective: Objective) -> CostT:
        """The cost of the mapping to use on one design; `SimulationError` where none fits."""

    @abstractmethod
    def _columns(self, accelerator: Accelerator, cost: CostT) -> dict[str, float]:
        """Columns that add up, by name."""

    @property
    def cost(self) -> CostT:
        """The cost on the first design that something fits."""
        return next(cost for cost in self.costs if cost is not None)

    @cached_property
    def figures(self) -> Figures:
        """What the product costs on each design."""
        sums = [self._columns(accelerator, cost) if cost is not None else {}
                for accelerator, cost in zip(self.accelerators, self.costs, strict=True)]  # fmt: skip
        every = {name: np.array([each.get(name, 0.0) for each in sums]) for name in max(sums, key=len)}
        moved = every["dram_read_bytes"] + every["dram_write_bytes"]
        link_s = moved / np.array([accelerator.dram_bytes_per_s for accelerator in self.accelerators])
        return Figures(np.minimum(link_s, every["latency_s"]), np.zeros(len(sums)), every)

    @property
    def sums(self) -> dict[str, float]:
        """Columns of a single design."""
        return {name: float(values[0]) for name, values in self.figures.columns.items()}

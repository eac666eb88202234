"""A matrix product on a tiled array: mapping search, walk, and what it costs on each of many designs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.simulator.cost import Array, Figures, OpRow
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import skips
from zerocast.simulator.objective import Objective
from zerocast.simulator.priced import columns, product_row
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import array_cost, gemm_cost
from zerocast.simulator.products.given import given_of
from zerocast.simulator.products.mapping import Mapping
from zerocast.simulator.products.search import Search, no_fit
from zerocast.simulator.products.traffic import OPERANDS, loaded_bytes, tile_bytes
from zerocast.simulator.products.walks.tiles import Stream, Walk, tile_stream
from zerocast.simulator.rates import Rates


class Product:
    """A product under the mapping that each design takes.

    accelerators: designs of one structure, with their rates as arrays. failed: by design, why no mapping fits it; its
    figures mean nothing.
    """

    def __init__(
        self, gemm: Gemm, accelerators: Sequence[Accelerator], rates: Rates, objective: Objective, fidelity: str
    ) -> None:
        self.gemm, self.accelerator, self.rates = gemm.free, accelerators[0], rates
        self._objective, self._masks = objective, fidelity == "tile"
        self._search = Search(gemm, self.accelerator, rates, objective)
        picks = self._search.best()
        unfit = np.flatnonzero(picks.tile < 0).tolist()
        self.failed = {design: no_fit(gemm, accelerators[design]) for design in unfit}
        self._picks = replace(picks, tile=np.maximum(picks.tile, 0))
        self._cost = self._search.cost(self._picks, np.arange(len(picks.tile)))
        self._walks = self._walked() if self._masks else None

    def _walked(self) -> list[Walk]:
        """The walk of each design's mapping with the nonzeros of each tile."""
        streams: dict[str, Stream] = {}
        walks = []
        for design in range(len(self._picks.tile)):
            mapping = self._search.mapping(self._picks, design)
            if (key := repr(mapping)) not in streams:
                streams[key] = tile_stream(self.gemm, self.accelerator, mapping)
            walks.append(
                streams[key].walk(float(self.rates.clock_hz[design]), float(self.rates.dram_bytes_per_s[design]))
            )
        return walks

    @cached_property
    def figures(self) -> Figures:
        """What the product costs on each design."""
        gemm, cost = self.gemm, self._cost
        latency, link, cycles, read, write = (cost.latency_s, cost.link_s, cost.cycles, cost.read_bytes,
                                              cost.write_bytes)  # fmt: skip
        if self._walks is not None:
            latency, link, cycles, read, write = (
                np.array([getattr(walk, name) for walk in self._walks])
                for name in ("latency_s", "link_s", "cycles", "read_bytes", "write_bytes")
            )
        part, energy = cost.part, cost.energy
        every = columns(
            gemm, self.accelerator, part.macs, energy, cycles=np.maximum(cycles, part.port_cycles),
            ideal_cycles=self._ideal_cycles(), latency_s=latency, dram_read_bytes=read, dram_write_bytes=write,
            buffer_read_bytes=part.ports.input_read + part.ports.weight_read + part.ports.output_read + write,
            buffer_write_bytes=part.ports.output_write + read,
        )  # fmt: skip
        full = {name: np.broadcast_to(np.asarray(value, dtype=float), latency.shape) for name, value in every.items()}
        prologue = part.tile.weight / self.rates.dram_bytes_per_s
        return Figures(link, np.broadcast_to(prologue, latency.shape), full)

    def _ideal_cycles(self) -> Array:
        """Cycles of a full array with every skippable zero skipped."""
        names = [self._search.dataflow(int(tile)) for tile in self._picks.tile]
        found, share = np.zeros(len(names)), self._cost.part.steps_share
        for name in set(names):
            cycles = law_of(name).ideal_cycles(self.gemm, self.accelerator, share, self._masks)
            found = np.where([other == name for other in names], cycles, found)
        return found

    @cached_property
    def mapping(self) -> Mapping:
        """The mapping that the first design takes."""
        return self._search.mapping(self._picks)

    @cached_property
    def mapped(self) -> Gemm:
        """The product with the mapping that the first design takes."""
        return replace(self.gemm, given=given_of(self.mapping))

    def row(self) -> OpRow:
        """The row of a product on a single design, without name and schedule."""
        return self._row

    @cached_property
    def _row(self) -> OpRow:
        gemm, accelerator, figures = self.gemm, self.accelerator, self.figures
        sums = {name: float(value[0]) for name, value in figures.columns.items()}
        mapping = self.mapping
        latency, cycles, ideal = sums["latency_s"], sums["cycles"], sums["ideal_cycles"]
        clock = accelerator.technology.clock_hz
        promised = float(self._cost.latency_s[0])
        wide = promised
        if _is_random(gemm):
            part = array_cost(gemm, accelerator, mapping, spread=1.0)
            wide = float(gemm_cost(gemm, accelerator, mapping, part).latency_s)
        more = {"lost_memory_cycles": max(latency * clock - cycles, 0.0)}
        law = law_of(mapping.dataflow)
        if not law.by_tile:
            array = float(array_cost(gemm, accelerator, mapping, masks=self._masks).array_cycles)
            causes = law.losses(gemm, accelerator, array, ideal, self._masks)
            more |= {f"lost_{cause}_cycles": cycles_lost for cause, cycles_lost in causes.items()}
            more["lost_port_cycles"] = max(cycles - array, 0.0)
        more |= {f"dram_{side}_bytes": size for side, size in operand_bytes(gemm, accelerator, mapping).items()}
        port_cycles = float(np.broadcast_to(self._cost.part.port_cycles, 1)[0])
        return product_row(
            gemm, mapping.dataflow, sums, expected_cycles=float(np.ravel(self._cost.cycles)[0]),
            spread_s=wide - promised, utilisation=min(ideal / max(latency * clock, 1e-30), 1.0),
            bound=_bound(port_cycles, float(figures.link_s[0]), cycles, ideal, accelerator),
            skipped=skips(gemm, accelerator, mapping.dataflow), order=str(mapping.order),
            tile_m=int(mapping.m), tile_n=int(mapping.n), tile_k=int(mapping.k),
            output_computed=law.output_computed(gemm, accelerator), **more,
        )  # fmt: skip


def operand_bytes(gemm: Gemm, accelerator: Accelerator, mapping: Mapping) -> dict[Operand, float]:
    """Off-chip bytes by operand under one mapping."""
    tile = tile_bytes(gemm, accelerator, mapping)
    moved: dict[Operand, float] = {
        side: float(loaded_bytes(gemm, mapping, tile, side, mapping.holds(side))) for side in OPERANDS
    }
    outputs = gemm.batch * float(mapping.trips_m * mapping.trips_n * tile.output)
    moved["output"] += moved["output"] + outputs
    return moved


def _is_random(gemm: Gemm) -> bool:
    return any(not side.pattern.is_dense and side.structured is None for side in (gemm.input, gemm.weight))


def _bound(port_cycles: float, link_s: float, cycles: float, ideal: float, accelerator: Accelerator) -> str:
    """What sets the latency of a product."""
    if link_s > cycles / accelerator.technology.clock_hz:
        return "dram"
    if cycles > 0 and port_cycles >= cycles * (1 - 1e-9):
        return "port"
    return "fill" if ideal < 0.5 * cycles else "compute"

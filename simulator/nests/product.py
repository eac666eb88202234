"""A matrix product on several depths of memories: its best mapping, and what it costs on each of some designs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from zerocast.accelerators.schema import Accelerator, Operand
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel, Spread
from zerocast.simulator.cost import OpRow
from zerocast.simulator.laws import law_of
from zerocast.simulator.laws.array import rate_of, reduction_steps, skips
from zerocast.simulator.laws.outputs import asked_share
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.search import NestSearch
from zerocast.simulator.objective import Objective
from zerocast.simulator.priced import EachDesign, columns, product_row
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import ORDERS
from zerocast.simulator.products.traffic import OPERANDS


class NestProduct(EachDesign[NestCost]):
    """A product under the nested mapping that each design takes. There are no tiles to walk: edges are in the closed
    form."""

    @staticmethod
    def _best(gemm: Gemm, accelerator: Accelerator, objective: Objective) -> NestCost:
        return NestSearch(gemm, accelerator, objective).best()

    @property
    def mapped(self) -> Gemm:
        """The product with the mapping that the first design takes."""
        cost = self.cost
        given, last = [], len(cost.counts.levels) - 1
        for place, level in enumerate(cost.counts.levels):
            spread = {side: int(np.ravel(count)[0]) for side, count in level.spread.items()}
            if place == last and not spread:
                continue
            tile = {} if place == last else {side: int(np.ravel(getattr(level, side))[0]) for side in "mnk"}
            order = None if place == last else ORDERS[int(np.ravel(level.order)[0])]
            given.append(GivenLevel(order=order, tile=Extents(**tile), spread=Spread(**spread)))  # type: ignore[arg-type]
        return replace(self.gemm, given=Given(dataflow=cost.dataflow, levels=tuple(given)))

    def row(self) -> OpRow:
        """The row of a product on a single design, without name and schedule."""
        cost, sums, accelerator = self.cost, self.sums, self.accelerators[0]
        clock, top = accelerator.technology.clock_hz, cost.counts.levels[0]
        spent, memories = sums["latency_s"] * clock, {}
        for name, traffic in cost.traffic.items():
            read, write = (_total(by) for by in (traffic.read, traffic.write))
            joules = (read + write) * float(cost.rates.j_per_byte[name])
            memories[name] = {"read_bytes": read, "write_bytes": write, "energy_j": joules}
        moved = cost.traffic[accelerator.dram.name]
        dram = {f"dram_{side}_bytes": sum(_one(by[side]) for by in (moved.read, moved.write) if side in by)
                for side in OPERANDS}  # fmt: skip
        return product_row(
            self.gemm, cost.dataflow, sums | dram, expected_cycles=sums["cycles"],
            utilisation=min(sums["ideal_cycles"] / max(spent, 1e-30), 1.0),
            bound=_bound(cost, sums, spent, float(self.figures.link_s[0]) * clock),
            skipped=skips(self.gemm, accelerator, cost.dataflow), order=ORDERS[int(np.ravel(top.order)[0])],
            output_computed=law_of(cost.dataflow).output_computed(self.gemm, accelerator),
            tile_m=int(_one(top.m)), tile_n=int(_one(top.n)), tile_k=int(_one(top.k)),
            memories=json.dumps(memories), lost_memory_cycles=max(spent - sums["cycles"], 0.0),
        )  # fmt: skip

    def _columns(self, accelerator: Accelerator, cost: NestCost) -> dict[str, float]:
        gemm, dram, compute = self.gemm, cost.traffic[accelerator.dram.name], accelerator.compute
        chip = [traffic for name, traffic in cost.traffic.items() if name != accelerator.dram.name]
        share = min(float(reduction_steps(gemm, accelerator, cost.dataflow, gemm.k)) / gemm.k, 1.0)
        peak = compute.multipliers * accelerator.copies(accelerator.depths + 1) * rate_of(accelerator, gemm.types)
        numbers = columns(
            gemm, accelerator, cost.executed_macs, cost.energy, cycles=cost.cycles,
            ideal_cycles=gemm.macs * share * asked_share(gemm, accelerator) / peak,
            latency_s=cost.latency_s, dram_read_bytes=_total(dram.read),
            dram_write_bytes=_total(dram.write), buffer_read_bytes=_total(*(each.read for each in chip)),
            buffer_write_bytes=_total(*(each.write for each in chip)),
        )  # fmt: skip
        return {name: _one(value) for name, value in numbers.items()}


def _one(value: ArrayLike) -> float:
    return float(np.ravel(value)[0])


def _total(*parts: Mapping[Operand, ArrayLike]) -> float:
    """Bytes of all operands."""
    return sum(_one(size) for part in parts for size in part.values())


def _bound(cost: NestCost, sums: dict[str, float], spent: float, link: float) -> str:
    """What sets the latency of a product; `port` for a link between depths, too."""
    if link > sums["cycles"]:
        return "dram"
    if _one(cost.port_cycles) >= sums["cycles"] * (1 - 1e-9) or spent > link + 2 * sums["cycles"]:
        return "port"
    return "fill" if sums["ideal_cycles"] < 0.5 * sums["cycles"] else "compute"

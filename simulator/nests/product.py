"""A matrix product on several depths of memories: its best mapping, and what it costs on each of some designs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel, Spread
from zerocast.simulator.cost import Figures, OpRow
from zerocast.simulator.energy import register_bits
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.array import rate_of, reduction_steps, skips
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.search import NestSearch
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import Objective
from zerocast.simulator.products.mapping import ORDERS
from zerocast.simulator.products.pairs import effectual_macs


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


class NestProduct:
    """A product under the nested mapping that each design takes. failed: by design, why no mapping fits it; its
    figures mean nothing. There are no tiles to walk: edges are in the closed form."""

    def __init__(self, gemm: Gemm, accelerators: Sequence[Accelerator], objective: Objective) -> None:
        self.gemm, self.accelerators = gemm.free, accelerators
        costs: list[NestCost | None] = []
        self.failed: dict[int, SimulationError] = {}
        for design, accelerator in enumerate(accelerators):
            try:
                costs.append(NestSearch(gemm, accelerator, objective).best())
            except SimulationError as error:
                self.failed[design] = error
                costs.append(None)
        if len(self.failed) == len(costs):
            raise self.failed[0]
        self._columns = [_columns(self.gemm, cost) if cost is not None else None for cost in costs]
        self._cost = next((cost for cost in costs if cost is not None), None)

    @cached_property
    def figures(self) -> Figures:
        """What the product costs on each design."""
        some = next((each for each in self._columns if each is not None), None)
        names = tuple(some) if some is not None else ()
        columns = {
            name: np.array([each[name] if each is not None else 0.0 for each in self._columns]) for name in names
        }
        rates = np.array([accelerator.dram_bytes_per_s for accelerator in self.accelerators])
        link = (columns["dram_read_bytes"] + columns["dram_write_bytes"]) / rates
        return Figures(link, np.zeros(len(rates)), columns)

    @property
    def mapped(self) -> Gemm:
        """The product with the mapping that the first design takes."""
        cost = self._cost
        assert cost is not None
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
        cost, sums, gemm, accelerator = self._cost, self._columns[0], self.gemm, self.accelerators[0]
        assert cost is not None and sums is not None
        clock, top = accelerator.technology.clock_hz, cost.counts.levels[0]
        spent, memories = sums["latency_s"] * clock, {}
        for name, traffic in cost.traffic.items():
            read, write = (_one(sum(by.values(), np.asarray(0.0))) for by in (traffic.read, traffic.write))
            joules = (read + write) * float(cost.rates.j_per_byte[name])
            memories[name] = {"read_bytes": read, "write_bytes": write, "energy_j": joules}
        moved = cost.traffic[accelerator.dram.name]
        dram = {side: _one(moved.read.get(side, np.asarray(0.0))) + _one(moved.write.get(side, np.asarray(0.0)))
                for side in ("input", "weight", "output")}  # fmt: skip
        row = OpRow(
            op="", layer="", phase="FF", kind="einsum", function="gemm", resource="array",
            expected_cycles=sums["cycles"], utilisation=min(sums["ideal_cycles"] / max(spent, 1e-30), 1.0),
            bound=_bound(cost, sums, spent, float(self.figures.link_s[0]) * clock),
            skipped=skips(gemm, accelerator, cost.dataflow), dataflow=cost.dataflow,
            order=ORDERS[int(np.ravel(top.order)[0])], tile_m=int(_one(top.m)), tile_n=int(_one(top.n)),
            tile_k=int(_one(top.k)), m=gemm.m, n=gemm.n, k=gemm.k, batch=gemm.batch,
            input_density=gemm.input.pattern.density, weight_density=gemm.weight.pattern.density,
            dram_input_bytes=dram["input"], dram_weight_bytes=dram["weight"], dram_output_bytes=dram["output"],
            memories=json.dumps(memories), lost_memory_cycles=max(spent - sums["cycles"], 0.0),
        )  # fmt: skip
        return replace(row, **sums | {"macs": gemm.macs})  # type: ignore[arg-type]


def _one(value: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(np.ravel(value)[0])


def _columns(gemm: Gemm, cost: NestCost) -> dict[str, float]:
    """Numbers of `OpRow` by name."""
    accelerator, energy = cost.accelerator, cost.energy
    dram, compute = cost.traffic[accelerator.dram.name], accelerator.compute
    chip = [traffic for name, traffic in cost.traffic.items() if name != accelerator.dram.name]
    share = min(float(reduction_steps(gemm, accelerator, cost.dataflow, gemm.k)) / gemm.k, 1.0)
    peak = compute.multipliers * accelerator.copies(accelerator.depths + 1) * rate_of(accelerator, gemm.types)
    macs = cost.executed_macs

    def total(*parts: dict) -> float:  # type: ignore[type-arg]
        return sum(_one(size) for part in parts for size in part.values())

    return {
        "macs": float(gemm.macs), "effectual_macs": float(effectual_macs(gemm)), "flops": 2.0 * macs,
        "cycles": _one(cost.busy_cycles), "ideal_cycles": gemm.macs * share / peak, "latency_s": _one(cost.latency_s),
        "dram_read_bytes": total(dram.read), "dram_write_bytes": total(dram.write),
        "buffer_read_bytes": total(*(each.read for each in chip)),
        "buffer_write_bytes": total(*(each.write for each in chip)),
        "register_bytes": macs * register_bits(gemm, accelerator) / 8,
        **{name: _one(getattr(energy, name)) for name in ("mac_j", "register_j", "buffer_j", "dram_j")},
        "energy_j": _one(energy.total_j),
    }  # fmt: skip


def _bound(cost: NestCost, sums: dict[str, float], spent: float, link: float) -> str:
    """What sets the latency of a product; `port` for a link between depths, too."""
    if link > sums["cycles"]:
        return "dram"
    if _one(cost.port_cycles) >= sums["cycles"] * (1 - 1e-9) or spent > link + 2 * sums["cycles"]:
        return "port"
    return "fill" if sums["ideal_cycles"] < 0.5 * sums["cycles"] else "compute"

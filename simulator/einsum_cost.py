"""From one einsum to its row: lower to products, choose mappings, price, and say what bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accelerators.schema import Accelerator
from simulator.energy import executed_macs, register_bits
from simulator.engine import engine_cycles
from simulator.engine.losses import CAUSES
from simulator.gemm import Gemm, gemms
from simulator.gemm_cost import SLACK, GemmCost, Objective, best_mapping, contenders, gemm_cost
from simulator.gpu import gpu_rows, refusal
from simulator.pipeline import pipeline_time
from simulator.result import OpRow
from simulator.row_stationary import row_stationary_row
from simulator.tiles import MOST_TILES, Walk, tiles_of, walk_tiles
from simulator.traffic import TileBytes, changes, ends, tile_bytes
from workloads.ir import Einsum, Workload

SURPRISE = 0.005
"""How much longer a walk may be than the closed form promised before other mappings are walked."""

RIVALS = 16
"""Mappings that are then walked."""


@dataclass(frozen=True, slots=True)
class EinsumCost:
    """Row of an einsum (without schedule times), and what the schedule needs to know of it."""

    row: OpRow
    link_s: float
    weight_prologue_s: float


class Pricer:
    """Prices einsums on one accelerator. Equal products are mapped and priced once.

    A row-stationary array and a GPU have one way to choose a mapping and no tiles to walk, so that objective and
    fidelity make no difference to them.
    """

    def __init__(self, accelerator: Accelerator, objective: Objective = "latency", fidelity: str = "analytic") -> None:
        self.accelerator = accelerator
        self.objective = objective
        self.fidelity = fidelity
        self._known: dict[Gemm, EinsumCost] = {}

    def einsum(
        self, workload: Workload, op: Einsum, on_chip: frozenset[str] = frozenset(), fused: bool = False
    ) -> EinsumCost:
        """Cost of an einsum: the sum over its products.

        on_chip: an output among these is not stored, an input not fetched (GPUs alone). fused: part of the kernel
        before, without a launch of its own.
        """
        parts = []
        for gemm in gemms(workload, op):
            if op.outputs[0] in on_chip:
                gemm = replace(gemm, output=replace(gemm.output, bits=0))
            if op.inputs[0] in on_chip:
                gemm = replace(gemm, input=replace(gemm.input, unique=0))
            parts.append(gemm)
        costs = [self._product(part) for part in parts]
        row = _merge([cost.row for cost in costs]) if len(costs) > 1 else costs[0].row
        overhead = 0.0 if fused else self.accelerator.host.launch_overhead_s
        row = replace(row, op=op.name, layer=op.layer, phase=op.phase, kind=op.kind, function=op.source,
                      latency_s=row.latency_s + overhead)  # fmt: skip
        return EinsumCost(row, sum(cost.link_s for cost in costs), costs[0].weight_prologue_s)

    def gemm(self, gemm: Gemm) -> OpRow:
        """Row of one product under its best mapping."""
        return self._product(gemm).row

    def prepare(self, products: Sequence[Gemm]) -> None:
        """Price many products at once where the accelerator allows it (GPUs), so that `gemm` only looks them up."""
        if self.accelerator.gpu is not None:
            new = list(dict.fromkeys(product for product in products if product not in self._known))
            for product, row in zip(new, gpu_rows(new, self.accelerator), strict=True):
                moved = row.dram_read_bytes + row.dram_write_bytes
                self._known[product] = EinsumCost(row, min(moved / self.accelerator.dram_bytes_per_s, row.latency_s), 0)

    def refusal(self, gemm: Gemm) -> str:
        """Why a GPU runs a product with N:M weights dense; "" where it does not, and on other accelerators."""
        return "" if self.accelerator.gpu is None else refusal(gemm, self.accelerator)

    def _product(self, gemm: Gemm) -> EinsumCost:
        if gemm not in self._known and self.accelerator.gpu is not None:
            self.prepare([gemm])
        elif gemm not in self._known and "row_stationary" in self.accelerator.compute.dataflows:
            row = row_stationary_row(gemm, self.accelerator)
            moved = row.dram_read_bytes + row.dram_write_bytes
            self._known[gemm] = EinsumCost(row, moved / self.accelerator.dram_bytes_per_s, 0.0)
        elif gemm not in self._known:
            cost, walk = self._settled(gemm)
            prologue_s = float(cost.time.weight_prologue_s)
            self._known[gemm] = EinsumCost(self._row(gemm, cost, walk), walk.link_s, prologue_s)
        return self._known[gemm]

    def _settled(self, gemm: Gemm) -> tuple[GemmCost, Walk]:
        """The mapping to use, and its walk. Where tiles of several sizes make the walk longer than the closed form
        promised, the next best mappings are walked too and the shortest wins."""
        cost = best_mapping(gemm, self.accelerator, self.objective)
        walk = self._walk(gemm, cost)
        if self.objective in ("latency", "edp") and walk.latency_s > (1 + SURPRISE) * float(cost.time.latency_s):
            rivals = contenders(gemm, self.accelerator, self.objective, RIVALS)
            walked = [(rival, self._walk(gemm, rival)) for rival in rivals]
            cost, walk = _frugal(walked, self.objective)
        if self.fidelity == "tile":
            walk = walk_tiles(gemm, self.accelerator, cost.mapping)
        return cost, walk

    def _walk(self, gemm: Gemm, cost: GemmCost) -> Walk:
        """The walk with expectations; the closed form where there are too many tiles to walk."""
        if tiles_of(cost.mapping) <= MOST_TILES:
            return walk_tiles(gemm, self.accelerator, cost.mapping, masks=False)
        time = cost.time
        return Walk(*map(float, (time.latency_s, time.link_s, cost.cycles, time.read_bytes, time.write_bytes)))

    def _row(self, gemm: Gemm, cost: GemmCost, walk: Walk) -> OpRow:
        accelerator = self.accelerator
        latency, link, cycles = walk.latency_s, walk.link_s, max(walk.cycles, float(cost.port_cycles))
        read, write = walk.read_bytes, walk.write_bytes
        wide = gemm_cost(gemm, accelerator, cost.mapping, spread=1.0) if _is_random(gemm) else cost
        compute = accelerator.compute
        rate = compute.macs_per_pe * compute.rates[gemm.dtype]
        share = min(float(cost.steps_share), 1.0)
        ideal = gemm.macs * share / (compute.rows * compute.cols * rate)
        lost = {"lost_memory_cycles": max(latency * accelerator.technology.clock_hz - cycles, 0.0)}
        if cost.mapping.dataflow == "zero_skipping":
            engine = engine_cycles(gemm, accelerator, self.fidelity == "tile")
            ideal = engine.ideal
            lost |= {f"lost_{cause}_cycles": cycles_lost for cause, cycles_lost in engine.losses.items()}
            lost["lost_port_cycles"] = max(cycles - engine.cycles, 0.0)
        macs = float(executed_macs(gemm, accelerator, share, cost.skipped))
        operands = operand_bytes(gemm, accelerator, cost)
        ports = cost.ports
        energy = cost.energy
        row = OpRow(
            op="", layer="", phase="FF", kind="einsum", function="gemm", resource="array",
            macs=gemm.macs, effectual_macs=gemm.effectual_macs, flops=2.0 * macs, cycles=cycles, ideal_cycles=ideal,
            latency_s=latency, spread_s=float(wide.time.latency_s - cost.time.latency_s),
            utilisation=min(ideal / max(latency * accelerator.technology.clock_hz, 1e-30), 1.0),
            bound=_bound(cost, link, cycles, ideal, accelerator), skipped=cost.skipped,
            dataflow=cost.mapping.dataflow, order=cost.mapping.order,
            tile_m=int(cost.mapping.m), tile_n=int(cost.mapping.n), tile_k=int(cost.mapping.k),
            m=gemm.m, n=gemm.n, k=gemm.k, batch=gemm.batch,
            input_density=gemm.input.pattern.density, weight_density=gemm.weight.pattern.density,
            dram_read_bytes=read, dram_write_bytes=write, dram_input_bytes=operands["input"],
            dram_weight_bytes=operands["weight"], dram_output_bytes=operands["output"],
            buffer_read_bytes=float(ports.input_read + ports.weight_read + ports.output_read) + write,
            buffer_write_bytes=float(ports.output_write) + read,
            register_bytes=macs * register_bits(gemm, accelerator) / 8,
            mac_j=float(energy.mac_j), register_j=float(energy.register_j), buffer_j=float(energy.buffer_j),
            dram_j=float(energy.dram_j), energy_j=float(energy.total_j),
        )  # fmt: skip
        return replace(row, **lost)  # type: ignore[arg-type]


def _frugal(walked: list[tuple[GemmCost, Walk]], objective: Objective) -> tuple[GemmCost, Walk]:
    """Of mappings that were walked, the one of least energy among those within `SLACK` of the least objective."""

    def goal(cost: GemmCost, walk: Walk) -> float:
        return walk.latency_s * (float(cost.energy.total_j) if objective == "edp" else 1.0)

    least = min(goal(*pair) for pair in walked)
    near = [pair for pair in walked if goal(*pair) <= least * (1 + SLACK[objective])]
    return min(near, key=lambda pair: (float(pair[0].energy.total_j), goal(*pair)))


def operand_bytes(gemm: Gemm, accelerator: Accelerator, cost: GemmCost) -> dict[str, float]:
    """Off-chip bytes by operand under one mapping: the traffic with the other operands' tiles taken as empty."""
    tile = tile_bytes(gemm, accelerator, cost.mapping)
    only = np.eye(3)
    alone = TileBytes(only[0] * tile.input, only[1] * tile.weight, only[2] * tile.output, only[2] * tile.partial)
    time = pipeline_time(changes(gemm, cost.mapping, alone), ends(gemm, cost.mapping, alone), alone, 0.0, 1.0)
    moved = time.read_bytes + time.write_bytes
    return dict(zip(("input", "weight", "output"), map(float, moved), strict=True))


def _is_random(gemm: Gemm) -> bool:
    return any(not side.pattern.is_dense and side.structured is None for side in (gemm.input, gemm.weight))


def _bound(cost: GemmCost, link_s: float, cycles: float, ideal: float, accelerator: Accelerator) -> str:
    """What sets the latency of a product."""
    if link_s > cycles / accelerator.technology.clock_hz:
        return "dram"
    if cycles > 0 and float(cost.port_cycles) >= cycles * (1 - 1e-9):
        return "port"
    return "fill" if ideal < 0.5 * cycles else "compute"


_SUMMED = (
    "macs", "effectual_macs", "flops", "cycles", "ideal_cycles", "latency_s", "spread_s", "dram_read_bytes",
    "dram_write_bytes", "dram_input_bytes", "dram_weight_bytes", "dram_output_bytes", "buffer_read_bytes",
    "buffer_write_bytes", "register_bytes", "mac_j", "register_j", "buffer_j", "dram_j", "energy_j", "batch",
    "lost_memory_cycles", "lost_port_cycles", *(f"lost_{cause}_cycles" for cause in CAUSES),
)  # fmt: skip


def _merge(rows: list[OpRow]) -> OpRow:
    """Row of several products in turn: sums, and the mapping of the one that takes longest."""
    longest = max(rows, key=lambda row: row.latency_s)
    sums = {column: sum(getattr(row, column) for row in rows) for column in _SUMMED}
    weighted = sum(row.utilisation * row.latency_s for row in rows) / max(sums["latency_s"], 1e-30)
    return replace(longest, utilisation=weighted, note=f"{len(rows)} products, the longest is shown", **sums)

"""Counts of nested mappings against the interpreter."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import yaml
from nest_interpreter import Interpreter, Loops

from zerocast.accelerators import dump, load, parse
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.levels import Tiling
from zerocast.simulator.products.gemm import plain_gemm
from zerocast.simulator.products.mapping import ORDERS
from zerocast.simulator.products.traffic import OPERANDS
from zerocast.simulator.rates import rates_of


def machine(depths: list[list[dict[str, Any]]], **dram: Any) -> Accelerator:
    """One multiplier in each copy behind some depths of memories of bytes, with sums as wide as operands."""
    description = yaml.safe_load(dump(load("systolic-8x8")))
    first = description["memories"][0] | dram
    memories = [{key: value for key, value in first.items() if value is not None}]
    for depth, beside in enumerate(depths, 1):
        for number, memory in enumerate(beside):
            plain = {"name": f"l{depth}_{number}", "depth": depth, "capacity_bytes": 1e9, "j_per_byte": 1e-12}
            memories.append(plain | memory)
    compute = {"rows": 1, "cols": 1, "rates": {"int8": 1.0}, "accumulate_bits": 8, "dataflows": ["unrolled"],
               "unroll": {"in_channels": 1}}  # fmt: skip
    return parse(description | {"memories": memories, "compute": compute}, "mine")


def random_machine(rng: random.Random) -> Accelerator:
    depths: list[list[dict[str, Any]]] = []
    count = rng.choice([1, 2, 2, 3])
    for depth in range(count):
        held = [side for side in OPERANDS if rng.random() < 0.7 or (depth == count - 1 and all(
            side not in memory["holds"] for beside in depths for memory in beside))]  # fmt: skip
        rng.shuffle(held)
        cut = rng.randint(0, len(held))
        beside = [{"holds": part} for part in (held[:cut], held[cut:]) if part] or [{"holds": [rng.choice(OPERANDS)]}]
        if rng.random() < 0.6:
            beside[0]["fanout"] = fanout(rng)
        depths.append(beside)
    for side in OPERANDS:
        if not any(side in memory["holds"] for beside in depths for memory in beside):
            depths[0][0]["holds"] = [*depths[0][0]["holds"], side]
    return machine(depths, **({"fanout": fanout(rng)} if rng.random() < 0.4 else {}))


def fanout(rng: random.Random) -> dict[str, Any]:
    sides = rng.sample(["groups", "m", "n", "k"], rng.randint(1, 4))
    return {"count": rng.choice([2, 4, 6]), "over": sides, "multicast": rng.random() < 0.7}


def random_levels(rng: random.Random, accelerator: Accelerator, sizes: dict[str, int]) -> list[Loops]:
    levels, outer = [], dict(sizes)
    for depth in range(1, accelerator.depths + 2):
        fan, spread = accelerator.fanout_at(depth - 1), {}
        left = fan.count if fan else 1
        for side in fan.over if fan else ():
            spread["g" if side == "groups" else side] = rng.choice([each for each in (1, 2, 3, 4) if left % each == 0])
            left //= spread["g" if side == "groups" else side]
        if depth > accelerator.depths:
            tile = {side: -(-outer[side] // spread.get(side, 1)) for side in "mnk"}
        else:
            tile = {side: rng.choice([outer[side], rng.randint(1, outer[side])]) for side in "mnk"}
        levels.append(Loops(tile, rng.choice(ORDERS), spread))
        outer = tile
    return levels


def tilings(levels: list[Loops]) -> tuple[Tiling, ...]:
    def one(value: float) -> Any:
        return np.array([float(value)])

    return tuple(
        Tiling(*(one(level.tile[side]) for side in "mnk"), np.array([ORDERS.index(level.order)]),
               {"groups" if side == "g" else side: one(count) for side, count in level.spread.items()})
        for level in levels
    )  # fmt: skip


Counted = dict[tuple[Any, ...], float]
"""Bytes read from and written to each memory by operand, steps of the loops by depth, cycles of the array."""


def counted_and_executed(seed: int) -> tuple[Counted, Counted]:
    """Counts of a random nest: in closed form, and by executing it."""
    rng = random.Random(seed)
    accelerator = random_machine(rng)
    sizes, batch = {side: rng.randint(1, 9) for side in "mnk"}, rng.choice([1, 1, 2, 5])
    levels = random_levels(rng, accelerator, sizes)
    gemm = replace(plain_gemm(sizes["m"], sizes["n"], sizes["k"], "int8", 8), batch=batch)
    cost = NestCost(gemm, accelerator, "unrolled", tilings(levels), rates_of([accelerator]).at(0))
    ways = {side: [0, *(memory.depth for memory in accelerator.buffers if side in memory.holds)] for side in OPERANDS}
    multicast = {depth: fan.multicast for depth in range(accelerator.depths + 1)
                 if (fan := accelerator.fanout_at(depth)) is not None}  # fmt: skip
    truth = Interpreter(sizes, batch, levels, ways, multicast)
    counted: Counted = {("cycles",): float(np.ravel(cost.array_cycles)[0])}
    executed: Counted = {("cycles",): truth.cycles()}
    for memory in accelerator.memories:
        depth, traffic = 0 if memory == accelerator.dram else memory.depth, cost.traffic[memory.name]
        for side in memory.holds:
            for name, found in (("read", traffic.read), ("write", traffic.write)):
                counted[name, memory.name, side] = float(np.sum(found.get(side, 0.0)))
                executed[name, memory.name, side] = getattr(truth, name)[depth, side]
    for depth in range(1, accelerator.depths + 1):
        counted["steps", depth] = float(np.ravel(cost.counts.steps(depth))[0])
        executed["steps", depth] = truth.steps(depth)
    return counted, executed


@pytest.mark.parametrize("start", [pytest.param(at, marks=[pytest.mark.slow] * (at >= 60)) for at in range(0, 200, 20)])
def test_counts_are_those_of_the_executed_nest(start: int) -> None:
    """200 nests in all; the first 60 by default."""
    for seed in range(start, start + 20):
        counted, executed = counted_and_executed(seed)
        assert counted == pytest.approx(executed), seed


@pytest.mark.parametrize("seed", [2465, 2648, 2896])
def test_copies_that_share_a_reduction_hand_their_sums_out_each(seed: int) -> None:
    """Two depths hold sums of outputs whose reduction copies share: each copy's inner memory writes its own."""
    counted, executed = counted_and_executed(seed)
    assert counted == pytest.approx(executed)

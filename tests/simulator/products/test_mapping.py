"""The choice of mapping against brute force over every tile of whole units, every loop order, every dataflow."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from loop_nest import interpret
from problems import PATTERNS, kept, small_accelerator

from zerocast.accelerators import Accelerator, load, parse
from zerocast.simulator import SimulationError, best_mapping, gemm_cost, plain_gemm
from zerocast.simulator.laws import law_of
from zerocast.simulator.objective import SLACK, Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.mapping import ORDERS, Mapping, mapping_of, tile_extents
from zerocast.workloads.patterns import DENSE, NM

OBJECTIVES: tuple[Objective, ...] = ("latency", "energy", "edp", "cycles")


def cramped(rng: random.Random, base: str) -> Accelerator:
    """A small array whose buffers hold a few tiles only."""
    description: dict[str, Any] = small_accelerator(rng, base).model_dump(mode="json", exclude_unset=True)
    for memory in description["memories"][1:]:
        memory["capacity_bytes"] = rng.choice([512, 1024, 4096]) * len(memory["holds"])
    return parse(description, base)


def drawn(seed: int, base: str) -> tuple[Gemm, Accelerator]:
    """A product of up to 64 a side on a cramped array."""
    rng = random.Random(seed)
    accelerator = cramped(rng, base)
    size = [rng.randint(1, 64) for _ in range(3)]
    return plain_gemm(*size, "fp16", 16, rng.choice(PATTERNS), rng.choice(PATTERNS)), accelerator


def brute_force(gemm: Gemm, accelerator: Accelerator, objective: Objective) -> tuple[float, float]:
    """The least objective over the whole mapspace, and the least objective x energy of what comes within the slack of
    it; infinite where nothing fits."""
    goals, energies = [np.array([np.inf])], [np.array([np.inf])]
    for dataflow in accelerator.compute.dataflows:
        unit = law_of(dataflow).grain(gemm, accelerator)
        sizes = [
            sorted({min(step * count, extent) for count in range(1, -(-extent // step) + 1)})
            for extent, step in zip((gemm.m, gemm.n, gemm.k), unit, strict=True)
        ]
        tiles = np.array(list(product(*sizes)), dtype=float)
        for order in ORDERS:
            mapping = mapping_of(gemm, dataflow, order, *tiles.T)
            fits, stays = kept(gemm, accelerator, mapping)
            if not fits.any():
                continue
            mapping = mapping_of(gemm, dataflow, order, *tiles[fits].T)
            held = {side: each[fits] for side, each in stays.items()}
            cost = gemm_cost(gemm, accelerator, replace(mapping, held=held))
            goal, energy = np.broadcast_arrays(cost.objective(objective), cost.energy.total_j)
            goals.append(goal)
            energies.append(energy)
    goal, energy = np.concatenate(goals), np.concatenate(energies)
    return float(goal.min()), float((goal * energy)[goal <= goal.min() * (1 + SLACK[objective] + 1e-12)].min())


@pytest.mark.parametrize("base", ["systolic-32x32", "tpu-like-128", "sat-vcu1525"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_best_mapping_attains_the_minimum(base: str, objective: Objective) -> None:
    """To the last digit on ranks of up to a dozen units; on longer ones short lists of tiles lose a little where folds
    interleave, skew counts what is used, or a short last tile hides more."""
    found = 0
    for seed in range(30):
        gemm, accelerator = drawn(seed, base)
        least, thrifty = brute_force(gemm, accelerator, objective)
        if np.isinf(least):
            with pytest.raises(SimulationError, match="no mapping"):
                best_mapping(gemm, accelerator, objective)
            continue
        best = best_mapping(gemm, accelerator, objective)
        got, energy = float(best.objective(objective)), float(best.energy.total_j)
        units = [law_of(dataflow).grain(gemm, accelerator) for dataflow in accelerator.compute.dataflows]
        several = max(extent / step for unit in units for extent, step in zip((gemm.m, gemm.n, gemm.k), unit))  # noqa: B905
        exact = several <= 12 or (base == "systolic-32x32" and objective in ("energy", "cycles"))
        loss = 1e-12 if exact else 0.1
        assert least * (1 - 1e-12) <= got <= least * (1 + SLACK[objective] + loss), (seed, gemm)
        if exact:
            assert got * energy == pytest.approx(thrifty, rel=1e-12), (seed, gemm)
        found += 1
    assert found >= 20


def test_the_winner_costs_what_its_loops_cost() -> None:
    for seed in range(30):
        gemm, accelerator = drawn(seed, "systolic-32x32")
        best = best_mapping(gemm, accelerator)
        count = interpret(gemm, accelerator, best.mapping)
        assert float(best.cycles) == pytest.approx(count.cycles, rel=1e-12)
        assert float(best.read_bytes + best.write_bytes) == pytest.approx(
            count.read_bytes + count.output_store, rel=1e-12
        )


def test_thinned_lists_lose_less_than_half_a_percent() -> None:
    rng = random.Random(5)
    accelerator = load("systolic-32x32")
    worst = 0.0
    for _ in range(12):
        size = [int(2 ** rng.uniform(4, 13)) for _ in range(3)]
        gemm = plain_gemm(*size, "fp16", 16)
        short, whole = best_mapping(gemm, accelerator), best_mapping(gemm, accelerator, limit=10**9)
        worst = max(worst, float(short.latency_s / whole.latency_s) - 1)
    assert worst < SLACK["latency"] + 0.005


@pytest.mark.parametrize("base", ["systolic-32x32", "tpu-like-128", "sat-vcu1525"])
def test_latency_is_not_bought_at_any_price(base: str) -> None:
    """Layers of a ResNet and of a language model: a mapping that is as quick within the slack, such as the one of
    least energy-delay product often is, takes no less energy."""
    accelerator = load(base)
    as_quick = 0
    for size in [(3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (128, 128, 128), (2048, 4096, 4096)]:
        gemm = plain_gemm(*size, "fp16", 16)
        quick, frugal = best_mapping(gemm, accelerator), best_mapping(gemm, accelerator, "edp")
        least = best_mapping(gemm, accelerator, "latency", limit=10**9).latency_s
        assert float(quick.latency_s) <= (1 + SLACK["latency"]) * float(least) * 1.005, size
        if frugal.latency_s <= quick.latency_s:
            as_quick += 1
            assert float(quick.energy.total_j) <= float(frugal.energy.total_j) * (1 + 1e-12), size
    assert as_quick


@pytest.mark.parametrize(("extent", "unit"), [(1, 1), (7, 1), (64, 4), (63, 4), (100, 1), (1000, 32), (4608, 8)])
def test_tile_extents_give_every_number_of_tiles(extent: int, unit: int) -> None:
    """For each count of tiles that whole units can give, the smallest tile that gives it is listed."""
    units = -(-extent // unit)
    smallest: dict[int, int] = {}
    for size in range(units, 0, -1):
        smallest[-(-units // size)] = size
    listed = set(tile_extents(extent, unit, limit=10**9))
    assert {min(size * unit, extent) for size in smallest.values()} <= listed
    assert max(listed) == extent


def test_arrays_of_mappings_equal_single_ones_bit_for_bit() -> None:
    for seed in range(10):
        gemm, accelerator = drawn(seed, ("systolic-32x32", "tpu-like-128", "sat-vcu1525")[seed % 3])
        for dataflow in accelerator.compute.dataflows:
            unit = law_of(dataflow).grain(gemm, accelerator)
            m, n, k = (tile_extents(d, u) for d, u in zip((gemm.m, gemm.n, gemm.k), unit, strict=True))
            grid = mapping_of(gemm, dataflow, ORDERS[seed % 6], m[:, None, None], n[None, :, None], k[None, None, :])
            every = {(0, 0, 0), (len(m) - 1, len(n) // 2, 0), (len(m) // 2, 0, len(k) - 1)}
            for price, at in product((gemm_cost, partial(gemm_cost)), every):
                many, one = price(gemm, accelerator, grid), price(gemm, accelerator, grid.at(at))
                for figures in (lambda c: c.cycles, lambda c: c.latency_s, lambda c: c.energy.total_j,
                                lambda c: c.part.ports.output_write, lambda c: c.read_bytes):  # fmt: skip
                    whole = np.broadcast_to(figures(many), (len(m), len(n), len(k)))
                    assert whole[at] == figures(one)


def test_first_dataflow_alone_without_offline_scheduling() -> None:
    accelerator = load("sat-vcu1525", {"schedule.offline": False})
    gemm = plain_gemm(8, 2048, 2048, "fp16", 16)
    assert best_mapping(gemm, accelerator).mapping.dataflow == accelerator.compute.dataflows[0]


def test_no_fit_names_tiles_buffers_and_remedy() -> None:
    accelerator = load("systolic-32x32", {"memories.output_buffer.capacity_bytes": 64})
    with pytest.raises(SimulationError, match=r"output_buffer needs output 4,096 B .* has 64 B.*capacity_bytes"):
        best_mapping(plain_gemm(64, 64, 64, "fp16", 16), accelerator)


def test_mapping_cuts_tiles_to_the_problem() -> None:
    mapping: Mapping = mapping_of(plain_gemm(5, 6, 7, "fp16", 16), "output_stationary", "mnk", 8, 4, 7)
    assert (float(mapping.m), float(mapping.n), float(mapping.k)) == (5, 4, 7)
    assert {rank: float(trips) for rank, trips in mapping.trips.items()} == {"m": 1, "n": 2, "k": 1}


@pytest.mark.parametrize("pattern", [NM(3, 4, "k"), NM(2, 8, "k"), NM(1, 4, "k"), NM(5, 8, "k")])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_units_leave_no_lane_idle(pattern: NM, lanes: int) -> None:
    """Tiles of whole units take exactly their share of the steps, in whole groups: cutting K finer costs no cycle."""
    accelerator = load("sat-vcu1525", {"compute.macs_per_pe": lanes})
    gemm = plain_gemm(32, 32, 960, "fp16", 16, DENSE, pattern)
    unit = law_of("output_stationary").grain(gemm, accelerator)[2]
    assert unit % pattern.m == 0 and unit * pattern.n // pattern.m % lanes == 0
    smaller = [k for k in range(pattern.m, unit, pattern.m) if k * pattern.n // pattern.m % lanes == 0]
    assert not smaller

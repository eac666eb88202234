"""Search of nested mappings: against brute force over the whole mapspace, and the optimum that another tool proves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from test_depth_counts import machine, random_machine

from zerocast.accelerators import AcceleratorError, dump, load, parse
from zerocast.accelerators.schema import Accelerator
from zerocast.accelerators.schema.given import Given
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.nests.cost import NestCost
from zerocast.simulator.nests.levels import Tiling
from zerocast.simulator.nests.search import NestSearch, _Chains, _joined
from zerocast.simulator.nests.space import LIMIT, NestSpace
from zerocast.simulator.objective import Objective
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.simulator.products.gemm_cost import array_cost, gemm_cost
from zerocast.simulator.products.given import given_products
from zerocast.simulator.products.mapping import ORDERS, mapping_of
from zerocast.simulator.rates import rates_of

OBJECTIVES = get_args(Objective)
LIMITS = {1: 6, 2: 3, 3: 2}
"""Sizes of a tile that the search tries along each side, by the depths of a machine: few enough for brute force."""


def every_chain(space: NestSpace, joules: float = 0.0) -> _Chains:
    """Every chain of tiles of a space, whose array takes some joules."""
    top = space.candidates[0]
    every = _Chains(np.arange(len(top.own))[:, None], top.own + joules, top.cycles, top.joules + joules)
    for depth in range(1, len(space.candidates)):
        every = _joined(every, space.candidates[: depth + 1], np.arange(len(space.candidates[depth].own)))
    return every


def brute_force(search: NestSearch) -> float:
    """The least objective of all mappings: every chain of tiles, every way to lay copies, every order of loops."""
    least = np.inf
    for space in search.spaces:
        every = every_chain(space).picks
        for start in range(0, len(every), 512):
            for spread in space.array:
                cost = search.cost(space, every[start : start + 512], search.orders, spread)
                goal = cost.objective(search.objective)
                least = min(least, float(np.where(space.fit(cost.counts), goal, np.inf).min()))
    return least


def random_problem(seed: int) -> tuple[Gemm, Accelerator]:
    """A small product on one to three depths of small memories, some links narrow."""
    rng = random.Random(seed)
    description = yaml.safe_load(dump(random_machine(rng)))
    if rng.random() < 0.5:  # in place of single multipliers, systolic arrays of 16
        description["compute"] = yaml.safe_load(dump(load("systolic-4x4", {"compute.rates": {"int8": 1.0}})))["compute"]
    first, *rest = description["memories"]
    first["bandwidth_bytes_per_s"] = 10 ** rng.uniform(8, 11)
    deepest = max(memory["depth"] for memory in rest)
    for memory in rest:
        memory["capacity_bytes"] = rng.choice([60, 200, 500, 2000, 8000]) * (4 if memory["depth"] == 1 else 1)
        memory |= {"double_buffered": rng.random() < 0.6, "j_per_byte": rng.choice([0.1, 0.5, 1, 3]) * 1e-12}
        if memory["depth"] < deepest and rng.random() < 0.6:
            memory["bytes_per_cycle"] = 10 ** rng.uniform(-0.5, 2)
        if memory["depth"] == deepest and rng.random() < 0.4:
            memory["port_bytes_per_cycle"] = 10 ** rng.uniform(0, 2)
    gemm = plain_gemm(rng.randint(1, 40), rng.randint(1, 30), rng.randint(1, 40), "int8", 8)
    return replace(gemm, batch=rng.choice([1, 1, 1, 3])), parse(description, "mine")


def searched(seed: int, objective: Objective) -> tuple[float, float, float] | None:
    """What the search of a problem takes for the least, what it chooses, and the least of all mappings; None where no
    mapping fits."""
    gemm, accelerator = random_problem(seed)
    search = NestSearch(gemm, accelerator, objective, LIMITS[accelerator.depths])
    least = brute_force(search)
    if least == np.inf:
        with pytest.raises(SimulationError, match=r"no mapping of a .* fits .* needs .* B for"):
            search.best()
        return None
    chosen = search.best()
    return search.least, float(np.ravel(chosen.objective(objective))[0]), least


def bounded(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the search takes for the least of some chains of tiles, and the least that their mappings cost: cycles,
    those that know the array, and joules."""
    gemm, accelerator = random_problem(seed)
    search = NestSearch(gemm, accelerator, "latency", LIMITS[accelerator.depths])
    for space, joules in zip(search.spaces, search._joules, strict=True):
        every = every_chain(space, joules)
        some = every.at(np.random.default_rng(seed).permutation(len(every.own))[:200])
        if not len(some.own):
            continue
        refined, cycles, energy = search._refined(space, some), np.inf, np.inf
        for spread in space.array:
            cost = search.cost(space, some.picks, search.orders, spread)
            shape = (len(some.own), *(len(order) for order in search.orders))
            fit = np.broadcast_to(space.fit(cost.counts), shape)
            cycles, energy = (
                np.minimum(least, np.where(fit, figure, np.inf).reshape(len(some.own), -1).min(axis=1))
                for least, figure in ((cycles, cost.spent_cycles), (energy, cost.energy.total_j))
            )
        yield from ((some.cycles, cycles), (refined.cycles, cycles), (some.joules, energy))


def test_bounds_are_below_what_they_bound() -> None:
    checked = 0
    for seed in (100, 101, 103, 107, 110, 112, 114, 151, 175):
        for low, real in bounded(seed):
            assert np.all(low <= real * (1 + 1e-9)), seed
            checked += len(low)
    assert checked > 3000


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "seeds, count", [((1, 2, 4, 6, 15, 19), 5), pytest.param(range(100, 200), 25, marks=pytest.mark.slow)]
)
def test_search_finds_the_optimum(objective: Objective, seeds: Sequence[int], count: int) -> None:
    found = list(islice(filter(None, (searched(seed, objective) for seed in seeds)), count))
    assert len(found) == count
    for told, chosen, least in found:
        assert told == pytest.approx(least, rel=1e-9)
        slack = 1.011 if objective == "latency" else 1 + 1e-8
        assert least * (1 - 1e-9) <= chosen <= least * slack


def latency_s(gemm: Gemm, accelerator: Accelerator, objective: Objective, limit: int = LIMIT) -> float:
    """Seconds of the mapping that an objective takes; infinite where none fits."""
    try:
        return float(np.ravel(NestSearch(gemm, accelerator, objective, limit).best().latency_s)[0])
    except SimulationError:
        return np.inf


@pytest.mark.parametrize("seeds", [range(200, 206), pytest.param(range(206, 260), marks=pytest.mark.slow)])
def test_latency_is_not_beaten_by_another_objective(seeds: Sequence[int]) -> None:
    """Of mappings near the least latency the one of least energy-delay product is taken: no mapping of least energy, of
    least energy-delay product or of fewest cycles is quicker."""
    for seed in seeds:
        gemm, accelerator = random_problem(seed)
        limit = LIMITS[accelerator.depths]
        least, *others = (latency_s(gemm, accelerator, objective, limit) for objective in OBJECTIVES)
        assert least <= min(others) * (1 + 1e-9), seed


@pytest.mark.parametrize(
    "sizes",
    [(147, 50, 7), (1000, 50, 1), (3136, 7, 1), (147, 512, 3136), (64, 64, 147), (64, 1000, 1000), (2, 12, 244)],
)
def test_latency_is_not_beaten_where_the_mapspace_is_large(sizes: tuple[int, int, int]) -> None:
    gemm, accelerator = plain_gemm(*sizes, "int8", 8), load("simba-like")
    least, *others = (latency_s(gemm, accelerator, objective) for objective in ("latency", "cycles", "edp"))
    assert least <= min(others) * (1 + 1e-9)


def test_one_depth_is_priced_as_ever() -> None:
    """A machine of one depth, priced as a nest, costs what `gemm_cost` says, on all three systolic dataflows, where
    tiles are of one size and no fold's stream goes on from tile to tile: nests fill and drain the array for each."""
    accelerator, rng = load("systolic-8x8", {"compute.rates": {"int8": 1.0}}), random.Random(1)
    rates = rates_of([accelerator]).at(0)
    for dataflow in accelerator.compute.dataflows * 20:
        tile = [8.0 * rng.randint(1, 4) for _ in range(3)]
        sizes = [int(extent) * rng.randint(1, 5) for extent in tile]
        gemm = replace(plain_gemm(*sizes, "int8", 8), batch=rng.choice([1, 3]))
        order = rng.randrange(6)
        mapping = mapping_of(gemm, dataflow, ORDERS[order], *tile)
        flat = gemm_cost(gemm, accelerator, mapping, array_cost(gemm, accelerator, mapping, flows=False), rates)
        extents = [np.array([extent]) for extent in tile]
        level = Tiling(*extents, np.array([order]))  # type: ignore[arg-type]
        cost = NestCost(gemm, accelerator, dataflow, (level, level), rates)
        assert cost.latency_s[0] == pytest.approx(float(flat.latency_s), rel=1e-9)
        assert cost.energy.total_j[0] == pytest.approx(float(flat.energy.total_j), rel=1e-9)
        moved = cost.traffic["dram"]
        assert sum(float(np.sum(part)) for part in moved.read.values()) == pytest.approx(float(flat.read_bytes))


SIX = [(3136, 64, 576), (784, 128, 1152), (196, 256, 2304), (49, 512, 4608), (512, 3072, 768), (512, 768, 3072)]


def peer(**registers: Any) -> Accelerator:
    """1,024 multipliers, each with a register of one byte, below 768 KiB and 64 B a cycle from off chip."""
    spread = {"count": 1024, "over": ["n", "k"]}
    buffer = {"capacity_bytes": 768 * 1024, "double_buffered": False, "j_per_byte": 1.5e-12, "fanout": spread}
    register = {"holds": ["weight"], "capacity_bytes": 1, "double_buffered": False, "j_per_byte": 0.06e-12} | registers
    dram = {"bandwidth_bytes_per_s": 64e9, "j_per_byte": 32e-12, "energy": None}
    return machine([[buffer], [register]], **dram)


def test_six_products_reach_the_proven_optimum() -> None:
    """AccelForge proves 2,810,880 cycles and 1,682.7 uJ, multiplications at 0.2 pJ: a register is read for each, the
    buffer for each of the 32 or so that share an input or a sum."""
    cycles, joules = 0.0, 0.0
    for m, n, k in SIX:
        cost = NestSearch(plain_gemm(m, n, k, "int8", 8), peer(), "energy").best()
        cycles += float(np.ravel(cost.cycles)[0])
        joules += m * n * k * 0.2e-12 + float(np.ravel(cost.energy.buffer_j + cost.energy.dram_j)[0])
        once = m * k + n * k + m * n
        traffic = {name: [float(np.sum(sum(by.values()))) for by in (each.read, each.write)]
                   for name, each in cost.traffic.items()}  # fmt: skip
        assert sum(traffic["dram"]) == once
        assert traffic["l2_0"] == [m * n * k, n * k]
        assert sum(traffic["l1_0"]) == pytest.approx(once + n * k + m * n * k * 3 / 32 - m * n)
    assert cycles == 2_810_880
    assert joules * 1e6 <= 1_682.71


def test_traffic_is_told_by_memory() -> None:
    row = Pricer(peer()).gemm(plain_gemm(49, 64, 128, "int8", 8))
    told = yaml.safe_load(row.memories)
    assert list(told) == ["dram", "l1_0", "l2_0"]
    for way in ("read", "write"):
        chip = sum(told[name][f"{way}_bytes"] for name in ("l1_0", "l2_0"))
        assert getattr(row, f"buffer_{way}_bytes") == pytest.approx(chip)
        assert getattr(row, f"dram_{way}_bytes") == pytest.approx(told["dram"][f"{way}_bytes"])
    assert row.buffer_j == pytest.approx(told["l1_0"]["energy_j"] + told["l2_0"]["energy_j"])


def test_an_operand_that_lives_on_chip_takes_all_its_bytes_there_and_moves_none() -> None:
    weights = {"holds": ["weight"], "capacity_bytes": 64 * 48, "double_buffered": False}
    rest = {"holds": ["input", "output"], "capacity_bytes": 4096}
    row = Pricer(machine([[weights, rest]], holds=["input", "output"])).gemm(plain_gemm(32, 64, 48, "int8", 8))
    assert row.dram_weight_bytes == 0 and row.dram_input_bytes >= 32 * 48
    with pytest.raises(
        SimulationError, match=r"no mapping of a 32 x 64 x 48 product fits .*: l1_0 needs weight 3,072 B .* has 3,071"
    ):
        Pricer(machine([[weights | {"capacity_bytes": 64 * 48 - 1}, rest]], holds=["input", "output"])).gemm(
            plain_gemm(32, 64, 48, "int8", 8)
        )


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([{}, {"tile": {"n": 512, "k": 512}}], "weight_buffer needs weight 524,288 B for its tile of 1 x 512 x 512, "),
        ([{"tile": {"m": 64, "n": 64, "k": 512}}], "global_buffer needs input 65,536 + output 24,576 B for its tile"),
        ([{"tile": {"k": 64}}, {"tile": {"k": 128}}], "the tile's k at level 1 is 64, level 2 fills 128"),
        ([{"tile": {"m": 64}}, {"tile": {"m": 32}, "spread": {"m": 4}}], "m at level 1 is 64, level 2 fills 97"),
    ],
)
def test_a_given_mapping_that_does_not_fit_names_memory_operand_and_bytes(levels: list[Any], words: str) -> None:
    """Doubled buffers: 512 x 512 weights twice; 64 x 512 inputs and 64 x 64 sums of 3 bytes twice; of four copies side
    by side the last needs one row at least."""
    gemm = replace(plain_gemm(512, 512, 512, "int8", 8), given=Given.model_validate({"levels": levels}))
    with pytest.raises(SimulationError) as error:
        NestSearch(gemm, load("simba-like")).best()
    assert words in str(error.value) and "give smaller tiles" in str(error.value)


def test_more_cores_are_never_slower() -> None:
    """Groups over cores: eight heads on one, two and four arrays under a shared buffer."""
    gemm = replace(plain_gemm(64, 64, 64, "int8", 8), batch=8)
    seconds = []
    for count in (1, 2, 4):
        cores = {"capacity_bytes": 1 << 20, "fanout": {"count": count, "over": ["groups"]}}
        seconds.append(Pricer(machine([[cores]], bandwidth_bytes_per_s=1e13)).gemm(gemm).latency_s)
    assert seconds[0] / seconds[1] == pytest.approx(2, rel=0.01)
    assert seconds[0] / seconds[2] == pytest.approx(4, rel=0.01)


def test_a_mapping_is_given_depth_by_depth_and_comes_back_the_same() -> None:
    accelerator, gemm = peer(), plain_gemm(96, 64, 64, "int8", 8)
    levels = [{"order": "nkm", "tile": {"m": 48, "n": 64, "k": 32}}, {"tile": {"m": 2}, "spread": {"n": 64, "k": 16}}]
    (given,) = given_products({"fc": (gemm,)}, {"fc": {"levels": levels}}, accelerator)["fc"]
    pricer = Pricer(accelerator)
    row, (mapped,) = pricer.gemm(given), pricer.mapped([given])
    assert (row.order, row.tile_m, row.tile_n, row.tile_k) == ("nkm", 48, 64, 32)
    assert mapped.given is not None and mapped.given.level(1).spread.n == 64 and mapped.given.level(1).tile.m == 2
    assert Pricer(accelerator).gemm(mapped) == row


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ({"spread": {"m": 2}}, "spread.m: l1_0 fans out over n, k; leave it out or list m in its fanout"),
        ({"spread": {"n": 65}}, "spread.n: 65 copies are more than the product's n, 64; give fewer"),
        ({"spread": {"n": 64, "k": 17}}, "spread: takes 1088 copies, l1_0 fans out to 1024; give fewer"),
    ],
)
def test_copies_that_cannot_be_are_refused(level: dict[str, Any], words: str) -> None:
    with pytest.raises(SimulationError, match=words):
        given_products({"fc": (plain_gemm(96, 64, 64, "int8", 8),)}, {"fc": {"levels": [{}, level]}}, peer())


def test_a_fanout_that_no_product_fills_is_refused() -> None:
    cores = {"capacity_bytes": 1 << 20, "fanout": {"count": 8, "over": ["groups", "m"]}}
    pricer = Pricer(machine([[cores]]))
    small, large = plain_gemm(7, 64, 64, "int8", 8), plain_gemm(8, 64, 64, "int8", 8)
    with pytest.raises(
        SimulationError, match=r"l1_0.fanout: 8 copies over groups, m, of which no product here can fill"
    ):
        pricer.prepare([small])
    pricer.prepare([small, large])
    assert pricer.gemm(small).latency_s > 0


def test_a_depth_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(AcceleratorError, match="no operand reaches this level"):
        peer(holds=[])

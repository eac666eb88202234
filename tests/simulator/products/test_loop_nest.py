"""The closed forms of one mapping against a walk of its loops in plain Python (`loop_nest`)."""

from __future__ import annotations

import pytest
from loop_nest import Count, interpret
from problems import Problem, random_problem, walk_tiles

from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost

SEEDS = range(300)


@pytest.fixture(scope="module")
def walked() -> list[tuple[Problem, Count, GemmCost]]:
    """Each problem with what the walk counts and what the closed forms say."""
    cases = []
    for seed in SEEDS:
        problem = random_problem(seed)
        count = interpret(problem.gemm, problem.accelerator, problem.mapping)
        cases.append((problem, count, gemm_cost(problem.gemm, problem.accelerator, problem.mapping)))
    return cases


def test_cycles_and_bytes_are_exact_with_edge_tiles(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, count, cost in walked:
        pairs = {
            "cycles": (cost.cycles, max(count.cycles, count.port_cycles)),
            "port cycles": (cost.part.port_cycles, count.port_cycles),
            "dram reads": (cost.read_bytes, count.read_bytes),
            "dram writes": (cost.write_bytes, count.output_store),
            "link": (cost.link_s, count.link_s),
            "input port": (cost.part.ports.input_read, count.input_port),
            "weight port": (cost.part.ports.weight_read, count.weight_port),
            "output port reads": (cost.part.ports.output_read, count.output_port_read),
            "output port writes": (cost.part.ports.output_write, count.output_port_write),
        }
        for what, (mine, truth) in pairs.items():
            assert float(mine) == pytest.approx(truth, rel=1e-12), (what, problem)


def test_latency_is_that_of_average_tiles(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    """Exactly, where the sums of an output tile are finished in one stay; else to one store's difference a pass."""
    checked = {True: 0, False: 0}
    for problem, count, cost in walked:
        stays, passes = _finished_in_one_stay(problem), _passes_over_k(problem)
        trips, gemm = problem.mapping.trips, problem.gemm
        sums = gemm.m * gemm.n / float(trips["m"] * trips["n"])
        narrower = (problem.accelerator.compute.accumulate_bits - gemm.output.bits) / 8
        slack = 0.0 if stays else passes * sums * narrower / problem.accelerator.dram_bytes_per_s
        assert abs(float(cost.latency_s) - count.averaged_s) <= slack + 1e-12 * count.averaged_s, problem
        checked[stays] += 1
    assert min(checked.values()) > 30, checked


def test_even_tiles_have_the_walks_latency(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    exact = 0
    for problem, count, cost in walked:
        if problem.even and _finished_in_one_stay(problem):
            assert float(cost.latency_s) == pytest.approx(count.latency_s, rel=1e-12), problem
            exact += 1
    assert exact > 60


def test_edge_tiles_move_latency_by_their_deviation_at_most(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    """Averaging over tiles errs by at most the sum of the tiles' deviations from the mean (max is 1-Lipschitz)."""
    for problem, count, cost in walked:
        if not problem.even and _finished_in_one_stay(problem):
            away = abs(float(cost.latency_s) - count.latency_s)
            assert away <= count.deviation_s + 1e-12 * count.latency_s, problem


def test_latency_lies_between_the_busiest_and_the_sum(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, _, cost in walked:
        compute = float(cost.cycles) / problem.accelerator.technology.clock_hz
        link = float(cost.link_s)
        assert max(compute, link) * (1 - 1e-12) <= float(cost.latency_s) <= (compute + link) * (1 + 1e-12)


def test_the_counted_walk_is_exact_with_edge_tiles(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, count, cost in walked:
        found = gemm_cost(problem.gemm, problem.accelerator, problem.mapping, walk=True)
        assert float(found.latency_s) == pytest.approx(count.latency_s, rel=1e-12), problem
        assert float(found.link_s) == pytest.approx(count.link_s, rel=1e-12), problem
        assert float(found.energy.total_j) == pytest.approx(float(cost.energy.total_j), rel=1e-12), problem


@pytest.mark.parametrize("part", range(3))
def test_tile_walk_equals_the_loop_nest(part: int, walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, count, _ in walked[part::3]:
        walk = walk_tiles(problem.gemm, problem.accelerator, problem.mapping)
        assert walk.latency_s == pytest.approx(count.latency_s, rel=1e-12), problem
        assert walk.link_s == pytest.approx(count.link_s, rel=1e-12), problem
        assert walk.cycles == pytest.approx(max(count.cycles, count.port_cycles), rel=1e-12), problem
        assert walk.read_bytes == pytest.approx(count.read_bytes, rel=1e-12), problem
        assert walk.write_bytes == pytest.approx(count.output_store, rel=1e-12), problem


def _finished_in_one_stay(problem: Problem) -> bool:
    """True where no output tile leaves before its sums are complete."""
    trips = problem.mapping.trips
    after = problem.mapping.order[problem.mapping.order.index("k") + 1 :]
    return float(trips["k"]) == 1 or all(float(trips[rank]) == 1 for rank in after)


def _passes_over_k(problem: Problem) -> float:
    """How often the index of K changes, or starts again."""
    mapping = problem.mapping
    passes = problem.gemm.batch * float(mapping.trips_k)
    for rank in mapping.order[: mapping.order.index("k")]:
        passes *= float(mapping.trips[rank])
    return passes

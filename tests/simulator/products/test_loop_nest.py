"""The closed forms of one mapping against a walk of its loops in plain Python (`loop_nest`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from loop_nest import Count, interpret
from problems import SIDES, Problem, random_problem, walk_tiles

from zerocast.simulator.products.gemm import plain_gemm
from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost
from zerocast.simulator.products.mapping import mapping_of
from zerocast.simulator.products.traffic import TileBytes
from zerocast.simulator.products.walks.pipeline import Link, pipeline_time

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


def test_pipeline_of_tiles_that_are_all_alike_is_exact(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    """Behind one link as the loops say, and behind two as behind the slower; orders that come back to sums included."""
    checked = {True: 0, False: 0}
    for problem, count, cost in walked:
        mapping, overlap, tile = problem.mapping, problem.accelerator.overlap(), cost.part.tile
        if any(mapping.holds(side) for side in SIDES):
            continue
        rate, trips = problem.accelerator.dram_bytes_per_s, mapping.trips
        sizes = {side: getattr(tile, side) / rate for side in ("input", "weight", "output", "partial")}
        compute = cost.cycles / problem.accelerator.technology.clock_hz
        compute = compute / (problem.gemm.batch * trips["m"] * trips["n"] * trips["k"])
        link = Link(replace(tile, **sizes))
        half = Link(replace(tile, **{side: size / 2 for side, size in sizes.items()}))
        for links in ([link], [half, link]):
            found = float(pipeline_time(mapping, problem.gemm.batch, compute, links, overlap))
            assert found == pytest.approx(count.averaged_s, rel=1e-12), problem
        checked[_finished_in_one_stay(problem)] += 1
    assert min(checked.values()) > 30, checked


def test_what_passes_through_is_on_the_link_at_every_step() -> None:
    """Three tiles of 5 cycles: 2 load the first; then the link takes 4 + 2, 4 + 1 + 2 and 4 + 1 cycles beside the
    array, and 1 for the last store."""
    gemm, two, one, none = plain_gemm(24, 8, 8, "fp16", 16), np.asarray(2.0), np.asarray(1.0), np.asarray(0.0)
    mapping = mapping_of(gemm, "output_stationary", "mnk", 8, 8, 8)
    links = [Link(TileBytes(two, none, one, one), 4.0)]
    assert float(pipeline_time(mapping, 1, 5.0, links)) == 2 + 6 + 7 + 5 + 1
    assert float(pipeline_time(mapping, 1, 5.0, links, overlap=0.0)) == 2 + 15 + 6 + 7 + 5 + 1


def test_latency_lies_between_the_busiest_and_the_sum(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, _, cost in walked:
        compute = float(cost.cycles) / problem.accelerator.technology.clock_hz
        link = float(cost.link_s)
        assert max(compute, link) * (1 - 1e-12) <= float(cost.latency_s) <= (compute + link) * (1 + 1e-12)


def test_latency_is_exact_with_edge_tiles(walked: list[tuple[Problem, Count, GemmCost]]) -> None:
    for problem, count, cost in walked:
        assert float(cost.latency_s) == pytest.approx(count.latency_s, rel=1e-12), problem


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

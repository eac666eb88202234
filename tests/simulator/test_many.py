"""Designs priced together: bit for bit what each costs alone, and the search equal to pricing every mapping."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from problems import kept
from small_workloads import forward, step

from zerocast.accelerators import Accelerator, load
from zerocast.simulator import SimulationError, Totals, best_mapping, plain_gemm, simulate
from zerocast.simulator.cost import OVER_OPS
from zerocast.simulator.objective import SLACK, Objective
from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost
from zerocast.simulator.products.mapping import ORDERS, mapping_of, mapspace
from zerocast.simulator.rates import is_rate, same_structure
from zerocast.workloads.patterns import DENSE, NM, Uniform

RATES: dict[str, list[Any]] = {
    "technology.clock_hz": [1e8, 4e8],
    "technology.static_power_w": [0.0, 2.5],
    "memories.dram.bandwidth_bytes_per_s": [9e9, 76e9],
    "memories.input_buffer.capacity_bytes": [60_000, 2_097_152],
    "memories.weight_buffer.capacity_bytes": [60_000, 2_097_152],
    "units.vector_unit.lanes": [8, 32],
    "host.launch_overhead_s": [0.0, 1e-6],
}


def designs(base: str, settings: dict[str, list[Any]], most: int) -> list[Accelerator]:
    """Some designs of the grid over settings, drawn with a fixed seed."""
    grid = list(product(*settings.values()))
    drawn = random.Random(3).sample(grid, min(most, len(grid)))
    return [load(base, dict(zip(settings, values, strict=True))) for values in drawn]


def same(got: Totals | SimulationError, workload: Any, accelerator: Accelerator, **options: Any) -> None:
    """Equal in every bit to the sums over the rows of the design alone."""
    try:
        wanted = simulate(workload, accelerator, **options)
    except SimulationError as error:
        assert isinstance(got, SimulationError) and str(got) == str(error)
        return
    assert isinstance(got, Totals)
    assert got.figures == {name: wanted.total(name) for name in OVER_OPS} | {
        "latency_s": wanted.latency_s, "energy_j": wanted.energy_j, "static_j": wanted.static_j,
        "peak_bytes": wanted.footprint.peak_bytes,
    }  # fmt: skip
    assert (got.resources, got.uncosted, got.area_mm2) == (wanted.resources, wanted.uncosted, wanted.area_mm2)


@pytest.mark.parametrize("objective", ["latency", "energy", "edp", "cycles"])
def test_designs_that_differ_in_rates_are_one_group_and_cost_what_each_costs_alone(objective: Objective) -> None:
    accelerators = designs("sat-vcu1525", RATES, 40)
    assert len(same_structure(accelerators)) == 1
    workload = step()
    for accelerator, got in zip(accelerators, simulate(workload, accelerators, objective=objective), strict=True):
        same(got, workload, accelerator, objective=objective)


def test_structures_are_told_apart_and_come_back_in_order() -> None:
    settings = {"compute.rows": [8, 32], "technology.clock_hz": [1e8, 2e8], "schedule.pregenerate": [True, False],
                "memories.input_buffer.capacity_bytes": [512, 2_097_152], "compute.accumulators_per_pe": [1, 8],
                "units.vector_unit.streams": [True, False]}  # fmt: skip
    accelerators = designs("sat-vcu1525", settings, 64)
    assert len(same_structure(accelerators)) == 16
    workload = step()
    found = simulate(workload, accelerators)
    for accelerator, got in zip(accelerators, found, strict=True):
        same(got, workload, accelerator)
    assert any(isinstance(got, Totals) for got in found)


@pytest.mark.parametrize("name", ["systolic-16x16", "eyeriss-v1", "nvidia-h100-sxm", "scnn", "tpu-like-128"])
@pytest.mark.parametrize("fidelity", ["analytic", "tile"])
def test_every_family_can_be_priced_in_bulk(name: str, fidelity: Any) -> None:
    known = load(name)
    wide = {} if "fp16" in known.compute.rates else {"compute.rates": {"fp16": 1.0}}
    link = f"memories.{known.dram.name}.bandwidth_bytes_per_s"
    accelerators = [load(name, {**wide, link: rate}) for rate in (2e9, 4e11)]
    found = simulate(forward(), accelerators, fidelity=fidelity)
    assert all(isinstance(got, Totals) for got in found)
    for accelerator, got in zip(accelerators, found, strict=True):
        same(got, forward(), accelerator, fidelity=fidelity)


def test_a_design_that_no_mapping_fits_is_an_error_of_its_own() -> None:
    small, large = (load("sat-vcu1525", {"memories.output_buffer.capacity_bytes": size}) for size in (64, 2_097_152))
    workload = forward()
    lost, found, again = simulate(workload, [small, large, small])
    assert isinstance(lost, SimulationError) and "no mapping" in str(lost) and str(again) == str(lost)
    same(found, workload, large)


def test_designs_that_nothing_fits_leave_the_others_alone() -> None:
    """Buffers and a link on which the misfit's stand-in mapping would disappoint, priced beside one that fits."""
    sizes = {"memories.weight_buffer.capacity_bytes": 3000, "memories.output_buffer.capacity_bytes": 3900,
             "memories.input_buffer.capacity_bytes": 72000}  # fmt: skip
    for rate in (1e8, 2.8e8, 1e9, 1e10):
        link = {"memories.dram.bandwidth_bytes_per_s": rate}
        pair = [load("sat-vcu1525", link), load("sat-vcu1525", {**sizes, **link})]
        fits, lost = simulate(step(), pair)
        same(fits, step(), pair[0])
        assert isinstance(lost, SimulationError) and "no mapping" in str(lost)


def test_what_cannot_be_sized_is_priced_all_the_same() -> None:
    """Time and energy depend on neither; the design beside it keeps its resources and its area."""
    base = load("sat-vcu1525")
    other = load("sat-vcu1525", {"resources.multiply_add": {"fp32": {"dsp": 5}}})
    sized, bare, again = simulate(forward(), [base, other, base])
    assert isinstance(sized, Totals) and isinstance(bare, Totals) and again == sized
    assert sized.resources["dsp"] > 0 and bare.resources == {} and bare["latency_s"] == sized["latency_s"]
    same(bare, forward(), other)
    assert any("no cost of 'fp16'" in note for note in simulate(forward(), other).notes)
    tiny = load("systolic-8x8", {"technology.node_nm": 2})
    assert any("area is not known" in note for note in simulate(forward(), tiny).notes)
    same(simulate(forward(), [tiny])[0], forward(), tiny)


def test_mistakes_are_named() -> None:
    with pytest.raises(SimulationError, match="unknown objective 'speed'"):
        simulate(forward(), [load("sat-vcu1525")], objective="speed")  # type: ignore[arg-type]
    assert simulate(forward(), []) == []


def test_progress_ends_at_all_designs() -> None:
    seen: list[tuple[int, int]] = []
    accelerators = [load("systolic-8x8", {"compute.rows": rows}) for rows in (4, 8, 16)]
    simulate(forward(), accelerators, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def every_mapping(gemm: Any, accelerator: Accelerator) -> Iterator[GemmCost]:
    """Costs of the whole mapspace, one mapping after another."""
    for grid in mapspace(gemm, accelerator):
        arrays = np.broadcast_arrays(grid.m, grid.n, grid.k)
        for tile, order in product(zip(*(array.ravel() for array in arrays), strict=True), ORDERS):
            mapping = mapping_of(gemm, grid.dataflow, order, *tile)
            fits, stays = kept(gemm, accelerator, mapping)
            if fits:
                yield gemm_cost(gemm, accelerator, replace(mapping, held=stays))


@pytest.mark.parametrize("pattern", [DENSE, NM(2, 8, "k"), Uniform(0.3)], ids=["dense", "nm", "random"])
@pytest.mark.parametrize(("m", "n", "k", "batch"), [(20, 12, 24, 1), (9, 18, 16, 3)])
def test_the_mapping_is_the_best_of_all(m: int, n: int, k: int, batch: int, pattern: Any) -> None:
    """The bound never hides a mapping that pricing every one of them would find, whatever is made small."""
    settings = {"compute.rows": 4, "compute.cols": 4, "memories.dram.bandwidth_bytes_per_s": 1e9}
    accelerator = load("sat-vcu1525", settings)
    gemm = replace(plain_gemm(m, n, k, "fp16", 16, DENSE, pattern), batch=batch)
    costs = list(every_mapping(gemm, accelerator))
    objectives: tuple[Objective, ...] = ("latency", "energy", "edp", "cycles")
    for objective in objectives:
        goal = np.array([float(cost.objective(objective)) for cost in costs])
        energy = np.array([float(cost.energy.total_j) for cost in costs])
        least = (goal * energy)[goal <= goal.min() * (1 + SLACK[objective] + 1e-12)].min()
        found = best_mapping(gemm, accelerator, objective)
        assert float(found.objective(objective) * found.energy.total_j) == pytest.approx(least, rel=1e-12)


def test_a_capacity_that_sets_the_passes_of_an_engine_is_structure() -> None:
    """A single channel brings the vector for each filling of the output buffer: those designs differ in cycles."""
    sizes = [load("hisparse-u280", {"memories.output_buffer.capacity_bytes": size}) for size in (4_194_304, 64)]
    assert same_structure(sizes) == [[0], [1]]
    for accelerator, got in zip(sizes, simulate(forward(), sizes), strict=True):
        same(got, forward(), accelerator)


@pytest.mark.parametrize("path", [*RATES, "compute.rows", "sparsity.weight.max_group"])
def test_paths_of_rates_are_told_from_those_of_structure(path: str) -> None:
    value = {"compute.rows": 8, "sparsity.weight.max_group": 4}.get(path)
    changed = load("sat-vcu1525", {path: RATES[path][0] if value is None else value})
    together = len(same_structure([load("sat-vcu1525"), changed])) == 1
    assert is_rate(path) == together

"""What must hold for any product on any array: bounds, and directions in which costs may move."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import Accelerator, load, parse
from zerocast.simulator import SimulationError, best_mapping, plain_gemm
from zerocast.simulator.cost import OpRow
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.laws.array import reduction_steps
from zerocast.simulator.objective import SLACK, Objective
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import GemmCost, gemm_cost
from zerocast.workloads.patterns import DENSE, NM, Pattern

EVERY = 10**9
sides = st.integers(1, 200)
few = settings(max_examples=25, deadline=None, derandomize=True)
arrays = st.sampled_from(["systolic-8x4", "sat-vcu1525", "tpu-like-128"])


def small(name: str, **changes: object) -> Accelerator:
    """The template, the big arrays cut to 8 x 8, with paths set (`__` for a dot)."""
    shrink = {} if name.startswith("systolic") else {"compute.rows": 8, "compute.cols": 8}
    return load(name, shrink | {path.replace("__", "."): value for path, value in changes.items()})


def best(gemm: Gemm, accelerator: Accelerator) -> GemmCost:
    return best_mapping(gemm, accelerator, limit=EVERY)


@few
@given(sides, sides, sides, arrays, st.sampled_from([DENSE, NM(2, 8, "k")]))
def test_bounds(m: int, n: int, k: int, name: str, pattern: Pattern) -> None:
    """Every operand crosses the link once; no cycle does more than the array can; no time beats its parts."""
    accelerator = small(name)
    gemm = plain_gemm(m, n, k, "fp16", 16, DENSE, pattern)
    cost = best(gemm, accelerator)
    compute = accelerator.compute
    dense_macs = compute.rows * compute.cols * compute.macs_per_pe
    assert float(cost.cycles) >= gemm.macs * float(cost.part.steps_share) / dense_macs * (1 - 1e-12)
    weight_bits = 16 if not pattern.is_dense and not name.startswith("sat") else 16 if pattern.is_dense else 19 / 4
    assert float(cost.read_bytes) >= (m * k * 16 + n * k * weight_bits) / 8 * (1 - 1e-12)
    assert float(cost.write_bytes) >= m * n * 2 * (1 - 1e-12)
    seconds = float(cost.latency_s)
    assert seconds >= float(cost.cycles) / accelerator.technology.clock_hz * (1 - 1e-12)
    assert seconds >= float(cost.link_s) * (1 - 1e-12)


@few
@given(sides, sides, sides, arrays, st.floats(1.0, 50.0))
def test_more_bandwidth_is_never_slower(m: int, n: int, k: int, name: str, factor: float) -> None:
    gemm = plain_gemm(m, n, k, "fp16", 16)
    times = [
        float(best(gemm, small(name, memories__dram__bandwidth_bytes_per_s=rate)).latency_s)
        for rate in (1e9, 1e9 * factor, 1e12)
    ]
    assert times[0] >= times[1] * (1 - 1e-12) and times[1] >= times[2] * (1 - 1e-12)


@few
@given(sides, sides, sides, arrays)
def test_more_zeros_are_never_slower(m: int, n: int, k: int, name: str) -> None:
    """1:8, 2:8, 4:8, dense: on the array (same steps or fewer), and end to end where K is whole groups."""
    depth = 8 * k
    accelerator = small(name)
    laws = [NM(1, 8, "k"), NM(2, 8, "k"), NM(4, 8, "k"), DENSE]
    steps = [
        float(reduction_steps(plain_gemm(m, n, k, "fp16", 16, DENSE, law), accelerator, "output_stationary", k))
        for law in laws
    ]
    assert steps == sorted(steps)
    times = [float(best(plain_gemm(m, n, depth, "fp16", 16, DENSE, law), accelerator).latency_s) for law in laws]
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(times)), times


@few
@given(sides, sides, sides, st.sampled_from(["systolic-8x4", "tpu-like-128"]), st.integers(9, 14))
def test_bigger_buffers_are_never_slower(m: int, n: int, k: int, name: str, size: int) -> None:
    gemm = plain_gemm(m, n, k, "fp16", 16)
    times = []
    for capacity in (2**size, 2 ** (size + 1), 2 ** (size + 3)):
        description = small(name).model_dump(mode="json", exclude_unset=True)
        for memory in description["memories"][1:]:
            memory["capacity_bytes"] = capacity
        try:
            times.append(float(best(gemm, parse(description, name)).latency_s))
        except SimulationError:
            assert not times  # what fits a small buffer fits a larger one
    # a mapping may take up to the slack of the objective to save energy
    assert all(a * (1 + SLACK["latency"]) >= b * (1 - 1e-12) for a, b in itertools.pairwise(times))


@few
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(2, 5))
def test_batch_scales_work_and_not_the_fill(m: int, n: int, k: int, batch: int) -> None:
    """Under one mapping B items cost B times the cycles and bytes, and at most B times the time of one."""
    gemm, accelerator = plain_gemm(m, n, k, "fp16", 16), small("systolic-8x4")
    one = best(gemm, accelerator)
    many = gemm_cost(replace(gemm, batch=batch), accelerator, one.mapping)
    assert float(many.cycles) == batch * float(one.cycles)
    assert float(many.read_bytes) == pytest.approx(batch * float(one.read_bytes), rel=1e-12)
    assert float(many.energy.total_j) == pytest.approx(batch * float(one.energy.total_j), rel=1e-12)
    assert float(many.latency_s) <= batch * float(one.latency_s) * (1 + 1e-12)


@pytest.mark.parametrize("name", ["systolic-8x16", "systolic-32x32", "tpu-like-128", "sat-vcu1525"])
def test_no_objective_is_beaten_at_its_own_figure(name: str) -> None:
    """What a user sees: no other objective's mapping is quicker than that of `latency`, and so on for all four."""
    rng = random.Random(3)
    figures: dict[Objective, Callable[[OpRow], float]] = {
        "latency": lambda row: row.latency_s, "energy": lambda row: row.energy_j, "cycles": lambda row: row.cycles,
        "edp": lambda row: row.latency_s * row.energy_j,
    }  # fmt: skip
    pricers = {goal: Pricer(load(name), goal) for goal in figures}
    for _ in range(24):
        size = [int(2 ** rng.uniform(0, 12)) for _ in "mnk"]
        gemm = replace(plain_gemm(*size, "fp16", 16), batch=rng.choice([1, 1, 1, 4]))
        rows = {goal: pricer.gemm(gemm) for goal, pricer in pricers.items()}
        for goal, figure in figures.items():
            assert figure(rows[goal]) <= min(map(figure, rows.values())) * (1 + 1e-9), (goal, gemm)


def test_rows_are_consistent() -> None:
    """Operand bytes add up to the off-chip bytes; components add up to the energy; utilisation stays in [0, 1]."""
    rng = random.Random(4)
    for name in ("systolic-32x32", "sat-vcu1525", "tpu-like-128"):
        pricer = Pricer(load(name))
        for _ in range(8):
            size = [rng.randint(1, 600) for _ in range(3)]
            row = pricer.gemm(plain_gemm(*size, "fp16", 16, DENSE, rng.choice([DENSE, NM(2, 8, "k")])))
            by_operand = row.dram_input_bytes + row.dram_weight_bytes + row.dram_output_bytes
            assert by_operand == pytest.approx(row.dram_read_bytes + row.dram_write_bytes, rel=1e-12)
            parts = row.mac_j + row.register_j + row.buffer_j + row.dram_j + row.vector_j
            assert parts == pytest.approx(row.energy_j, rel=1e-12)
            assert 0 < row.utilisation <= 1 and row.ideal_cycles <= row.cycles
            assert row.spread_s == 0.0

"""Error bars of kernels and networks on a GPU, and how far a gain by 2:4 is believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_workloads import forward

from zerocast.accelerators import load
from zerocast.analysis.validate.suites.gpu.products.layers import COVERAGE, layers_elsewhere
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.cost import OpRow
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import COLLECTION, NEAR, UNSEEN_BAR, predict, with_doubt
from zerocast.simulator.gpu.problem import problem
from zerocast.simulator.gpu.trust import ONE_BY_ONE_S, latency_bounds, unit_bounds
from zerocast.workloads import Vector
from zerocast.workloads.patterns import DENSE, NM


def test_bars_hold_on_layers_that_others_measured() -> None:
    """9 of 10 of 140 layers of three language models on two cards, one of a generation that was never fitted."""
    rows = layers_elsewhere()
    assert len(rows) == 2 and all(row.ok and row.predicted >= COVERAGE for row in rows)


def test_a_bar_holds_the_errors_of_two_causes() -> None:
    """Near a calibrated shape: left-out shapes and other collections, added as squares."""
    calibrated = calibration_of("hopper").of("dense_16bit")
    m, n, k = calibrated.shapes[:1].T
    found = predict(problem(card_of(load("nvidia-h100-sxm"), "bf16"), m, n, k), calibrated)
    assert found.distance[0] == 0
    for bound, seconds in ((calibrated.low, found.low_s[0]), (calibrated.high, found.high_s[0])):
        assert abs(math.log(seconds / found.seconds[0])) == pytest.approx(math.sqrt(bound**2 + COLLECTION**2))
    assert found.low_s[0] < found.seconds[0] < found.high_s[0]


@pytest.mark.parametrize("name", ["nvidia-a100-pcie-80g", "nvidia-a100-sxm-80g"])
def test_the_cube_of_16384_lies_in_its_bar(name: str) -> None:
    """38.04 ms dense and 31.25 ms 2:4 in bf16 on an A100 PCIe (vllmbench); 16384 x 16384 x 10240 takes 21.83 ms on an
    SXM card (aiconfigurator), 34.9 ms for 1.6 times the work."""
    accelerator, calibration = load(name), calibration_of("ampere")
    card = card_of(accelerator, "bf16")
    dense = predict(problem(card, 16384, 16384, 16384), calibration.of("dense_16bit"))
    sparse = predict(problem(card, 16384, 16384, 16384, group=4), calibration.of("sparse_16bit"))
    if "pcie" in name:
        assert dense.low_s[0] < 38.04e-3 < dense.high_s[0] and sparse.low_s[0] < 31.25e-3 < sparse.high_s[0]
    else:
        assert dense.low_s[0] < 34.9e-3 < dense.high_s[0]


@pytest.mark.parametrize(
    "name", [f"nvidia-{card}" for card in ("a100-sxm-80g", "h100-sxm", "h100-pcie", "l40s", "b200")]
)
@pytest.mark.parametrize("shape", [(401408, 64, 64), (401408, 256, 64), (802816, 128, 128), (200704, 128, 512)])
def test_two_of_four_makes_next_to_no_difference_where_the_memory_bounds(
    name: str, shape: tuple[int, int, int]
) -> None:
    """7/16 of the weights of at most 0.2 % of the bytes: neither a gain nor a loss worth a word."""
    m, n, k = shape
    assert 2 * n * k / (2 * (m * k + m * n)) < 0.002
    accelerator = load(name)
    calibration, card = calibration_of(accelerator.gpu.calibration), card_of(accelerator, "bf16")
    dense = predict(problem(card, m, n, k), calibration.of("dense_16bit"))
    sparse = predict(problem(card, m, n, k, group=4), calibration.of("sparse_16bit"))
    assert 0.8 < dense.seconds[0] / with_doubt(sparse, dense).seconds[0] < 1.1
    rows = [Pricer(accelerator).gemm(plain_gemm(*shape, "bf16", 16, DENSE, law)) for law in (DENSE, NM(2, 4, "k"))]
    assert 1.0 <= rows[0].latency_s / rows[1].latency_s < 1.1


def test_few_rows_gain_next_to_nothing_on_an_a100() -> None:
    pricer = Pricer(load("nvidia-a100-sxm-80g", {"gpu.sparse_kernels": ""}))
    for m, least, most in ((1, 1.0, 1.12), (4096, 1.45, 1.97)):
        dense, sparse = (
            pricer.gemm(plain_gemm(m, 4096, 4096, "bf16", 16, DENSE, law)) for law in (DENSE, NM(2, 4, "k"))
        )
        assert least <= dense.latency_s / sparse.latency_s < most, m


def test_the_gain_is_believed_as_far_as_it_was_measured() -> None:
    """By hand: at four times the trusted distance a quarter of the logarithm is left; within it, all of it."""
    card = card_of(load("nvidia-a100-sxm-80g"), "bf16")
    m, n, k = np.array([[4096, 4096, 4096], [1, 16, 64]]).T
    calibration = calibration_of("ampere")
    dense = predict(problem(card, m, n, k), calibration.of("dense_16bit"))
    sparse = predict(problem(card, m, n, k, group=4), calibration.of("sparse_16bit"))
    doubted = with_doubt(sparse, dense)
    assert doubted.seconds[0] == sparse.seconds[0] and sparse.distance[0] < NEAR < sparse.distance[1]
    gain, left = (math.log(dense.seconds[1] / times.seconds[1]) for times in (sparse, doubted))
    assert left == pytest.approx(gain * NEAR / sparse.distance[1])
    assert doubted.high_s[1] / doubted.seconds[1] == pytest.approx(sparse.high_s[1] / sparse.seconds[1])


def test_bounds_of_a_network_are_sums_and_at_least_its_launches() -> None:
    rows = [OpRow(name, "", "FF", "einsum", "", "array", latency_s=2e-6, low_s=1e-6, high_s=3e-6) for name in "abc"]
    view = OpRow("view", "", "FF", "transfer", "", "vector_unit")
    assert latency_bounds([*rows, view], 6e-6) == pytest.approx((3e-6, 3 * ONE_BY_ONE_S))
    long = [OpRow("a", "", "FF", "einsum", "", "array", latency_s=1e-3, low_s=8e-4, high_s=1.2e-3)]
    assert latency_bounds(long, 1e-3) == pytest.approx((8e-4, 1.2e-3))
    assert latency_bounds(long, 3e-3) == pytest.approx((2.8e-3, 3.2e-3))  # the host takes 2 ms more
    result = simulate(forward(), "nvidia-h100-sxm")
    assert sum("9 of 10 measurements" in note for note in result.notes) == 1
    assert all(row.low_s <= row.latency_s <= row.high_s for row in result.rows)
    assert all(row.low_s == row.high_s == 0 for row in simulate(forward(), "sat-vcu1525").rows)


def test_elementwise_work_may_take_no_time() -> None:
    relu = Vector("relu", "", "FF", ("x",), ("y",), "relu", 64, 1.0, elementwise=True)
    norm = Vector("norm", "", "FF", ("x",), ("y",), "layer_norm", 64, 5.0)
    assert unit_bounds(relu, 1e-3) == pytest.approx((0.0, 1e-3 * math.exp(UNSEEN_BAR)))
    assert unit_bounds(norm, 1e-3)[0] == pytest.approx(1e-3 * math.exp(-UNSEEN_BAR))

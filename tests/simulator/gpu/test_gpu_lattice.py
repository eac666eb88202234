"""Lattices of measured cards: monotone, small, met at their nodes, and silent where other things were measured."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import load
from zerocast.analysis.calibration.lattices import monotone
from zerocast.simulator import plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.fit.lattice import UNIT, Lattice, lattice_of
from zerocast.simulator.gpu.predict import predict
from zerocast.simulator.gpu.problem import problem

CARDS = {"nvidia-a100-sxm-80g": "ampere", "nvidia-h100-sxm": "hopper", "nvidia-h200-sxm": "hopper"}
SIDE = st.integers(1, 70000)


def lattice(card: str) -> Lattice:
    known = lattice_of(card, "dense_16bit")
    assert known is not None
    return known


def seconds(card: str, m: object, n: object, k: object, **how: object) -> np.ndarray:
    products = problem(card_of(load(card), "bf16"), m, n, k, **how)  # type: ignore[arg-type]
    calibrated = calibration_of(CARDS[card]).of("dense_16bit")
    return predict(products, calibrated, lattice=lattice(card)).seconds


@pytest.mark.parametrize("card", CARDS)
def test_a_lattice_is_monotone_finite_and_small(card: str) -> None:
    known = lattice(card)
    assert all((np.diff(known.log_s, axis=axis) >= 0).all() for axis in range(3))
    assert np.isfinite(known.log_s).all() and "aiconfigurator" in known.about
    folder = files("zerocast.accelerators") / "lattices"
    assert all(len(each.read_bytes()) < 65536 for each in folder.iterdir())


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CARDS)), st.integers(1, 65536), st.integers(32, 65536), st.integers(32, 65536),
       st.integers(0, 2), st.floats(1.0, 3.0))  # fmt: skip
def test_more_takes_no_less(card: str, m: int, n: int, k: int, axis: int, more: float) -> None:
    sides = [np.array([side, side]) for side in (m, n, k)]
    sides[axis][1] = min(int(sides[axis][0] * more) + 1, 65536)
    less, most = seconds(card, *sides)
    assert less <= most * (1 + 1e-9)


@pytest.mark.parametrize("card", CARDS)
def test_nodes_are_met_and_other_measurements_left_alone(card: str) -> None:
    known = lattice(card)
    at = (20, 10, 12)
    m, n, k = (axis[place] for axis, place in zip(known.axes, at, strict=True))
    assert seconds(card, m, n, k)[0] == pytest.approx(np.exp(known.log_s[at]), rel=1e-9)
    model = predict(
        problem(card_of(load(card), "bf16"), m, n, k, repeats=True), calibration_of(CARDS[card]).of("dense_16bit")
    )
    assert seconds(card, m, n, k, repeats=True)[0] == model.seconds[0]


def test_a_card_that_was_changed_still_answers_to_its_figures() -> None:
    gemm = plain_gemm(4096, 4096, 4096, "bf16", 16)
    slow, as_built = (
        Pricer(load("nvidia-h100-sxm", {"technology.clock_hz": hertz})).gemm(gemm).latency_s for hertz in (9e8, 1.83e9)
    )
    assert slow > 1.5 * as_built


def test_nobody_measured_the_other_cards() -> None:
    assert lattice_of("nvidia-l40s", "dense_16bit") is None
    assert lattice_of("nvidia-h100-sxm", "sparse_16bit") is None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_made_monotone_lies_between_the_running_bounds(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(5, 4, 3))
    made = monotone(values)
    assert all((np.diff(made, axis=axis) >= 0).all() for axis in range(3))
    rising = np.add.outer(np.add.outer(np.arange(5.0), np.arange(4.0)), np.arange(3.0))
    assert np.array_equal(monotone(rising), rising)
    assert (np.diff(np.round(made / UNIT), axis=0) >= 0).all()

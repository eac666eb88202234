"""Properties of zero-skipping engines that hold for any masks: what is multiplied, and that zeros never cost time."""

from __future__ import annotations

import numpy as np
import pytest
from engine_cycles import random_configuration
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.simulator import plain_gemm
from zerocast.simulator.laws.lanes.losses import EngineCycles
from zerocast.simulator.laws.lanes.times.expected import expected_cycles
from zerocast.simulator.laws.lanes.times.walked import walked_cycles
from zerocast.workloads.patterns import DENSE, Uniform

quick = settings(max_examples=60, deadline=None, derandomize=True)
Bits = np.ndarray


def walk(fields: dict, a: Bits, w: Bits, runs: bool = True) -> EngineCycles:
    bits = (fields["input_run_bits"], fields["weight_run_bits"]) if runs else (None, None)
    skips = (fields["skip_input"], fields["skip_weight"])
    return walked_cycles(a, np.swapaxes(w, 1, 2), fields["skipping"], fields["arrangement"], skips, bits)


@quick
@given(st.integers(0, 10**6))
def test_all_products_of_nonzeros_are_made_and_no_others(seed: int) -> None:
    fields = random_configuration(np.random.default_rng(seed))._asdict()
    a, w = fields["a"], fields["w"]
    found = walk(fields, a, w)
    counted = [bits if skip else np.ones_like(bits) for bits, skip in
               ((a, fields["skip_input"]), (w, fields["skip_weight"]))]  # fmt: skip
    pairs = (counted[0].astype(int) @ counted[1].astype(int)).sum()
    assert found.ideal * fields["skipping"].multipliers == pytest.approx(pairs)
    assert found.cycles >= found.ideal * (1 - 1e-6)


@quick
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_more_zeros_never_take_longer(seed: int, share: float) -> None:
    """Without run fields: there a zero in place of a nonzero can lengthen a run and cost a padding word."""
    fields = random_configuration(np.random.default_rng(seed))._asdict()
    keep = np.random.default_rng(seed + 1).random(fields["a"].shape) < share
    fewer, all_of_them = (walk(fields, a, fields["w"], runs=False) for a in (fields["a"] & keep, fields["a"]))
    assert fewer.cycles <= all_of_them.cycles * (1 + 1e-6) + 1e-6


@quick
@given(st.integers(0, 10**6))
def test_a_batch_of_equal_products_in_turn_takes_their_sum(seed: int) -> None:
    fields = random_configuration(np.random.default_rng(seed))._asdict()
    if fields["arrangement"].batch.lanes > 1 or fields["arrangement"].batch.tile != 1:
        return
    one = walk(fields, fields["a"][:1], fields["w"][:1])
    three = walk(fields, np.repeat(fields["a"][:1], 3, axis=0), np.repeat(fields["w"][:1], 3, axis=0))
    fill = fields["skipping"].fill_cycles if fields["skipping"].wait == "never" and one.cycles else 0.0
    assert three.cycles - fill == pytest.approx(3 * (one.cycles - fill), rel=1e-6)


@quick
@given(st.integers(0, 10**6))
def test_dense_products_are_expected_exactly(seed: int) -> None:
    """Nothing is random: the expectation is the walk, whatever the lanes wait for."""
    fields = random_configuration(np.random.default_rng(seed))._asdict()
    _, m, k = fields["a"].shape
    n = fields["w"].shape[2]
    gemm = plain_gemm(m, n, k, "fp16", 16, DENSE, DENSE)
    shares = np.ones(1), np.ones(1)
    expected = expected_cycles(gemm, fields["skipping"], fields["arrangement"], shares, (None, None))
    walked = walk(fields, np.ones((1, m, k), dtype=bool), np.ones((1, k, n), dtype=bool), runs=False)
    if fields["skipping"].wait == "step" and fields["skipping"].queue:
        assert walked.cycles * 0.6 <= expected.cycles <= walked.cycles * 1.6
    else:
        assert expected.cycles == pytest.approx(walked.cycles, rel=1e-3, abs=1)


@pytest.mark.parametrize("density", [0.0, 1e-6])
def test_next_to_no_nonzeros(density: float) -> None:
    """No work, or hardly any: no division by nothing, no negative cycles."""
    from zerocast.accelerators import load, templates
    from zerocast.simulator.laws.lanes import engine_cycles

    gemm = plain_gemm(64, 64, 256, "fp16", 16, Uniform(density), Uniform(density))
    for name in templates():
        if load(name).skipping is not None:
            for masks in (False, True):
                found = engine_cycles(gemm, load(name), masks)
                assert 0 <= found.cycles < 64 * 64 * 256 and np.isfinite(found.cycles), name

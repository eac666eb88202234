"""Multiplications counted where nonzeros of both sides meet, against loops over every one of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import walk_tiles, windows

from zerocast.accelerators import load, templates
from zerocast.simulator import plain_gemm
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.gemm import Conv, Gemm, Operand
from zerocast.simulator.products.pairs import effectual_macs, met_share
from zerocast.workloads.patterns import DENSE, Mask, PerChannel, Uniform

M, N, K = 64, 32, 128
CHIPS = [name for name in templates() if load(name).gpu is None]


def half(rank: str, rows: int, first: bool) -> Mask:
    """The first or the second half of K is full, the other empty."""
    bits = np.zeros((rows, K), dtype=bool)
    bits[:, : K // 2] = first
    bits[:, K // 2 :] = not first
    return Mask.of(bits, (rank, "k"))


@pytest.mark.parametrize("fidelity", ["analytic", "tile"])
@pytest.mark.parametrize("name", CHIPS)
def test_disjoint_masks_meet_nowhere(name: str, fidelity: str) -> None:
    """Half of each operand is nonzero, and no pair of nonzeros meets; overlapping halves meet in half of the pairs."""
    rates = load(name).compute.rates
    dtype = "fp16" if "fp16" in rates else next(iter(rates))
    for first, truth in ((False, 0), (True, M * N * K // 2)):
        gemm = plain_gemm(M, N, K, dtype, 16, half("m", M, True), half("n", N, first))
        row = Pricer(load(name), fidelity=fidelity).gemm(gemm)
        assert row.effectual_macs == truth
        modes = [getattr(load(name).sparsity, side).mode for side in ("input", "weight")]
        if all(mode in ("gate", "skip") for mode in modes):  # then what does not meet switches no multiplier
            dense = Pricer(load(name), fidelity=fidelity).gemm(plain_gemm(M, N, K, dtype, 16))
            assert row.flops == 2 * truth and row.mac_j == pytest.approx(dense.mac_j * truth / gemm.macs)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 2))
def test_pairs_of_a_padded_grouped_convolution(seed: int, size: int, stride: int) -> None:
    """Every multiplication looked at by itself; the padding counts as nonzero."""
    rng = np.random.default_rng(seed)
    g, b, c, k, taps, image = 2, 2, 3, 2, 3, 2 * size + 2
    x, w = rng.random((b, g, c, image, image)) < 0.6, rng.random((g, k, c, taps, taps)) < 0.4
    out = (image + 2 - taps) // stride + 1
    conv = Conv(b, c, image, image, (taps, taps), (out, out), (stride, stride), (1, 1), windows(stride))
    fiber = (("c", c), ("r", taps), ("s", taps))
    m, depth, pad = b * out * out, c * taps * taps, conv.padding[0]
    gemm = Gemm(
        g, m, k, depth,
        Operand(x.size // g, 16, Mask.of(x, ("n", "g", "c", "p+r", "q+s")), fiber,
                across=(("n", b), ("p", out), ("q", out))),
        Operand(k * depth, 16, Mask.of(w, ("g", "k", "c", "r", "s")), fiber, across=(("k", k),)),
        Operand(m * k, 16), "fp16", conv, (("g", g),),
    )  # fmt: skip
    met = rows = 0
    for gi, bi, ci, p, q, r, s in product(*map(range, (g, b, c, out, out, taps, taps))):
        y, z = p * stride + r - pad, q * stride + s - pad
        inside = 0 <= y < image and 0 <= z < image
        one = not inside or bool(x[bi, gi, ci, y, z])
        rows += one
        met += one * int(w[gi, :, ci, r, s].sum())
    assert effectual_macs(gemm) == pytest.approx(met)
    assert met_share(gemm, ("weight",)) == pytest.approx(w.mean())
    assert met_share(gemm, ()) == 1.0


def test_densities_of_channels_meet_channel_by_channel() -> None:
    """0.9 meets 0.9 and 0.1 meets 0.1: 0.41 of the pairs, where the mean densities would give 0.25."""
    shares = (0.9, 0.1) * (K // 2)
    both = plain_gemm(M, N, K, "fp16", 16, PerChannel("k", shares), PerChannel("k", shares))
    assert met_share(both, ("input", "weight")) == pytest.approx((0.81 + 0.01) / 2)
    one = plain_gemm(M, N, K, "fp16", 16, PerChannel("k", shares), Uniform(0.3))
    assert effectual_macs(one) == pytest.approx(M * N * K * 0.5 * 0.3)
    assert effectual_macs(plain_gemm(M, N, K, "fp16", 16, DENSE, half("n", N, True))) == M * N * K / 2


def test_a_gated_multiplier_sees_where_zeros_lie() -> None:
    """eyeriss-v1 gates zero inputs alone: its energy depends on their number, not on where the weights are zero."""
    rows = [Pricer(load("eyeriss-v1")).gemm(plain_gemm(M, N, K, "fp16", 16, half("m", M, True), half("n", N, first)))
            for first in (False, True)]  # fmt: skip
    assert rows[0].mac_j == rows[1].mac_j and rows[0].effectual_macs != rows[1].effectual_macs
    gating = load("eyeriss-v1", {"sparsity.weight.mode": "gate"})
    apart, together = (Pricer(gating).gemm(plain_gemm(M, N, K, "fp16", 16, half("m", M, True), half("n", N, first)))
                       for first in (False, True))  # fmt: skip
    assert apart.flops == 0 and apart.mac_j + apart.register_j < together.mac_j + together.register_j


def test_groups_of_different_zeros_weigh_the_tiles_they_fill() -> None:
    """Two products of a batch, one empty and one full: bytes and steps are the mean of both, not those of the first."""
    from zerocast.simulator.products.mapping import mapping_of

    bits = np.zeros((2, 8, 64), dtype=bool)
    bits[1] = True
    side = (("k", 64),)
    gemm = Gemm(2, 8, 8, 64, Operand(512, 16, DENSE, side, across=(("m", 8),)),
                Operand(512, 16, Mask.of(bits, ("g", "n", "k")), side, across=(("n", 8),)), Operand(64, 16), "fp16",
                outer=(("g", 2),))  # fmt: skip
    fields = {"memories.dram.formats": {"weight": ["bitmask"]}, "sparsity.weight.mode": "skip"}
    chip = load("systolic-8x8", {**fields, "sparsity.weight.sync_group": 8})
    walk = walk_tiles(gemm, chip, mapping_of(gemm, "output_stationary", "mnk", 8, 8, 64))
    assert walk.read_bytes == pytest.approx(2 * 512 * 2 + 512 * 2 + 2 * 512 / 8)
    assert walk.cycles == 2 * 0 + 64 + 2 * (8 + 8 - 2)

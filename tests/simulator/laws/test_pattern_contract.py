"""What every pattern owes every engine: the two fidelities agree, for shipped patterns and for one made here.

A pattern says how its zeros lie (`draw`) and, where that is all there is to know, their shares along K. The engine
knows no class of patterns, so that one that it has never seen is priced like the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import windows

from zerocast.accelerators import load, templates
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.laws.lanes.operands import cut, operand_bits
from zerocast.simulator.notes import AGREE
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.patterns import (
    DENSE,
    NM,
    Block,
    Extents,
    Mask,
    Occupancy,
    Pattern,
    PerChannel,
    Uniform,
    channel_group,
    tile_size,
)  # fmt: skip

ENGINES = [name for name in templates() if load(name).skipping is not None]
M, N, K = 96, 80, 256


@dataclass(frozen=True, slots=True)
class Stripes(Pattern):
    """A user's own: `run` slices along a rank are full, the next `run` are empty."""

    rank: str
    run: int

    @property
    def density(self) -> float:
        return 0.5

    def occupancy(self, tile: Extents) -> Occupancy:
        size = tile_size(tile)
        return Occupancy(size / 2, size**2 / 4, size)

    def draw(self, sizes: Mapping[str, int], rng: np.random.Generator) -> tuple[tuple[str, ...], np.ndarray]:
        full = np.arange(sizes[self.rank]) // self.run % 2 == 0
        return (self.rank,), full


def patterns(row: str, rows: int) -> dict[str, Pattern]:
    """Patterns of an operand whose other rank is `row`, of `rows` places."""
    rng = np.random.default_rng(5)
    uneven = rng.uniform(0.1, 0.9, rows)
    return {
        "2:4 along K": NM(2, 4, "k"), "2:8 along K": NM(2, 8, "k"), "2:4 across": NM(2, 4, row),
        "blocks": Block(((row, 16), ("k", 16)), 0.4), "blocks along K": Block((("k", 4),), 0.4),
        "empty rows": channel_group(row, 0.5), "empty channels": channel_group("k", 0.5, 4),
        "densities of rows": PerChannel(row, tuple(uneven)),
        "mask": Mask.of(rng.random((rows, K)) < 0.4, (row, "k")),
        "mask of uneven rows": Mask.of(rng.random((rows, K)) < uneven[:, None], (row, "k")),
        "stripes of rows": Stripes(row, 16), "stripes of channels": Stripes("k", 8),
    }  # fmt: skip


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("side", ["weight", "input"])
def test_the_fidelities_agree_where_zeros_depend_on_one_another(name: str, side: str) -> None:
    accelerator = load(name)
    for what, law in patterns(*(("n", N) if side == "weight" else ("m", M))).items():
        other = DENSE if what.startswith("densities") else Uniform(0.5)
        a, w = (other, law) if side == "weight" else (law, other)
        gemm = plain_gemm(M, N, K, "fp16", 16, a, w)
        expected, walked = (engine_cycles(gemm, accelerator, masks) for masks in (False, True))
        assert expected.cycles == pytest.approx(walked.cycles, rel=0.03), what
        if name != "sigma":  # which may hold either operand: where both take as long, their nonzeros differ
            assert expected.ideal == pytest.approx(walked.ideal, rel=0.03), what


def laws() -> st.SearchStrategy[Pattern]:
    """Patterns of a weight [n, k], correlated or not."""
    share = st.floats(0.05, 1.0)
    return st.one_of(
        st.builds(Uniform, share),
        st.builds(lambda n, m, rank: NM(min(n, m), m, rank), st.integers(1, 8), st.sampled_from([2, 4, 8]),
                  st.sampled_from("nk")),
        st.builds(lambda n, k, s: Block((("n", n), ("k", k)), s), st.integers(1, 24), st.integers(1, 24), share),
        st.builds(lambda rank, s, g: channel_group(rank, s, g), st.sampled_from("nk"), share, st.integers(1, 8)),
        st.builds(Stripes, st.sampled_from("nk"), st.integers(1, 32)),
    )  # fmt: skip


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(ENGINES), laws(), st.sampled_from([(64, 96, 200), (130, 64, 256), (33, 257, 96)]))
def test_any_pattern_on_any_engine_agrees_or_is_told(name: str, law: Pattern, size: tuple[int, int, int]) -> None:
    """Through the door: the results of the two fidelities are within 3 %, or the tile result says how far apart."""
    m, n, k = size
    tensors = {"x": Tensor("x", (m, k), "fp16", "input"), "w": Tensor("w", (n, k), "fp16", "weight", law),
               "y": Tensor("y", (m, n), "fp16", "activation")}  # fmt: skip
    index = tuple(tuple(((rank, 1),) for rank in ranks) for ranks in ("mk", "nk", "mn"))
    op = Einsum("fc", "fc", "FF", ("x", "w"), ("y",), {"m": m, "n": n, "k": k}, index, {}, "linear")  # type: ignore[arg-type]
    workload = Workload("one", tensors, (op,))
    analytic, tile = (simulate(workload, name, fidelity=fidelity) for fidelity in ("analytic", "tile"))  # type: ignore[arg-type]
    (before,), (after,) = analytic.rows, tile.rows
    assert after.expected_cycles == pytest.approx(before.cycles, rel=1e-9)
    told = any("--fidelity analytic expects: fc" in note for note in tile.notes)
    assert told == (abs(after.cycles / before.cycles - 1) > AGREE)
    assert not any("--fidelity analytic" in note for note in analytic.notes)
    if not isinstance(law, Uniform):
        assert after.cycles == pytest.approx(before.cycles, rel=0.03)


def test_cycles_of_a_pattern_made_here_by_hand() -> None:
    """cambricon-x: 16 PEs take a filter each, 16 pairs a cycle, and meet after each 16 filters. Dense filters in
    groups of 16, every other group empty: of 8 rounds an input row, 4 take 512 / 16 cycles and 4 none. The last sums
    climb the 4 levels of a tree of 16 adders."""
    gemm = plain_gemm(10, 128, 512, "fp16", 16, DENSE, Stripes("n", 16))
    for masks in (False, True):
        assert engine_cycles(gemm, load("cambricon-x"), masks).cycles == 10 * 4 * 512 / 16 + 4
    # half of each round's filters empty: the other half still takes its time
    halves = replace(gemm, weight=replace(gemm.weight, pattern=Stripes("n", 8)))
    assert engine_cycles(halves, load("cambricon-x")).cycles == 10 * 8 * 512 / 16 + 4


def test_a_pattern_that_does_not_say_how_its_zeros_lie_cannot_be_made() -> None:
    class Silent(Pattern):
        density = 0.5  # type: ignore[assignment]

        def occupancy(self, tile: Extents) -> Occupancy:
            return Uniform(0.5).occupancy(tile)

    with pytest.raises(TypeError, match="draw"):
        Silent()  # type: ignore[abstract]


def test_products_too_large_to_walk_are_priced_from_some_of_their_rounds() -> None:
    """Three of four groups of 128 filters empty, on engines that meet after each 16 or each 1,024 outputs: what is left
    takes its time as if the others were not there."""
    full = np.repeat([True, False, False, False], 128)
    mask = Mask.of(np.repeat(full[:, None], 1024, axis=1), ("n", "k"))
    gemm = plain_gemm(4096, 512, 1024, "fp16", 16, Uniform(0.6), mask)
    left = plain_gemm(4096, 128, 1024, "fp16", 16, Uniform(0.6), DENSE)
    for name in ("cambricon-x", "sparten"):
        whole, part = (engine_cycles(each, load(name)).cycles for each in (gemm, left))
        assert whole == pytest.approx(part, rel=0.05), name


def test_operands_are_cut_from_the_outermost_rank() -> None:
    gemm = plain_gemm(1000, 8, 64, "fp16", 16, Stripes("m", 1))
    assert operand_bits(cut(gemm, "input", most=64 * 10), "input").shape == (1, 10, 64)
    assert operand_bits(cut(gemm, "input", most=1), "input").shape == (1, 1, 64)
    assert cut(gemm, "input") == gemm


def padded(batch: int) -> Gemm:
    """A 3 x 3 convolution of 7 x 7 images with padding, dense input."""
    from zerocast.simulator.products.gemm import Conv, Operand

    conv, fiber = Conv(batch, 32, 7, 7, (3, 3), (7, 7), (1, 1), (1, 1), windows()), (("c", 32), ("r", 3), ("s", 3))
    rows = batch * 49
    return Gemm(
        1, rows, 48, 288,
        Operand(batch * 32 * 49, 16, DENSE, fiber, across=(("n", batch), ("p", 7), ("q", 7))),
        Operand(48 * 288, 16, DENSE, fiber, across=(("k", 48),)), Operand(rows * 48, 16), "fp16", conv,
    )  # fmt: skip


@pytest.mark.parametrize("name", ENGINES)
def test_padding_costs_the_same_in_both_fidelities(name: str) -> None:
    """19 of 21 places along each side lie in the image: engines that gather windows skip the others."""
    gemm = padded(4)
    assert gemm.conv is not None and gemm.conv.inside == pytest.approx((19 / 21) ** 2)
    expected, walked = (engine_cycles(gemm, load(name), masks).cycles for masks in (False, True))
    assert expected == pytest.approx(walked, rel=0.03)

"""Sparse kernels: their law against counts by hand and closed forms, which of them is taken, and why others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import Accelerator, AcceleratorError, load
from zerocast.accelerators.schema import KernelConstants, SparseKernel
from zerocast.accelerators.tables import sparse_kernels
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.gpu import gpu_rows, refusal
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.predict import UNSEEN_BAR
from zerocast.simulator.gpu.sparse import Matrix, Option, options, sparse_times
from zerocast.workloads import Einsum, Tensor, Workload
from zerocast.workloads.patterns import DENSE, VNM, Block, Mask, Pattern, Uniform

ADA, GA102, H100 = load("nvidia-rtx4090"), load("nvidia-rtx3090"), load("nvidia-h100-sxm")
CARD = card_of(GA102, "fp16")
BARE = KernelConstants(floor_s=1e-6, dram=0.5)


def kernel(**values: object) -> SparseKernel:
    given = {"name": "own", "like": "none", "types": ["fp16"], "rows": (1, 64)} | values
    return SparseKernel(constants={"own": BARE}, sources={"own": "made here"}, **given)  # type: ignore[arg-type]


def times(own: SparseKernel, constants: KernelConstants = BARE, **sides: float) -> float:
    given = {"m": 1, "n": 64, "k": 128, "filled": 0.25, "density": 0.25} | sides
    return float(sparse_times(own, constants, CARD, Matrix(**given)).seconds)


def test_bytes_counted_by_hand() -> None:
    """64 x 128 at a quarter: 2,048 values of 2 bytes and indices of 4, 128 activations, all met, and 64 results."""
    moved = 2048 * (2 + 4) + 2 * (128 + 64)
    assert times(kernel(index_bits=32)) == pytest.approx(1e-6 + moved / (0.5 * CARD.dram_bytes_per_s))


def test_entries_are_rounded_and_short_indices_store_zeros() -> None:
    """32 of 128 fill two steps of 32 at a density just above; runs of 15 zeros ask for one that is stored."""
    own = kernel(step=32)
    assert times(own, filled=0.26, density=0.26) == times(own, filled=0.5, density=0.26)
    law = sparse_times(kernel(index_span=16), BARE, CARD, Matrix(1, 64, 128, 0.1, 0.1))
    rng = np.random.default_rng(0)
    zeros = np.diff(np.flatnonzero(rng.random(400_000) < 0.1)) - 1
    stored = 1 + np.mean(zeros // 16)
    assert float(law.macs) / (64 * 128 * 0.1) == pytest.approx(stored, rel=0.01)


def test_gathering_takes_whole_sectors_that_rows_share() -> None:
    """One row of 16 bits: sectors hold 16 places, of which a row of density 0.1 meets 1 - 0.9^16. Of many columns, 40
    rows side by side fetch what any of them meets once."""
    alone = KernelConstants(floor_s=1e-9, dram=1.0, gather=1e-3)
    cycles = CARD.sms * CARD.clock_hz
    busy = min(4096 / (4 * CARD.sms), 1.0)
    one = times(kernel(), alone, n=4096, k=1600, filled=0.1, density=0.1)
    assert one == pytest.approx(4096 * 100 * (1 - 0.9**16) * 32 / (1e-3 * cycles * busy), rel=1e-3)
    shared = alone.model_copy(update={"sharing_rows": 40.0, "tall_rows": 1e-9})
    many = times(kernel(), shared, m=64, n=4096, k=1600, filled=0.1, density=0.1)
    assert many == pytest.approx(4096 * 1600 * (1 - 0.9**40) / 40 * 128 / (1e-3 * cycles * busy), rel=1e-3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 4096), st.integers(1, 65536), st.integers(16, 65536), st.floats(0.005, 0.9), st.floats(1.0, 3.0),
    st.sampled_from(sparse_kernels("ga10x")),
)  # fmt: skip
def test_more_of_anything_takes_no_less_time(
    m: int, n: int, k: int, density: float, more: float, own: SparseKernel
) -> None:
    constants = own.constants["ga10x"]
    base = times(own, constants, m=m, n=n, k=k, filled=density, density=density)
    assert np.isfinite(base) and base >= constants.floor_s
    denser = min(density * more, 1.0)
    assert times(own, constants, m=m, n=n, k=k, filled=denser, density=denser) >= base * (1 - 1e-9)
    assert times(own, constants, m=m, n=n * 2, k=k, filled=density, density=density) >= base * (1 - 1e-9)
    assert times(own, constants, m=m * 2, n=n, k=k, filled=density, density=density) >= base * (1 - 1e-9)


@pytest.mark.parametrize(("pattern", "taken"), [
    (Uniform(0.02), "csr-spmm"), (Block((("n", 8), ("k", 1)), 0.1), "vector-spmm"),
    (Block((("n", 128), ("k", 16)), 0.1), "block-spmm"), (VNM(128, 2, 20, "k", "n"), "panel-spmm"),
])  # fmt: skip
def test_each_structure_has_its_kernel(pattern: Pattern, taken: str) -> None:
    found = options(plain_gemm(4096, 1024, 4000, "fp16", 16, DENSE, pattern), GA102, CARD)
    assert found[0].kernel.name == taken


def test_a_row_says_which_kernel_and_both_times() -> None:
    def row(density: float, m: int = 1) -> object:
        return gpu_rows([plain_gemm(m, 4096, 14336, "fp16", 16, DENSE, Uniform(density))], ADA)[0]

    sparse, dense, many = row(0.2), row(0.95), row(0.2, 4096)
    assert (sparse.dataflow, sparse.order, sparse.skipped) == ("sparse_kernel", "bitmap-spmv", "weight")
    assert "bitmap-spmv, MACKO, " in sparse.note and "dense" in sparse.note and sparse.low_s < sparse.latency_s
    assert dense.fallback == many.fallback == "slower" and "no sparse kernel pays" in dense.note
    assert dense.order == "gemv" and many.dataflow == "tensor_core" and not dense.skipped
    assert sparse.dram_weight_bytes == pytest.approx(4096 * 14336 * 0.2 * 2.5 / (1 - 0.8**16))


def test_uneven_rows_of_a_mask_cost_time() -> None:
    """The same zeros, spread evenly or in every fourth row alone: the fullest of four that run together has all."""
    even = np.zeros((1024, 1024), dtype=bool)
    even[:, ::8] = True
    uneven = np.zeros_like(even)
    uneven[::4, ::2] = True
    masks = [Mask.of(bits, ("n", "k")) for bits in (even, uneven)]
    seconds = [
        next(each.seconds for each in options(gemm, GA102, CARD) if each.kernel.name == "csr-spmm")
        for gemm in (plain_gemm(4096, 1024, 1024, "fp16", 16, DENSE, mask) for mask in masks)
    ]
    assert seconds[1] > 2 * seconds[0]


def test_zeros_that_no_kernel_takes() -> None:
    few = plain_gemm(4, 64, 64, "fp16", 16, DENSE, Uniform(0.1))
    eight = plain_gemm(64, 64, 64, "int8", 8, DENSE, Uniform(0.1))
    assert "takes one row of activations" in refusal(few, ADA) and "8 rows or more, not 4" in refusal(few, ADA)
    assert "runs fp16, not int8" in refusal(eight, ADA)
    assert "not a batch of 3" in refusal(replace(few, m=64, batch=3), ADA)
    assert refusal(plain_gemm(64, 64, 64, "fp16", 16, DENSE, Uniform(0.1)), ADA) == ""
    assert gpu_rows([few], ADA)[0].fallback == "refused"


def test_a_kernel_that_nobody_timed_there_must_win_by_its_bar() -> None:
    """The same constants on an H100, where they are borrowed, and for 64 rows, which nobody timed on a GA102 either."""

    def found(card: Accelerator, m: int) -> Option:
        gemm = plain_gemm(m, 4096, 4096, "fp16", 16, DENSE, Uniform(0.05))
        return next(each for each in options(gemm, card, card_of(card, "fp16")) if each.kernel.name == "csr-spmm")

    assert found(GA102, 4096).measured and found(GA102, 4096).trusted_s == found(GA102, 4096).seconds
    for option in (found(H100, 4096), found(GA102, 64)):
        assert not option.measured and option.trusted_s == pytest.approx(option.seconds * np.exp(UNSEEN_BAR))
        assert "never measured, up to" in option.words()


def test_a_cards_own_table_names_a_generation() -> None:
    with pytest.raises(AcceleratorError, match="no generation 'volta'; there are ada, ga10x, other, turing"):
        gpu_rows([plain_gemm(1, 64, 64, "fp16", 16)], load("nvidia-rtx4090", {"gpu.sparse_kernels": "volta"}))
    with pytest.raises(ValueError, match="name the same generations"):
        SparseKernel(name="x", like="y", types=("fp16",), rows=(1, 1), constants={"a": BARE}, sources={"b": "made"})


def test_a_network_says_which_kernel_pays() -> None:
    """A wide layer for one row of activations at a fifth of its weights, and the same at nearly all."""

    def note(density: float) -> str:
        tensors = {
            "x": Tensor("x", (1, 8192), "fp16", "input"),
            "w": Tensor("w", (8192, 8192), "fp16", "weight", Uniform(density)),
            "y": Tensor("y", (1, 8192), "fp16", "activation"),
        }
        index = ((("m", 1),), (("k", 1),)), ((("n", 1),), (("k", 1),)), ((("m", 1),), (("n", 1),))
        sizes = {"m": 1, "n": 8192, "k": 8192}
        op = Einsum("fc", "fc", "FF", ("x", "w"), ("y",), sizes, index, {}, "linear")
        return " ".join(simulate(Workload("wide", tensors, (op,)), ADA).notes)

    assert "bitmap-spmv makes the zeros of 1 layers pay: fc" in note(0.2)
    assert "1 layers lose by being sparse and run dense: fc" in note(0.95)

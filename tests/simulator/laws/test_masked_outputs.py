"""Products of which only some outputs are asked for: what arrays leave out of them, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from zerocast.accelerators import load
from zerocast.simulator import Result, simulate
from zerocast.workloads.ir import Einsum, Tensor, Workload
from zerocast.workloads.patterns import DENSE, Block, Mask, Pattern, Uniform

M, N, K = 256, 512, 1024
RANKS = ("m", "n", "k")


def product(mask: Pattern, ranks: tuple[str, str, str] = RANKS) -> Workload:
    m, n, k = ranks
    tensors = {
        "a": Tensor("a", (M, K), "fp16", "input"),
        "b": Tensor("b", (K, N), "fp16", "input"),
        "dw": Tensor("dw", (M, N), "fp16", "gradient"),
    }
    index = (((m, 1),), ((k, 1),)), (((k, 1),), ((n, 1),)), (((m, 1),), ((n, 1),))
    op = Einsum("dw", "layer", "WU", ("a", "b"), ("dw",), {m: M, n: N, k: K}, index, {2: mask})
    return Workload("sampled", tensors, (op,))


def priced(mask: Pattern, name: str, mode: str, fidelity: str = "analytic", **settings: object) -> Result:
    return simulate(
        product(mask), load(name, {"sparsity.output.mode": mode, **settings}), fidelity=fidelity, objective="cycles"
    )


def blocks(rows: int, columns: int, share: float, seed: int = 0) -> Mask:
    """A real mask of whole blocks."""
    kept = np.random.default_rng(seed).random((M // rows, N // columns)) < share
    return Mask.of(np.kron(kept, np.ones((rows, columns), dtype=bool)), ("m", "n"))


ARRAYS = ("sat-vcu1525", "systolic-32x32", "sparten", "nvidia-a100-sxm-80g")


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_leaves_nothing_out_computes_all_and_says_so(name: str) -> None:
    dense, masked = priced(DENSE, name, "none"), priced(Uniform(0.2), name, "none")
    (row,), (whole,) = masked.rows, dense.rows
    assert row.effectual_macs == pytest.approx(0.2 * M * N * K)
    assert (row.cycles, row.flops, row.dram_write_bytes) == (whole.cycles, whole.flops, whole.dram_write_bytes)
    assert (row.energy_j, row.latency_s) == (whole.energy_j, whole.latency_s)
    assert any("outputs that their mask leaves out" in note for note in masked.notes)
    assert not any("mask" in note for note in dense.notes)


@pytest.mark.parametrize("fidelity", ["analytic", "tile"])
@pytest.mark.parametrize("name", ["sat-vcu1525", "systolic-32x32"])
def test_folds_of_which_nothing_is_asked_take_no_time(name: str, fidelity: str) -> None:
    side = load(name).compute.rows
    mask = blocks(side, side, 0.2)
    dense = priced(DENSE, name, "skip", fidelity, **{"compute.dataflows": ["output_stationary"]}).rows[0]
    found = priced(mask, name, "skip", fidelity, **{"compute.dataflows": ["output_stationary"]}).rows[0]
    assert found.cycles == pytest.approx(mask.density * dense.cycles, rel=1e-6)
    assert found.dram_write_bytes == pytest.approx(mask.density * M * N * 2)
    assert found.output_computed == pytest.approx(mask.density)
    assert found.flops == pytest.approx(2 * mask.density * M * N * K)
    scattered = priced(Uniform(0.2), name, "skip", fidelity, **{"compute.dataflows": ["output_stationary"]}).rows[0]
    assert scattered.cycles == pytest.approx(dense.cycles, rel=1e-6)  # no fold is empty
    assert scattered.flops == pytest.approx(0.2 * dense.flops)


def test_arrays_that_keep_an_operand_leave_no_output_out() -> None:
    only = {"compute.dataflows": ["weight_stationary"]}
    dense = priced(DENSE, "systolic-32x32", "skip", **only).rows[0]
    assert priced(blocks(32, 32, 0.2), "systolic-32x32", "skip", **only).rows[0].cycles == dense.cycles


def test_a_gated_output_takes_no_energy_but_time() -> None:
    dense, found = (priced(mask, "sat-vcu1525", "gate").rows[0] for mask in (DENSE, Uniform(0.25)))
    assert found.cycles == dense.cycles and found.dram_write_bytes == dense.dram_write_bytes
    assert found.mac_j == pytest.approx(0.25 * dense.mac_j)


@pytest.mark.parametrize("mask", [Uniform(0.2), blocks(1, 1, 0.2), Block((("m", 32), ("n", 32)), 0.25)])
def test_lanes_that_walk_one_output_each_leave_single_ones_out(mask: Pattern) -> None:
    never = {"skipping.wait": "never"}
    dense = priced(DENSE, "sparten", "skip", **never).rows[0]
    expected, walked = (priced(mask, "sparten", "skip", fidelity, **never).rows[0] for fidelity in ("analytic", "tile"))
    assert expected.ideal_cycles == pytest.approx(mask.density * dense.ideal_cycles, rel=0.05)
    assert walked.cycles == pytest.approx(expected.cycles, rel=0.05)
    assert mask.density * dense.cycles <= walked.cycles < 0.5 * dense.cycles


def test_waiting_for_the_fullest_lane_is_what_single_outputs_lose() -> None:
    """1,024 lanes of 128 outputs each, of which each has Binomial(128, 0.2): 25.6 on average, 3.2 standard deviations
    of 4.5 more in the fullest of so many."""
    found = priced(Uniform(0.2), "sparten", "skip", **{"skipping.wait": "never"}).rows[0]
    assert found.cycles / found.ideal_cycles == pytest.approx((25.6 + 3.2 * 4.53) / 25.6, rel=0.05)


def test_a_gpu_launches_no_tile_of_which_nothing_is_asked() -> None:
    mask = blocks(128, 128, 0.5)
    found = priced(mask, "nvidia-a100-sxm-80g", "skip").rows[0]
    assert 0 < mask.density < 1
    assert found.flops == pytest.approx(2 * mask.density * M * N * K)
    assert found.effectual_macs == pytest.approx(mask.density * M * N * K)
    assert found.dram_write_bytes == pytest.approx(mask.density * M * N * 2)
    assert (found.m, found.n, found.macs) == (M, N, M * N * K)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("fidelity", ["analytic", "tile"])
def test_names_of_ranks_change_nothing(name: str, fidelity: str) -> None:
    machine = load(name, {"sparsity.output.mode": "skip"})
    kept = np.random.default_rng(3).random((M // 128, N // 128)) < 0.5
    bits = np.kron(kept, np.ones((128, 128), dtype=bool))
    one = simulate(product(Mask.of(bits, ("m", "n"))), machine, fidelity=fidelity)
    other = simulate(product(Mask.of(bits, ("z", "a")), ("z", "a", "q")), machine, fidelity=fidelity)
    assert one.rows == other.rows


def test_the_gradient_of_a_masked_weight_is_stored_under_its_mask() -> None:
    whole, kept = (priced(Uniform(0.25), "sat-vcu1525", mode).footprint.peak for mode in ("none", "skip"))
    assert (whole["gradients"], kept["gradients"]) == (2 * M * N, 2 * M * N // 4)


def test_lanes_that_wait_take_the_time_of_outputs_that_nobody_asks_for() -> None:
    """Of 32 lanes that meet after each chunk, at a density of 0.2 one has an output to make in all but 0.8^32 (0.08 %)
    of the rounds; whole blocks of 32 are left out."""
    scattered, waiting = Uniform(0.2), priced(Uniform(0.2), "sparten", "skip")
    assert waiting.rows[0].output_computed == 1.0
    assert any("waited for" in note for note in waiting.notes)
    assert priced(scattered, "sparten", "skip").rows[0].cycles == priced(DENSE, "sparten", "skip").rows[0].cycles
    mask = blocks(32, 32, 0.2)
    assert priced(mask, "sparten", "skip").rows[0].output_computed == pytest.approx(mask.density)


def test_an_engine_that_samples_products_trains_under_scattered_masks_in_the_time_of_what_is_kept() -> None:
    """128 PEs of 1,024 outputs each, of which the fullest has Binomial(1024, 0.2) and 2.58 standard deviations more."""
    dense, masked = (simulate(product(mask), load("extensor"), objective="cycles").rows[0]
                     for mask in (DENSE, Uniform(0.2)))  # fmt: skip
    fullest = 0.2 + 2.58 * (0.2 * 0.8 / 1024) ** 0.5
    assert dense.cycles == pytest.approx(M * N * K / 128, rel=0.01)
    assert masked.cycles == pytest.approx(fullest * dense.cycles, rel=0.01)
    assert masked.output_computed == pytest.approx(fullest, rel=0.01)

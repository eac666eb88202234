"""Energy by hand for one tiny product, and who pays for zeros."""

from __future__ import annotations

import itertools
import math

import pytest

from zerocast.accelerators import AcceleratorError, energy_table, load
from zerocast.simulator import best_mapping, gemm_cost, plain_gemm
from zerocast.simulator.energy import access_j_per_byte, executed_macs
from zerocast.simulator.laws.array import skips
from zerocast.simulator.products.mapping import mapping_of
from zerocast.workloads.patterns import DENSE, NM, Uniform

PJ = 1e-12


def test_energy_of_one_tile_by_hand() -> None:
    """4 x 4 x 8 fp16 on 4 x 4 PEs, one tile, 8 KiB buffers. 128 MACs; 64 + 64 operand bytes in, 32 out.

    Table: 2.0 pJ a MAC, 0.009 pJ a register bit, 10 pJ for 64 bits of 8 KiB SRAM, 8 pJ a bit of LPDDR4.
    """
    sides = ("input", "weight", "output")
    accelerator = load("systolic-4x4", {f"memories.{side}_buffer.capacity_bytes": 8192 for side in sides})
    gemm = plain_gemm(4, 4, 8, "fp16", 16)
    energy = gemm_cost(gemm, accelerator, mapping_of(gemm, "output_stationary", "mnk", 4, 4, 8)).energy
    offchip = 64 + 64 + 32
    ports = 64 + 64 + 16 * 4  # operands to the array, 16 sums of 32 bits back
    assert float(energy.mac_j) == pytest.approx(128 * 2.0 * PJ)
    assert float(energy.register_j) == pytest.approx(128 * (16 + 16 + 2 * 32) * 0.009 * PJ)
    assert float(energy.buffer_j) == pytest.approx((ports + offchip) * 8 * 10 / 64 * PJ)
    assert float(energy.dram_j) == pytest.approx(offchip * 8 * 8.0 * PJ)
    assert float(energy.total_j) == pytest.approx(
        float(energy.mac_j) + float(energy.register_j) + float(energy.buffer_j) + float(energy.dram_j)
    )


def test_on_chip_energy_scales_and_dram_does_not() -> None:
    gemm = plain_gemm(32, 32, 32, "fp16", 16)
    one, two = (best_mapping(gemm, load("systolic-8x8", {"technology.energy_scale": scale})).energy for scale in (1, 2))
    for part in ("mac_j", "register_j", "buffer_j"):
        assert float(getattr(two, part)) == pytest.approx(2 * float(getattr(one, part)))
    assert float(two.dram_j) == float(one.dram_j)


def test_sram_energy_is_log_log_between_points_and_grows() -> None:
    table = energy_table("cmos-45nm")
    for size, value in table.sram_pj_per_bit:
        assert float(table.sram_j_per_bit(size)) == pytest.approx(value * PJ)
    (low, at_low), (high, at_high) = table.sram_pj_per_bit[:2]
    assert float(table.sram_j_per_bit(math.sqrt(low * high))) == pytest.approx(math.sqrt(at_low * at_high) * PJ)
    sizes = table.sram_j_per_bit([2**power for power in range(8, 28)])
    assert all(a < b for a, b in itertools.pairwise(sizes))


def test_dram_is_priced_by_its_kind() -> None:
    for name, kind in (("sat-vcu1525", "ddr4"), ("tpu-like-128", "hbm2")):
        accelerator = load(name)
        joules = energy_table("cmos-45nm").dram_pj_per_bit[kind] * 8 * PJ
        assert access_j_per_byte(accelerator, accelerator.dram) == pytest.approx(joules)


@pytest.mark.parametrize(
    ("mode", "pattern", "share"),
    [
        ("none", Uniform(0.25), 1.0),
        ("gate", Uniform(0.25), 0.25),
        ("skip", Uniform(0.25), 0.25),
        ("structured_skip", Uniform(0.25), 1.0),
        ("structured_skip", NM(2, 8, "k"), 0.25),
        ("gate", NM(2, 8, "k"), 0.25),
    ],
)
def test_who_multiplies_zeros(mode: str, pattern: object, share: float) -> None:
    accelerator = load("systolic-8x8", {"sparsity.weight.mode": mode})
    gemm = plain_gemm(16, 16, 64, "fp16", 16, DENSE, pattern)  # type: ignore[arg-type]
    table = energy_table("cmos-45nm")
    energy = best_mapping(gemm, accelerator).energy
    assert float(energy.mac_j) == pytest.approx(gemm.macs * share * table.mac_j("fp16"))


def test_gating_saves_energy_and_no_time() -> None:
    gemm = plain_gemm(64, 64, 256, "fp16", 16, DENSE, Uniform(0.2))
    gating = load("systolic-8x8", {"sparsity.weight.mode": "gate"})
    plain, gated = best_mapping(gemm, load("systolic-8x8")), best_mapping(gemm, gating)
    assert float(gated.cycles) == float(plain.cycles) and skips(gemm, gating, gated.mapping.dataflow) == ""
    assert float(gated.energy.total_j) < float(plain.energy.total_j)


def test_gating_both_sides_counts_pairs() -> None:
    """Zeros of the two sides are independent: a PE that gates on either multiplies where both are nonzero."""
    accelerator = load("systolic-8x8", {"sparsity.weight.mode": "gate", "sparsity.input.mode": "gate"})
    gemm = plain_gemm(16, 16, 64, "fp16", 16, Uniform(0.5), Uniform(0.5))
    assert float(executed_macs(gemm, accelerator, 1.0, "")) == pytest.approx(0.25 * gemm.macs)


def test_structured_skipping_and_gating_multiply() -> None:
    """SAT with a gate on the inputs: 2:8 weights leave a quarter of the steps, half of which meet a zero input."""
    accelerator = load("sat-vcu1525", {"sparsity.input.mode": "gate"})
    gemm = plain_gemm(64, 64, 256, "fp16", 16, Uniform(0.5), NM(2, 8, "k"))
    assert best_mapping(gemm, accelerator).energy.mac_j == pytest.approx(gemm.macs / 8 * 2.0 * PJ)


def test_unknown_entries_name_what_there_is() -> None:
    with pytest.raises(AcceleratorError, match="no table 'cmos-1nm'; there are cmos-45nm"):
        energy_table("cmos-1nm")
    with pytest.raises(AcceleratorError, match="mac_pj has no 'fp12'"):
        energy_table("cmos-45nm").mac_j("fp12")
    assert set(energy_table("cmos-45nm").sources) >= {"mac_pj.fp16", "dram_pj_per_bit.ddr4", "sram_pj_per_bit"}

"""Energy and memory of GPUs, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_workloads import forward

from zerocast.accelerators import AcceleratorError, energy_table, load
from zerocast.simulator import SimulationError, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.power import idle_w, switching
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.storage import Storage, Stored
from zerocast.workloads import Einsum, Tensor, Vector, Workload
from zerocast.workloads.patterns import NM

CARD = "nvidia-a100-pcie-40g"


def test_a_tables_text_and_values_agree() -> None:
    """8 bits take half of 16, fp64 989 / 67 of it, fp32 0.72 of a CUDA operation; GDDR6X 7.25 / 7.5 of GDDR6."""
    for name in ("tensor-core-4nm", "tensor-core-7nm", "tensor-core-8nm"):
        table = energy_table(name)
        bf16 = table.mac_j("bf16")
        assert table.mac_j("fp16") == bf16 and table.mac_j("tf32") == pytest.approx(2 * bf16)
        assert table.mac_j("fp8") == table.mac_j("int8") == pytest.approx(bf16 / 2, rel=1e-3)
        assert table.mac_j("fp64") == pytest.approx(bf16 * 989 / 67, rel=1e-3)
        assert table.mac_j("fp32") == pytest.approx(0.72 * table.flop_j("fp32"), rel=0.03)
    dram = energy_table("tensor-core-8nm").dram_pj_per_bit
    assert dram["gddr6x"] == pytest.approx(dram["gddr6"] * 7.25 / 7.5, rel=1e-2)


def test_kernel_times_keep_the_rate_that_they_were_calibrated_with() -> None:
    """What is left of 700 W at 400e12 multiply-accumulates a second on an H100, and likewise of 400 W and 350 W."""
    for name, mac_j in (("nvidia-h100-sxm", (700 - 120) / 400e12), ("nvidia-a100-sxm-80g", (400 - 80) / 140e12),
                        ("nvidia-l40s", (350 - 40) / 115e12)):  # fmt: skip
        card = card_of(load(name), "bf16")
        assert card.power_macs_per_s == pytest.approx(load(name).gpu.tdp_w / mac_j, rel=0.01)
    assert card_of(load("nvidia-h100-sxm"), "fp8").power_macs_per_s == pytest.approx(2 * 482.8e12)


def test_voltage_follows_the_clock() -> None:
    """0.7 up to 73 % of 1,410 MHz, from there in a line to 1; clocks of 26 W with rate and square of the voltage."""
    for clock, volts in ((510e6, 0.7), (1029e6, 0.7), (0.865 * 1410e6, 0.85), (1410e6, 1.0)):
        card = load("nvidia-a100-pcie-40g", {"technology.clock_hz": clock})
        assert switching(card) == pytest.approx(volts**2, rel=1e-3)
        assert idle_w(card) == pytest.approx(46 + 26 * clock / 1410e6 * volts**2, rel=1e-3)
        row = Pricer(card).gemm(plain_gemm(4096, 4096, 4096, "bf16", 16))
        read, write = 2 * 2 * 4096**2 - 0.36 * 40e6, 2 * 4096**2
        drawn = 4096**3 * 3.23e-12 * volts**2 + (read + write) * 8 * 8.35e-12
        assert row.energy_j == pytest.approx(min(drawn, (250 - idle_w(card)) * row.latency_s), rel=1e-3)


def test_a_power_limit_lowers_the_clock_and_lengthens_the_run() -> None:
    """A network that would draw more is run at the clock at which it draws the limit: on its own at that clock, too."""
    work = chain(12, 4096)
    free = simulate(work, load(CARD))
    assert free.energy_j / free.latency_s > 200
    kept = simulate(work, load(CARD, {"gpu.power.limit_w": 200.0}))
    assert kept.energy_j / kept.latency_s == pytest.approx(200, rel=0.004)
    assert kept.latency_s > free.latency_s and kept.clock_hz < free.clock_hz
    locked = simulate(work, load(CARD, {"technology.clock_hz": kept.clock_hz}))
    assert (locked.latency_s, locked.energy_j) == (kept.latency_s, kept.energy_j)
    assert any("200 W" in note and "SM clock" in note for note in kept.notes)
    asked = simulate(work, load(CARD), objective="energy", fidelity="tile")
    assert (asked.meta["objective"], asked.fidelity) == ("energy", "tile")
    assert (asked.latency_s, asked.energy_j) == (free.latency_s, free.energy_j)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"technology.clock_hz": 2e9}, "technology.clock_hz: 2e+09 Hz is beyond the card's 1.41e+09"),
        ({"gpu.power.limit_w": 40.0}, "gpu.power.limit_w: 40 W leave nothing above technology.static_power_w, 46 W"),
        ({"gpu.power.limit_w": 300.0}, "power.limit_w: 300 W is beyond the card's 250 W"),
        ({"gpu.power.limit_w": -1.0}, "greater than 0"),
    ],
)
def test_what_a_card_cannot_be_kept_to_is_refused(overrides: dict[str, float], words: str) -> None:
    with pytest.raises(AcceleratorError) as told:
        load(CARD, overrides)
    assert words in str(told.value) and "\n" not in str(told.value)


def test_a_limit_that_no_clock_keeps_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"draws \d+ W at its lowest clock, more than the 48 W"):
        simulate(chain(12, 4096), load(CARD, {"gpu.power.limit_w": 48.0}))


def chain(length: int, size: int) -> Workload:
    """Square products, one after another."""
    names = [f"x{at}" for at in range(length + 1)]
    tensors = {name: Tensor(name, (size, size), "bf16", "activation") for name in names}
    tensors |= {f"w{at}": Tensor(f"w{at}", (size, size), "bf16", "weight") for at in range(length)}
    index = ((("m", 1),), (("k", 1),)), ((("n", 1),), (("k", 1),)), ((("m", 1),), (("n", 1),))
    sizes = dict.fromkeys("mnk", size)
    return Workload("chain", tensors, tuple(
        Einsum(f"fc{at}", "", "FF", (f"x{at}", f"w{at}"), (f"x{at + 1}",), sizes, index) for at in range(length)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "most"), [("nvidia-rtx4090", 0.6, 1.0), ("nvidia-h100-sxm", 0.8, 1.0), ("nvidia-l40s", 0.8, 1.0)]
)
def test_power_at_full_rate(name: str, least: float, most: float) -> None:
    """A card whose tensor cores are busy draws most of its limit, and never more."""
    accelerator = load(name)
    row = Pricer(accelerator).gemm(plain_gemm(8192, 8192, 8192, "bf16", 16))
    drawn_w = accelerator.technology.static_power_w + row.energy_j / row.latency_s
    assert least * accelerator.gpu.tdp_w < drawn_w <= most * accelerator.gpu.tdp_w * (1 + 1e-9)


def test_a_streamed_byte_costs_what_was_measured() -> None:
    """A ReLU of 2 x 268 MB on an A100 at 900 MHz, where the voltage is 0.7: 66.8 pJ a byte of the memory less what the
    L2 holds, and 0.49 of 142 pJ a byte on the way and of 40 pJ for each element."""
    elements = 1 << 27
    tensors = {name: Tensor(name, (elements,), "bf16", "activation") for name in "xy"}
    relu = Workload("relu", tensors, (Vector("relu", "", "FF", ("x",), ("y",), "relu", elements, 1.0),))
    (row,) = simulate(relu, load(CARD, {"technology.clock_hz": 900e6})).rows
    assert row.dram_j == pytest.approx((4 * elements - 0.36 * 40e6) * 66.8e-12, rel=1e-3)
    assert row.vector_j == pytest.approx(0.49 * (4 * elements * 142.4e-12 + elements * 40e-12), rel=1e-3)
    assert row.energy_j == row.dram_j + row.vector_j


def test_a_layer_that_runs_dense_is_stored_dense() -> None:
    """Weights of 32 x 128 in 16 bits: 8,192 bytes dense, 9/16 of them where the sparse kernel runs; a layer so small
    loses by it. Whoever keeps a layer dense does not compress it."""
    work = forward()
    (fc,) = (op for op in work.ops if op.name == "fc")
    law = {1: NM(2, 4, "k")}
    sparse = replace(work, ops=tuple(replace(op, patterns=law) if op is fc else op for op in work.ops))
    result = simulate(sparse, "nvidia-h100-sxm")
    assert [row.skipped for row in result.rows if row.op == "fc"] == [""]
    assert result.footprint.weight_bytes == 32 * 128 * 2 == simulate(work, "nvidia-h100-sxm").footprint.weight_bytes
    assert footprint(sparse, Storage(("nm_offsets",))).weight_bytes == 32 * 128 * 2 * 9 // 16
    assert footprint(sparse, Storage(("nm_offsets",), given={"w": Stored(32 * 128 * 2)})) == footprint(work)

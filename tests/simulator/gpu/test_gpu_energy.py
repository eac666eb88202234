"""Energy and memory of GPUs, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_workloads import forward

from zerocast.accelerators import energy_table, load
from zerocast.simulator import plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.program.footprint import footprint
from zerocast.workloads import Tensor, Vector, Workload
from zerocast.workloads.patterns import NM

TABLE = energy_table("tensor-core-4nm")


def test_a_mac_is_what_its_formula_says() -> None:
    """What is left of an H100's 700 W at 400e12 multiply-accumulates a second; half of it in 8 bits."""
    assert TABLE.mac_j("bf16") == TABLE.mac_j("fp16") == pytest.approx((700 - 120) / 400e12)
    assert TABLE.mac_j("fp8") == TABLE.mac_j("int8") == pytest.approx(TABLE.mac_j("bf16") / 2)
    for name, left_w, rate in (("nvidia-a100-sxm-80g", 400 - 80, 140e12), ("nvidia-l40s", 350 - 40, 115e12)):
        scale = load(name).technology.energy_scale
        assert TABLE.mac_j("bf16") * scale == pytest.approx(left_w / rate, rel=0.01)


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
    """188 pJ a byte on an H100 SXM (HBM3's 32 and 156 on the way): what a ReLU of 2 x 268 MB takes beside its
    arithmetic; on an A100 the limit of 400 W holds."""
    elements = 1 << 27
    tensors = {name: Tensor(name, (elements,), "bf16", "activation") for name in "xy"}
    relu = Workload("relu", tensors, (Vector("relu", "", "FF", ("x",), ("y",), "relu", elements, 1.0),))
    (row,) = simulate(relu, "nvidia-h100-sxm").rows
    arithmetic = elements * 1.5e-12
    assert row.energy_j - arithmetic == pytest.approx(4 * elements * 188e-12, rel=5e-3)
    (row,) = simulate(relu, "nvidia-a100-sxm-80g").rows
    busy_s = row.latency_s - load("nvidia-a100-sxm-80g").host.launch_overhead_s
    assert row.energy_j / busy_s <= 340.001


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
    assert footprint(sparse, offsets=True).weight_bytes == 32 * 128 * 2 * 9 // 16
    assert footprint(sparse, offsets=True, dense={"w"}) == footprint(work)

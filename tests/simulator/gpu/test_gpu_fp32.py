"""Products in fp32: on CUDA cores, or in tf32 where a regime says so."""

from __future__ import annotations

import pytest

from zerocast.accelerators import load
from zerocast.simulator import SimulationError, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.gpu.card import card_of
from zerocast.workloads import capture
from zerocast.workloads.patterns import NM
from zerocast.workloads.zoo import build


def seconds(card: str, m: int, n: int, k: int, dtype: str = "fp32") -> float:
    return Pricer(load(card)).gemm(plain_gemm(m, n, k, dtype, 32)).latency_s


@pytest.mark.parametrize(("card", "tera"), [
    ("nvidia-a100-sxm-80g", 19.5), ("nvidia-v100-sxm", 15.7), ("nvidia-t4", 8.1), ("nvidia-rtx3090", 35.6),
    ("nvidia-rtx4090", 82.6), ("nvidia-p100-pcie", 9.3), ("nvidia-titan-xp", 12.15), ("nvidia-p4", 5.44),
    ("nvidia-l4", 30.3),
])  # fmt: skip
def test_datasheet_rates(card: str, tera: float) -> None:
    """TFLOP/s of NVIDIA's product pages."""
    assert card_of(load(card), "fp32").macs_per_s * 2e-12 == pytest.approx(tera, rel=0.01)


def test_large_products_reach_the_cuda_cores() -> None:
    """2 * 4096 * 8192 * 2048 operations took 7.29 ms on an A100, 95 % of 19.5 TFLOP/s."""
    ideal = 4096 * 8192 * 2048 / 9.75e12
    assert ideal < seconds("nvidia-a100-pcie-80g", 4096, 8192, 2048) < ideal / 0.9
    tensor = seconds("nvidia-a100-pcie-80g", 4096, 8192, 2048, "tf32")
    assert tensor < ideal / 5  # half of the 16-bit rate is eight times that of the CUDA cores


def test_a_vector_streams_its_matrix() -> None:
    """16384^2 weights of 4 bytes are 1.07 GB: at 1,935 GB/s no less than 0.55 ms, and not bound by tiles of 64 rows,
    which would compute for 1.8 ms."""
    assert 0.55e-3 < seconds("nvidia-a100-pcie-80g", 1, 16384, 16384) < 0.95e-3


def test_the_power_limit_holds_a_small_card() -> None:
    """A T4 multiplies half as fast in long products as its lanes could: 70 W."""
    ideal = 8192**3 / 4.07e12
    assert 1.7 * ideal < seconds("nvidia-t4", 8192, 8192, 8192) < 2.4 * ideal


def test_convolutions_run_in_tf32_and_linear_layers_do_not() -> None:
    """By PyTorch's defaults; an engine runs both in tf32, a card before Ampere none."""
    workload = capture(*build("resnet18", 32), dtype="fp32")

    def slow(card: str, regime: str) -> dict[str, float]:
        result = simulate(workload, load(card, {"gpu.regime": regime}))
        return {row.op: row.latency_s for row in result.rows if row.kind == "einsum"}

    eager, engine, older = (slow(*each) for each in (
        ("nvidia-a100-sxm-80g", "eager"), ("nvidia-a100-sxm-80g", "engine"), ("nvidia-v100-sxm", "eager")))  # fmt: skip
    macs = 115605504 * 32  # of a 3x3 convolution of 64 channels
    conv = "layer1.0.conv1"
    assert eager[conv] < macs / 9.75e12 < older[conv]
    assert engine["fc"] != eager["fc"]


def test_conditions_of_a_measurement() -> None:
    """Weights that repeat come from the L2: 8.4 MB off chip at 2,039 GB/s are 4.1 us, which a product of 16 rows saves
    in part; quantising comes on top, 9 us and more."""
    product = plain_gemm(16, 2048, 2048, "int8", 8)

    def timed(**changed: object) -> float:
        card = load("nvidia-a100-sxm-80g", {f"gpu.{name}": value for name, value in changed.items()})
        return Pricer(card).gemm(product).latency_s

    assert timed(operands="warm") < timed()
    assert timed(quantises=True) > timed() + 8.9e-6


def test_both_kernels_of_a_2_4_product_are_told() -> None:
    """Also where the 2:4 kernel loses and the dense one runs."""
    for m in (64, 16384):
        row = Pricer(load("nvidia-h100-pcie")).gemm(plain_gemm(m, 2048, 2048, "bf16", 16, b=NM(2, 4, "k")))
        assert row.latency_s == min(row.dense_kernel_s, row.sparse_kernel_s) and row.dense_kernel_s > 0
        assert (row.fallback == "slower") == (row.sparse_kernel_s > row.dense_kernel_s)


def test_a_card_without_tensor_cores_has_fp32_alone() -> None:
    with pytest.raises(SimulationError, match="nvidia-p4 has no kernels for products in fp16; it has fp32"):
        seconds("nvidia-p4", 64, 64, 64, "fp16")

"""3 x 3 convolutions in fp32 on CUDA cores, against times that DeepBench published (Apache-2.0) and counts by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zerocast.accelerators import load
from zerocast.simulator.cost import OpRow
from zerocast.simulator.gpu import gpu_rows
from zerocast.simulator.products.gemm import Conv, Gemm, Operand, plain_gemm

SAMPLES, CHANNELS, SIDE, OUT = 16, 256, 28, 512


def convolution(
    taps: int = 3, stride: int = 1, dtype: str = "fp32", bits: int = 32, channels: int = CHANNELS, n: int = OUT
) -> Gemm:
    """16 images of 28 x 28 places, padded to keep their size."""
    out = SIDE // stride
    product = plain_gemm(SAMPLES * out * out, n, channels * taps * taps, dtype, bits)
    conv = Conv(SAMPLES, channels, SIDE, SIDE, (taps, taps), (out, out), (stride, stride), (1, 1), ())
    image = Operand(SAMPLES * channels * SIDE * SIDE, bits, product.input.pattern, product.input.fiber,
                    across=product.input.across)  # fmt: skip
    return replace(product, input=image, conv=conv)


def row_of(gemm: Gemm, card: str = "nvidia-v100-sxm") -> OpRow:
    (row,) = gpu_rows([gemm], load(card))
    return row


@pytest.mark.parametrize(("card", "published_ms"), [("nvidia-v100-sxm", 0.801), ("nvidia-t4", 2.377)])
def test_a_convolution_outruns_the_peak_of_its_products_as_measured(card: str, published_ms: float) -> None:
    """29.6 GFLOP in 0.80 ms are 37 TFLOP/s on a V100 of 15.7: only fewer multiplications can be."""
    assert row_of(convolution(), card).latency_s * 1e3 == pytest.approx(published_ms, rel=0.1)


def test_its_multiplications_and_bytes_are_those_of_36_products_of_tiles() -> None:
    """7 x 7 tiles of 4 x 4 outputs for each image; every transform reads what it is given and writes 36 for each 16."""
    row, tiles = row_of(convolution()), SAMPLES * 7 * 7
    assert row.order.startswith("Winograd") and row.flops == 2 * 36 * tiles * CHANNELS * OUT
    image, taps, result = SAMPLES * CHANNELS * SIDE**2, 9 * CHANNELS * OUT, SAMPLES * OUT * SIDE**2
    points = 36 * (tiles * CHANNELS + CHANNELS * OUT + tiles * OUT)
    assert row.dram_read_bytes == 4 * (image + taps + points) and row.dram_write_bytes == 4 * (result + points)
    assert row.utilisation == pytest.approx(row.flops / 2 / row.latency_s / 7.85e12, rel=0.01)


@pytest.mark.parametrize(
    "gemm",
    [convolution(1), convolution(5), convolution(stride=2), convolution(dtype="fp16", bits=16),
     replace(convolution(), conv=None)],
)  # fmt: skip
def test_other_windows_and_types_run_as_products(gemm: Gemm) -> None:
    assert row_of(gemm).order.startswith("split-K")


def test_few_channels_run_as_they_are() -> None:
    """From 3 to 16 channels the transforms move more than the product takes."""
    assert row_of(convolution(channels=3, n=16)).order.startswith("split-K")

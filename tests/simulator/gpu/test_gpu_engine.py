"""Kernels that an engine or a convolution has of its own, beside those of the matrix library."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zerocast.accelerators import load
from zerocast.simulator.gpu import gpu_rows
from zerocast.simulator.products.gemm import Conv, Gemm, plain_gemm

CARD = "nvidia-a100-sxm-80g"


def linear(dtype: str, bits: int) -> Gemm:
    """A layer of BERT-large, 4,096 rows, 4,096 of 1,024."""
    return plain_gemm(4096, 4096, 1024, dtype, bits)


def share_of_peak(regime: str, dtype: str, bits: int, peak: float) -> float:
    (row,) = gpu_rows([linear(dtype, bits)], load(CARD, {"gpu.regime": regime}))
    return 2 * 4096 * 4096 * 1024 / row.latency_s / peak


def test_int8_reaches_the_share_of_16_bits_in_an_engine_alone() -> None:
    """An A100's datasheet says 624 TOP/s in int8 and 312 in fp16; the library's int8 kernels were measured at 57 %."""
    sixteen = share_of_peak("engine", "fp16", 16, 312e12)
    assert share_of_peak("graph", "fp16", 16, 312e12) == sixteen
    assert share_of_peak("engine", "int8", 8, 624e12) == pytest.approx(sixteen, abs=0.06)
    assert share_of_peak("graph", "int8", 8, 624e12) == pytest.approx(0.57, abs=0.03)


def test_a_kernel_that_gathers_windows_goes_through_k_in_one_piece() -> None:
    """The last 3 x 3 convolution of ResNet-50 for one image: eight tiles of 64 x 64 are all the blocks that there are,
    and each makes 4,608 x 64 x 64 of 1,024 multiply-adds a cycle; a library splits the same product over more SMs."""
    product = plain_gemm(49, 512, 4608, "fp16", 16)
    conv = Conv(1, 512, 7, 7, (3, 3), (7, 7), (1, 1), (1, 1), ())
    library, windows = gpu_rows([product, replace(product, conv=conv)], load(CARD))
    assert library.order != "split-K 1" and windows.order == "split-K 1" and windows.tile_k == 4608
    assert windows.latency_s > max(4608 * 64 * 64 / 1024 / 1.41e9, library.latency_s)

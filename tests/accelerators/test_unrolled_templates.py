"""Shipped arrays of channels and pixels: cycles by hand, and the machines that their publications describe."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from zerocast.accelerators import Accelerator, load
from zerocast.simulator import simulate
from zerocast.workloads import capture


def _cycles(layer: nn.Module, size: int, channels: int, accelerator: Accelerator) -> float:
    """Cycles of a layer's product in the type that the array is built for."""
    dtype = accelerator.compute.native_type
    work = capture(layer, torch.zeros(1, channels, size, size), name="layer", dtype=dtype)
    rows = simulate(work, accelerator, objective="cycles").rows
    return next(row.cycles for row in rows if row.kind == "einsum")


@pytest.mark.parametrize(
    ("layer", "size", "channels", "cycles"),
    [
        (nn.Conv2d(3, 64, 7, 2, 3), 224, 3, 307_328),
        (nn.Conv2d(256, 384, 3, 1, 1), 13, 256, 221_184),
        (nn.Conv2d(512, 512, 3, 1, 1, groups=512), 14, 512, 73_728),
    ],
)
def test_edge_tpu_like_takes_blocks_of_channels_and_pixels(
    layer: nn.Module, size: int, channels: int, cycles: int
) -> None:
    assert _cycles(layer, size, channels, load("edge-tpu-like")) == cycles


def test_a_first_layer_leaves_output_channels_idle() -> None:
    """64 output x 4 input channels on 32 filters of 3: half of the columns wait, at each of 9 taps of 112 x 112."""
    array = load("edge-tpu-like", {"compute.unroll": {"out_channels": 64, "in_channels": 4}, "compute.rows": 64,
                                   "compute.cols": 4})  # fmt: skip
    assert _cycles(nn.Conv2d(3, 32, 3, 2, 1), 224, 3, array) == 112_896


def test_simba_like_shares_places_and_output_channels_between_its_pes() -> None:
    """28 x 28 places, 128 output channels and 64 inputs of 9 taps: 8 x 8 channels at once on each of 16 PEs."""
    cycles = _cycles(nn.Conv2d(64, 128, 3, 1, 1), 28, 64, load("simba-like"))
    assert cycles == 28 * 28 * (128 // 8) * (64 // 8) * 9 / 16


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("diannao", 28 * 28 * (128 // 16) * (64 // 16) * 9),
        ("nvdla-large", 28 * 28 * math.ceil(128 / 32) * (64 // 64) * 9),
        ("nvdla-small", 28 * 28 * (128 // 8) * (64 // 8) * 9),
        ("shidiannao", math.ceil(28 / 8) ** 2 * 128 * 64 * 9),
    ],
)
def test_cycles_of_a_convolution_by_hand(name: str, cycles: int) -> None:
    assert _cycles(nn.Conv2d(64, 128, 3, 1, 1), 28, 64, load(name)) == cycles


@pytest.mark.parametrize(
    ("name", "published", "within"),
    [
        ("diannao", {"multipliers": 256}, 0.0),
        ("shidiannao", {"multipliers": 64}, 0.0),
        ("nvdla-large", {"multipliers": 2048}, 0.0),
        ("nvdla-small", {"multipliers": 64}, 0.0),
        ("edge-tpu-like", {"multipliers": 1024}, 0.0),
        ("tpu-v1", {"peak_ops_per_s": 92e12}, 0.01),
        ("tpu-v4-like", {"peak_ops_per_s": 275e12}, 0.01),
        ("gemmini-16x16", {"multipliers": 256}, 0.0),
        ("simba-like", {"multipliers": 64, "peak_ops_per_s": 4.01e12}, 0.001),
    ],
)
def test_peak_is_the_published_one(name: str, published: dict[str, Any], within: float) -> None:
    accelerator = load(name)
    found = {"multipliers": accelerator.compute.multipliers, "peak_ops_per_s": 2 * accelerator.peak_macs_per_s}
    for what, value in published.items():
        assert found[what] == pytest.approx(value, rel=within, abs=0)

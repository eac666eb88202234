"""Convolutions of 3 x 3 in fp32 on CUDA cores by Winograd's algorithm F(4x4, 3x3), as cuDNN has it: image and taps are
transformed, 36 products of matrices take the place of one, their results are transformed back, a kernel for each.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: 36 multiplications for 16 outputs in
place of 144. Tensor cores are quicker on windows as they are, and 16 bits too narrow for the transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gpu.card import Card
from zerocast.simulator.gpu.fit.calibration import Calibrated
from zerocast.simulator.gpu.predict import predict
from zerocast.simulator.gpu.problem import problem
from zerocast.simulator.gpu.streaming import streamed_s, streaming_of
from zerocast.simulator.products.gemm import Gemm

SIDE, TAPS = 4, 3
"""Outputs and taps along each side of a tile."""
POINTS = (SIDE + TAPS - 1) ** 2
"""Multiplications of a tile and a pair of channels, one in each of as many products."""
BYTES = 4
"""Of an fp32 value."""


@dataclass(frozen=True, slots=True)
class Winograd:
    """A convolution by Winograd's algorithm. seconds: of all four kernels, without the gap before the first;
    transform_s: of the three that only stream. tiles: of outputs, rows of each product. Bytes are off-chip ones."""

    seconds: float
    transform_s: float
    tiles: int
    macs: int
    input_bytes: float
    weight_bytes: float
    write_bytes: float


def winograd(gemm: Gemm, accelerator: Accelerator, card: Card, calibrated: Calibrated) -> Winograd | None:
    """The algorithm's cost of a product in fp32; None where it is no whole 3 x 3 convolution of stride 1."""
    conv = gemm.conv
    if conv is None or gemm.batch > 1 or gemm.computed is not None or not gemm.mask.is_dense:
        return None
    if conv.kernel != (TAPS, TAPS) or conv.stride != (1, 1) or conv.dilation != (1, 1):
        return None
    tiles = conv.samples * math.prod(-(-side // SIDE) for side in conv.output)
    image, taps, result = (BYTES * each.crossing for each in (gemm.input, gemm.weight, gemm.output))
    sides = ((tiles, conv.channels), (gemm.n, conv.channels), (tiles, gemm.n))
    image_points, taps_points, result_points = (BYTES * POINTS * rows * columns for rows, columns in sides)
    product = predict(
        problem(card, tiles, gemm.n, conv.channels, batch=POINTS, element_bytes=BYTES, out_element_bytes=BYTES),
        calibrated,
    )
    pairs = ((image, image_points), (taps, taps_points), (result_points, result))
    kernel_s = streaming_of(accelerator).floor_s + card.gap_s
    transform_s = sum(float(streamed_s(accelerator, sum(pair))) + kernel_s for pair in pairs)
    return Winograd(
        seconds=float(product.seconds[0]) - min(card.gap_s, calibrated.constants.floor_s) + transform_s,
        transform_s=transform_s, tiles=tiles, macs=POINTS * tiles * gemm.n * conv.channels,
        input_bytes=image + image_points + result_points, weight_bytes=taps + taps_points,
        write_bytes=image_points + taps_points + result_points + result,
    )  # fmt: skip

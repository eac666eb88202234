"""The layer as a row-stationary array sees it: a convolution, or a matrix product as one of 1 x 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zerocast.simulator.gemm import Gemm


@dataclass(frozen=True, slots=True)
class RowLayer:
    """A convolution as the array sees it, one group of it; padding belongs to the input.

    kernel, span: rows and columns of the kernel, without and with dilation. output, padded: rows and columns. share:
    of the padded input that comes from memory.
    """

    groups: int
    samples: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    span: tuple[int, int]
    output: tuple[int, int]
    padded: tuple[int, int]
    stride: int
    share: float

    @property
    def advance(self) -> int:
        """Input rows that one more output row reads; those between the windows of a long stride are not read."""
        return min(self.stride, self.span[0])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all groups."""
        return self.groups * self.psums * self.channels * math.prod(self.kernel)

    @property
    def psums(self) -> int:
        """Output elements of one group."""
        return self.samples * self.filters * math.prod(self.output)

    @property
    def weights(self) -> int:
        """Filter words of one group."""
        return self.filters * self.channels * math.prod(self.kernel)


def row_layer(gemm: Gemm) -> RowLayer:
    """The convolution of a product; one that is none becomes a 1 x 1 convolution on 1 x 1 images, a row a sample."""
    conv = gemm.conv
    if conv is None:
        one = (1, 1)
        return RowLayer(
            gemm.batch, gemm.m, gemm.k, gemm.n, one, one, one, one, 1, min(gemm.input.unique / (gemm.m * gemm.k), 1.0)
        )
    span = tuple((taps - 1) * step + 1 for taps, step in zip(conv.kernel, conv.dilation, strict=True))
    padded = tuple((o - 1) * u + s for o, u, s in zip(conv.output, conv.stride, span, strict=True))
    words = conv.samples * conv.channels * math.prod(padded)
    return RowLayer(
        gemm.batch, conv.samples, conv.channels, gemm.n, conv.kernel, (span[0], span[1]), conv.output,
        (padded[0], padded[1]), conv.stride[0], min(gemm.input.unique / words, 1.0),
    )  # fmt: skip

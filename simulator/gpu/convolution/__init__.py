"""Convolutions that run as no product of windows: depthwise ones, and 3 x 3 ones by Winograd's algorithm."""

from zerocast.simulator.gpu.convolution.direct import direct_seconds, direct_unit, is_depthwise
from zerocast.simulator.gpu.convolution.winograd import Winograd, winograd

__all__ = ["Winograd", "direct_seconds", "direct_unit", "is_depthwise", "winograd"]

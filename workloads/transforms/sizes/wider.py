"""Networks with more channels, heads and hidden dimensions."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from zerocast.workloads.transforms.sizes.narrower import Resizing, free, resized
from zerocast.workloads.transforms.surgery import Changed


def widen(model: nn.Module, factor: float, **how: Unpack[Resizing]) -> Changed:
    """A copy in which every coupled group of channels, heads or hidden dimensions has `factor` times as many places.

    Inputs and results stay; weights of new places are copies of those beside them.
    """
    return resized(model, lambda found, layers: {
        group: [place % group.size for place in range(round(factor * group.size))] for group in free(found, layers)
    }, **how)  # fmt: skip

"""Networks with more channels, heads and hidden dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from zerocast.workloads.transforms.groups.order import EACH
from zerocast.workloads.transforms.narrower import free, resized
from zerocast.workloads.transforms.surgery import Changed


def widen(
    model: nn.Module,
    factor: float,
    *,
    inputs: Any,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
) -> Changed:
    """A copy in which every coupled group of channels, heads or hidden dimensions has `factor` times as many places.

    Inputs and results stay; weights of new places are copies of those beside them.

    layers, dense: names, parents or globs of layers whose groups alone, or not, grow.
    """
    del ends
    return resized(model, inputs, lambda found: {
        group: [place % group.size for place in range(round(factor * group.size))] for group in free(found, layers)
    }, EACH, dense)  # fmt: skip

"""Weights that are stored in few bits."""

from __future__ import annotations

from typing import Unpack

from torch import nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.pruning import Change
from zerocast.workloads.transforms.surgery import Changed, Scope, candidates


def bits(
    model: nn.Module,
    width: int,
    **scope: Unpack[Scope],
) -> Changed:
    """The model itself, of which weights are stored in so many bits, 2 to 8, with a scale for every 128; their numbers
    stay. Of two calls for a layer the later one counts.
    """
    found, left = candidates(model, **scope, parts=True)
    if not found:
        raise WorkloadError(f"{type(model).__name__} has no weights that may be stored in {width} bits")
    account = [Change(each.layer, f"{width}-bit weights", *(each.size,) * 4) for each in found]
    return Changed(model, tuple(account), left, stored={each.name: f"int{width}" for each in found})

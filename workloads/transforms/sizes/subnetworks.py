"""Nested sub-networks: the first of the channels of every group, or the first of the layers of every list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from torch import nn

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.transforms.groups.order import EACH
from zerocast.workloads.transforms.sizes.narrower import Resizing, channel
from zerocast.workloads.transforms.sizes.shorter import erase, last_layers
from zerocast.workloads.transforms.surgery import Changed


def nested(
    model: nn.Module,
    share: float,
    *,
    along: Sequence[str] = ("width",),
    **how: Unpack[Resizing],
) -> Changed:
    """The sub-network of a network whose channels, or layers, are sorted: the first `share` of them.

    along: width, depth, or both.
    """
    if strange := [each for each in along if each not in ("width", "depth")]:
        raise WorkloadError(f"nothing is nested along {strange[0]!r}; write width or depth")
    account: tuple[Any, ...] = ()
    left: dict[str, str] = {}
    if "depth" in along:
        gone = last_layers(model, share)
        if not gone:
            raise WorkloadError("has no list whose last layers are equal, so that they could go")
        changed = erase(model, gone)
        model, account = changed.module, changed.account
    if "width" not in along:
        return Changed(model, account, left)
    how["choice"] = replace(how.get("choice", EACH), order="first")
    narrow = channel(model, share, **how)
    return replace(narrow, account=account + narrow.account)

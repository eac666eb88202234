"""Zeros that a model's weights already hold: masks of torch.nn.utils.prune, and exact zeros left by
removing them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from zerocast.workloads.errors import WorkloadError

_FEWEST_ZEROS = 0.01
"""Share of exact zeros from which a weight counts as pruned: random weights hold next to none."""


def weight_names(model: nn.Module) -> dict[str, str]:
    """Name in the workload of every parameter: its own, without the `_orig` that a live prune mask adds.
    A parameter that is known by several names (tied weights) has its first one everywhere."""
    buffers = {name for name, _ in model.named_buffers()}
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        plain = name.removesuffix("_orig")
        live = plain != name and f"{plain}_mask" in buffers
        names[name] = first.setdefault(id(parameter), plain if live else name)
    return names


def real_masks(model: nn.Module) -> dict[str, Any]:
    """For each weight with zeros, where its nonzeros are (boolean array in the weight's shape), by
    workload name.

    Raises `WorkloadError` for a weight that holds NaN or infinity. Weights without data (meta) are skipped.
    """
    buffers = dict(model.named_buffers())
    masks: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            continue
        data = parameter.detach()
        if data.is_floating_point() and not bool(torch.isfinite(data).all()):
            raise WorkloadError(f"parameter {name!r} holds NaN or infinity; repair or retrain it before capture")
        plain = name.removesuffix("_orig")
        mask = buffers.get(f"{plain}_mask") if plain != name else None
        if mask is not None:
            masks[plain] = (mask.detach() != 0).cpu().numpy()
        elif data.dim() > 1:
            zeros = 1.0 - int(torch.count_nonzero(data)) / max(data.numel(), 1)
            # all zeros is how some layers start, not how a pruned one ends
            if _FEWEST_ZEROS <= zeros < 1.0:
                masks[name] = (data != 0).cpu().numpy()
    return masks

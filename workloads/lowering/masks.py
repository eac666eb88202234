"""What a model calls its weights, and whether they are numbers at all."""

from __future__ import annotations

import torch
from torch import nn

from zerocast.workloads.errors import WorkloadError


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


def check_finite(model: nn.Module) -> None:
    """Raise `WorkloadError` for a weight that holds NaN or infinity. Weights without data (meta) are skipped."""
    for name, parameter in model.named_parameters():
        data = parameter.detach()
        if data.is_meta or not data.is_floating_point():
            continue
        if not bool(torch.isfinite(data.float() if data.itemsize == 1 else data).all()):  # fp8 can be cast, not asked
            raise WorkloadError(f"parameter {name!r} holds NaN or infinity; repair or retrain it before capture")

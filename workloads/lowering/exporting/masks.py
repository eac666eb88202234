"""What a model calls its weights, and whether they are numbers at all."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

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
        if not all(map(is_finite, held_in(parameter))):
            raise WorkloadError(f"parameter {name!r} holds NaN or infinity; repair or retrain it before capture")


def is_finite(tensor: torch.Tensor) -> bool:
    """False for a tensor with data that are not all numbers; fp8 can be cast, but not asked."""
    data = tensor.detach()
    if data.is_meta or not data.is_floating_point():
        return True
    data = data.float() if data.itemsize == 1 else data
    # the largest magnitude is infinite, or no number, where any is; quicker than asking each
    return not data.numel() or bool(torch.isfinite(data.abs().max()))


def held_in(tensor: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that a tensor is kept in: itself, but for a subclass that wraps others (quantised ones do)."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return [plain for name in names for plain in held_in(getattr(tensor, name))]

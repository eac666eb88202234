"""What a recipe family hands back: patterns, reasons, and the real masks where weights are zeroed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from zerocast.workloads.patterns import Mask, Pattern
from zerocast.workloads.pruning import LayerPruning
from zerocast.workloads.recipes.targets import Target


@dataclass(frozen=True, slots=True)
class Plan:
    """Patterns and reasons by weight name; `masks` (booleans in the target's viewed shape) zero weights."""

    layers: dict[str, LayerPruning] = field(default_factory=dict)
    kept_dense: dict[str, str] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)


def fixed(pattern: Pattern) -> LayerPruning:
    """The same zeros in the forward and the backward pass; the weight gradient is dense."""
    return LayerPruning(weight={"FF": pattern, "BP": pattern})


def trained(pattern: Pattern) -> LayerPruning:
    """The same zeros in all three passes: what is pruned gets no gradient."""
    return LayerPruning(weight={"FF": pattern, "BP": pattern, "WU": pattern})


def mask_pattern(target: Target, keep: Tensor) -> Mask:
    """Pattern of a real mask in the target's viewed shape."""
    return Mask.of(keep.cpu().numpy(), target.ranks)


def keep_largest(scores: Tensor, count: int) -> Tensor:
    """Booleans in the shape of `scores`: its `count` largest, ties to the lowest index."""
    flat = scores.reshape(-1)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    least = flat.kthvalue(flat.numel() - count + 1).values
    above, ties = flat > least, flat == least
    wanted = count - int(above.sum())
    return (above | (ties & (ties.cumsum(0) <= wanted))).reshape(scores.shape)

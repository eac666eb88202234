"""Unstructured magnitude pruning, with three ways to share a density among the layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import Uniform
from zerocast.workloads.recipes.densities import densities_of
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.plan import Plan, fixed, keep_largest, mask_pattern
from zerocast.workloads.recipes.targets import Target


def magnitude(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """The largest magnitudes stay: round(density * size) of each layer, or of all layers together (global).

    The density is that of the pruned weights; those kept dense do not count. Without data the zeros are
    uniformly random. Raises `WorkloadError` for global pruning without data.
    """
    plan = Plan()
    if recipe.distribution == "global":
        if not real:
            raise WorkloadError(
                f"recipe {recipe.text!r} compares the weights of all layers, and a model on the meta device "
                "has none; load real weights, or use uniform or erk"
            )
        plan.masks.update(_global_masks(found, recipe.density))
    else:
        densities = densities_of(found, recipe, plan)
        found = [target for target in found if target.name in densities]
        for target in found:
            density = densities[target.name]
            if real:
                plan.masks[target.name] = keep_largest(target.values.abs(), round(density * target.size))
            else:
                plan.layers[target.name] = fixed(Uniform(density))
    for target in found:
        if real:
            plan.layers[target.name] = fixed(mask_pattern(target, plan.masks[target.name]))
    return plan


def _global_masks(found: Sequence[Target], density: float) -> dict[str, torch.Tensor]:
    scores = torch.cat([target.values.abs().reshape(-1).float() for target in found])
    parts = keep_largest(scores, round(density * scores.numel())).split([target.size for target in found])
    return {target.name: part.reshape(target.shape) for target, part in zip(found, parts, strict=True)}

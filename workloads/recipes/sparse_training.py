"""Sparse training: weights that are pruned from the start, and get no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import Uniform
from zerocast.workloads.pruning import Refresh
from zerocast.workloads.recipes.densities import densities_of
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.plan import Plan, keep_largest, mask_pattern, trained
from zerocast.workloads.recipes.targets import Target

SEED = 0
"""Of the masks that are drawn."""

REFRESHES = {
    "rigl": Refresh(scope="layer", grow="gradient"),
    "set": Refresh(scope="layer", grow="random"),
    "granet": Refresh(scope="network", grow="gradient"),
    "gmp": Refresh(scope="network", grow="nothing"),
}
"""What recipes whose masks move do when they do."""


def static(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """Masks for good: round(density * size) weights of each layer at random, or those that are not zero (`held`).

    Without data, zeros are uniformly random. Raises `WorkloadError` where no weight holds zeros, or none is known.
    """
    plan = Plan()
    if recipe.held:
        return _held(found, recipe, real)
    densities = densities_of(found, recipe, plan)
    generator = torch.Generator().manual_seed(SEED)
    for target in found:
        if target.name not in densities:
            continue
        density = densities[target.name]
        if density == 1:
            plan.kept_dense[target.name] = "its density is 1"
        elif real:
            keep = keep_largest(torch.rand(target.shape, generator=generator), round(density * target.size))
            plan.masks[target.name] = keep.to(target.parameter.device)
            plan.layers[target.name] = trained(mask_pattern(target, keep))
        else:
            plan.layers[target.name] = trained(Uniform(density))
    return plan


def _held(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    plan = Plan()
    if not real:
        raise WorkloadError(
            f"recipe {recipe.text!r} trains under the zeros of the weights, and a model on the meta device has none; "
            "load real weights, or give a density"
        )
    for target in found:
        keep = target.values != 0
        if bool(keep.all()):
            plan.kept_dense[target.name] = "it holds no zeros"
        else:
            plan.layers[target.name] = trained(mask_pattern(target, keep))
    return plan


def moving(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """Masks that move every some steps (`REFRESHES`): uniformly random at any one of them, whatever the weights."""
    return static(found, recipe, real=False)

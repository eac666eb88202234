"""V:N:M pruning: what a 2:4 tensor core skips beyond half, with columns that panels of output channels agree on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zerocast.workloads.patterns import VNM
from zerocast.workloads.patterns.vnm import COLUMNS
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.nm import nm_mask
from zerocast.workloads.recipes.plan import Plan, fixed
from zerocast.workloads.recipes.targets import Target


def vnm(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """Panels along k, groups along c, for good; layers whose channels are no multiples of V and M stay dense."""
    plan = Plan()
    for target in found:
        outputs, inputs = target.extent("k"), target.extent("c")
        if outputs % recipe.v or inputs % recipe.m:
            sizes = f"{outputs} output by {inputs} input channels"
            plan.kept_dense[target.name] = f"{sizes} are no multiples of V = {recipe.v} and M = {recipe.m}"
            continue
        plan.layers[target.name] = fixed(VNM(recipe.v, recipe.n, recipe.m, "c", "k"))
        if real:
            plan.masks[target.name] = vnm_mask(target, recipe)
    return plan


def vnm_mask(target: Target, recipe: Recipe) -> Tensor:
    """Booleans in the target's viewed shape: of each panel the columns of largest norm, of these each row's largest
    magnitudes (the selection of Castro et al., SC 2023, without second-order terms)."""
    axes = (target.ranks.index("k"), target.ranks.index("c"))
    values = target.values.float().movedim(axes, (-2, -1))
    norms = values.unflatten(-2, (-1, recipe.v)).square().sum(dim=-2)
    kept = nm_mask(norms, COLUMNS, recipe.m, -1).repeat_interleave(recipe.v, dim=-2)
    # columns that are not kept score 0, below the smallest weight
    rows = nm_mask(torch.where(kept, values.abs().double() + 1.0, 0.0), recipe.n, recipe.m, -1)
    return (rows & kept).movedim((-2, -1), axes)

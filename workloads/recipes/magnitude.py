"""Unstructured magnitude pruning, with three ways to share a density among the layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.patterns import Uniform
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
        shapes = {target.name: tuple(target.parameter.shape) for target in found}
        even = dict.fromkeys(shapes, recipe.density)
        densities = erk_densities(shapes, recipe.density) if recipe.distribution == "erk" else even
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


def erk_densities(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel densities (Evci et al., RigL, ICML 2020, section 3): each layer's density is
    proportional to sum(shape) / prod(shape), scaled so that all weights together have `density`; layers that
    this would fill beyond 1 are dense, and the others share what is left.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        rest = [name for name in shapes if name not in full]
        budget = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        scale = budget / sum(raw[name] * sizes[name] for name in rest) if rest else 0.0
        over = {name for name in rest if scale * raw[name] > 1.0}
        if not over:
            return {name: 1.0 if name in full else scale * raw[name] for name in shapes}
        full |= over

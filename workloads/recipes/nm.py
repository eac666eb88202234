"""N:M recipes: `nm` for inference, `bdwp`, `srste` and `sdgp` for training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zerocast.workloads.ir import Phase
from zerocast.workloads.patterns import NM
from zerocast.workloads.pruning import LayerPruning
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.plan import Plan, fixed
from zerocast.workloads.recipes.targets import Target

_CHANNELS = {"c": "input", "k": "output"}


def nm_mask(values: Tensor, n: int, m: int, dim: int) -> Tensor:
    """Booleans in the shape of `values`: the `n` largest magnitudes of every `m` along `dim`, ties to the
    lowest index. The extent of `dim` must be a multiple of `m`."""
    groups = values.detach().abs().movedim(dim, -1)
    shape = groups.shape
    groups = groups.reshape(*shape[:-1], shape[-1] // m, m)
    kept = groups.sort(dim=-1, descending=True, stable=True).indices[..., :n]
    mask = torch.zeros(groups.shape, dtype=torch.bool, device=values.device)
    return mask.scatter_(-1, kept, True).reshape(shape).movedim(-1, dim)


def nm(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """N:M along c, for good: both passes see the same zeros. BP reduces along k, so its pattern is still N:M
    along c, and the hardware decides that it cannot skip that."""
    plan = Plan()
    for target in found:
        if reason := _misfit(target, recipe, "c"):
            plan.kept_dense[target.name] = reason
            continue
        plan.layers[target.name] = fixed(NM(recipe.n, recipe.m, "c"))
        if real:
            plan.masks[target.name] = nm_mask(target.values, recipe.n, recipe.m, target.ranks.index("c"))
    return plan


def bdwp(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """Bidirectional weight pruning (Fang et al., 2023): both passes take their N:M groups, along their own
    reduction rank, from the dense master weight; a pass whose rank does not fit stays dense."""
    plan = Plan()
    patterns: dict[Phase, NM] = {"FF": NM(recipe.n, recipe.m, "c"), "BP": NM(recipe.n, recipe.m, "k")}
    for target in found:
        misfits = {phase: _misfit(target, recipe, pattern.rank) for phase, pattern in patterns.items()}
        if all(misfits.values()):
            plan.kept_dense[target.name] = "; ".join(misfits.values())
            continue
        weight = {phase: pattern for phase, pattern in patterns.items() if not misfits[phase]}
        plan.layers[target.name] = LayerPruning(weight=weight, generated_online=frozenset(weight))
        if half := [f"{phase} stays dense: {reason}" for phase, reason in misfits.items() if reason]:
            plan.kept_dense[target.name] = half[0]
    return plan


def srste(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """SR-STE (Zhou et al., ICLR 2021): the forward mask along c is selected at each step from the dense
    master weight; BP multiplies by the same masked weight."""
    plan = Plan()
    pattern = NM(recipe.n, recipe.m, "c")
    for target in found:
        if reason := _misfit(target, recipe, "c"):
            plan.kept_dense[target.name] = reason
        else:
            plan.layers[target.name] = LayerPruning({"FF": pattern, "BP": pattern}, {}, frozenset({"FF"}))
    return plan


def sdgp(found: Sequence[Target], recipe: Recipe, real: bool) -> Plan:
    """Structured data gradient pruning (McDanel et al., 2022): dY keeps N of every M along k in BP."""
    plan = Plan()
    pattern = NM(recipe.n, recipe.m, "k")
    for target in found:
        if reason := _misfit(target, recipe, "k"):
            plan.kept_dense[target.name] = reason
        else:
            plan.layers[target.name] = LayerPruning({}, {"BP": pattern}, frozenset({"BP"}))
    return plan


def _misfit(target: Target, recipe: Recipe, rank: str) -> str:
    """Why N:M groups along `rank` do not fit, "" where they do."""
    extent = target.extent(rank)
    if extent % recipe.m == 0:
        return ""
    group = " per group" if "g" in target.ranks else ""
    channels = f"{extent} {_CHANNELS[rank]} channel{'s' if extent > 1 else ''}{group}"
    return f"{channels} {'are' if extent > 1 else 'is'} not a multiple of M = {recipe.m}"

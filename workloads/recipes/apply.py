"""A parsed recipe applied to a model: choose the weights, let the family decide, write the zeros."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zerocast.workloads import transforms
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.pruning import LayerPruning, Pruning
from zerocast.workloads.recipes.block import block
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.magnitude import magnitude
from zerocast.workloads.recipes.nm import bdwp, nm, sdgp, srste
from zerocast.workloads.recipes.plan import Plan, mask_pattern
from zerocast.workloads.recipes.sparse_training import REFRESHES, moving, static
from zerocast.workloads.recipes.targets import Target, check_finite, is_depthwise, is_meta, kept_dense, targets
from zerocast.workloads.recipes.vnm import vnm
from zerocast.workloads.transforms.grammar import TRANSFORMS
from zerocast.workloads.transforms.surgery import named

_FAMILIES: dict[str, Callable[[Sequence[Target], Recipe, bool], Plan]] = {
    "nm": nm, "bdwp": bdwp, "srste": srste, "sdgp": sdgp, "magnitude": magnitude, "block": block,
    "vnm": vnm, "static": static, **dict.fromkeys(REFRESHES, moving),
}  # fmt: skip


def apply(
    model: nn.Module,
    recipes: Sequence[Recipe],
    example_inputs: Any,
    dense: Sequence[str],
    first_and_last_dense: bool | None,
    before: Pruning,
) -> tuple[nn.Module, Pruning]:
    """See `workloads.recipes.prune`; recipes: those of a chain, in order."""
    for recipe in recipes:
        if recipe.family in TRANSFORMS:
            model, decided = _transformed(model, recipe, example_inputs, dense, first_and_last_dense)
            before = _still_there(before, model, recipe)
        else:
            model, decided = _pruned(model, recipe, dense, first_and_last_dense)
            decided = _with_zeros_of(before, decided, model)
        before = before.then(decided)
    return model, before


def _transformed(
    model: nn.Module, recipe: Recipe, inputs: Any, dense: Sequence[str], ends: bool | None
) -> tuple[nn.Module, Pruning]:
    """By a transform's function."""
    known = TRANSFORMS[recipe.family]
    function = getattr(transforms, known.function)
    given = dict(recipe.arguments) | ({"inputs": inputs} if known.follows else {})
    given |= {"dense": dense, "ends": ends} if known.scoped else {}
    try:
        changed = function(model, **given)
    except WorkloadError as error:
        raise WorkloadError(f"recipe {recipe.text!r}: {error}") from error
    return changed.module, Pruning(
        recipe.text, {}, changed.left, True, account=changed.account, stored=changed.stored,
        smaller=frozenset(changed.cut),
    )  # fmt: skip


def _pruned(
    model: nn.Module, recipe: Recipe, dense: Sequence[str], first_and_last_dense: bool | None
) -> tuple[nn.Module, Pruning]:
    """By a recipe that decides zeros."""
    if recipe.family == "dense":
        return model, Pruning(recipe.text)
    found = targets(model)
    whole = first_and_last_dense is not None
    first = bool(first_and_last_dense) if whole else not recipe.prunes_first
    last = bool(first_and_last_dense) if whole else not recipe.prunes_ends
    reasons = kept_dense(model, found, dense, first, last)
    if recipe.prunes_ends and not whole and not (recipe.file or recipe.held):
        reasons = dict.fromkeys((t.name for t in found if is_depthwise(t)), "depthwise") | reasons
    meta = is_meta(model)
    if not meta:
        check_finite(found)
    only = dict(recipe.arguments).get("layers", ())
    prunable = [
        target for target in found
        if target.name not in reasons and (not only or any(named(target.layer, glob) for glob in only))
    ]  # fmt: skip
    plan = _FAMILIES[recipe.family](prunable, recipe, not meta)
    reasons |= plan.kept_dense
    if not plan.layers:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3])
        why = why or "it has no linear, convolution or recurrent layer"
        raise WorkloadError(f"recipe {recipe.text!r} prunes nothing of {type(model).__name__}: {why}")
    refresh = REFRESHES.get(recipe.family)
    if refresh is not None:
        refresh = replace(refresh, every=recipe.every, drop=recipe.drop)
    return _zeroed(model, plan), Pruning(recipe.text, plan.layers, reasons, refresh=refresh)


def _still_there(before: Pruning, model: nn.Module, recipe: Recipe) -> Pruning:
    """What was decided of the weights that a transform left. Raises `WorkloadError` where it took one with zeros."""
    there = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    if gone := next((name for name in before.layers if name not in there), None):
        raise WorkloadError(
            f"recipe {recipe.text!r} replaces {gone!r}, in which {before.recipe!r} left zeros; write it first"
        )
    stored = {name: kind for name, kind in before.stored.items() if name in there}
    return replace(before, stored=stored, smaller=before.smaller & there)


def _with_zeros_of(before: Pruning, decided: Pruning, model: nn.Module) -> Pruning:
    """What a recipe decided of weights that hold the zeros of one before: the masks that both leave, with the groups of
    either. Raises `WorkloadError` where there are no data, or zeros of one pass alone, that could tell them."""
    layers = dict(decided.layers)
    real = {target.name: target for target in targets(model)} if not is_meta(model) else {}
    for name in set(before.layers) & set(layers):
        both = (before.layers[name], layers[name])
        if name not in real or any(layer.generated_online or layer.output_gradient for layer in both):
            raise WorkloadError(
                f"recipes {before.recipe!r} and {decided.recipe!r} both prune {name!r}, whose zeros only real weights "
                "under masks for good can tell; leave it to one of them (dense=), or build the model with data"
            )
        groups = [group for layer in both for pattern in layer.weight.values() if (group := pattern.groups)]
        mask = mask_pattern(real[name], real[name].values != 0)
        mask = replace(mask, laws=tuple({(group.n, group.m, group.rank) for group in groups}))
        layers[name] = LayerPruning(weight=dict.fromkeys(both[1].weight, mask))
    return replace(decided, layers=layers)


def _zeroed(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy with the masked weights set to zero, or the model itself where there are no masks."""
    if not plan.masks:
        return model
    pruned = copy.deepcopy(model)
    for name, mask in plan.masks.items():
        parameter = pruned.get_parameter(name)
        with torch.no_grad():
            # not a product, which would leave -0.0
            parameter.copy_(torch.where(mask.reshape(parameter.shape), parameter, 0.0))
    return pruned

"""Channel pruning: coupled channels are cut out of a real model, which becomes a smaller dense one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from zerocast.extras import need
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.pruning import LayerPruning, Pruning
from zerocast.workloads.recipes.grammar import Recipe
from zerocast.workloads.recipes.targets import Target, classifier, targets
from zerocast.workloads.user_code.blame import line, place, reason

GRAIN = 8
"""Widths that are multiples of 8 stay so while 8 channels are left: arrays and tensor cores fill by 8."""


def channel(
    model: nn.Module, recipe: Recipe, example_inputs: Any, found: Sequence[Target], dense: Mapping[str, str]
) -> tuple[nn.Module, Pruning]:
    """A copy of `model` with about `recipe.density` of the channels of each layer.

    Channels that shortcuts, norms or concatenations tie together go together, those with the smallest group
    magnitude first (Fang et al., DepGraph, CVPR 2023, by the torch-pruning library). The network's outputs
    stay, and those of the layers in `dense`, except a first layer's, which shortcuts tie to later layers.

    Raises `WorkloadError` without inputs to trace with, and for a model that cannot run once it is smaller
    (attention that reshapes to a fixed number of heads, for one) or whose outputs would change shape.
    """
    need("torch_pruning", f"recipe {recipe.text!r}")
    if example_inputs is None:
        raise WorkloadError(f"recipe {recipe.text!r} follows channels through the graph; give example_inputs")
    inputs = positional(model, example_inputs)
    smaller = copy.deepcopy(model)
    modules = {target.layer: smaller.get_submodule(target.layer) for target in found}
    output = classifier(found) or found[-1]
    fixed = [t for t in found if t is output or dense.get(t.name, "first layer") != "first layer"]
    before = None
    try:
        with _traceable(smaller):
            before = _output_shapes(smaller, inputs)
            ignored = [modules[t.layer] for t in fixed] + (_summed(smaller, inputs) if recipe.inner else [])
            _cut(smaller, inputs, _ratios(modules, recipe.density), ignored)
            after = _output_shapes(smaller, inputs)
    except Exception as error:
        if before is None:
            what = f"{type(model).__name__} does not run on example_inputs: {line(error)}{place(error)}"
            raise WorkloadError(f"recipe {recipe.text!r}: {what}; give inputs that its forward takes") from error
        raise WorkloadError(_advice(recipe, model, f"does not run with fewer channels ({reason(error)})")) from error
    if before != after:
        raise WorkloadError(_advice(recipe, model, f"gives outputs of shapes {after} instead of {before}"))
    return smaller, _report(recipe, found, smaller, dense)


def _advice(recipe: Recipe, model: nn.Module, what: str) -> str:
    remedy = "keep the layers concerned with dense=[...], or use 'block' or 'nm'"
    return f"recipe {recipe.text!r}: {type(model).__name__} {what}; {remedy}"


def _ratios(modules: Mapping[str, nn.Module], density: float) -> dict[nn.Module, float]:
    """Share of channels to remove from each layer, so that the number that stays is a sensible one."""
    ratios: dict[nn.Module, float] = {}
    for module in modules.values():
        if width := _width(module):
            # The library keeps int(width * (1 - ratio)): half a channel more guards against rounding.
            ratios[module] = max(1.0 - (kept_channels(width, density) + 0.5) / width, 0.0)
    return ratios


def kept_channels(width: int, density: float) -> int:
    """Channels that stay of `width`: the nearest multiple of 8 where the width is one, never zero."""
    grain = GRAIN if width % GRAIN == 0 and width * density >= GRAIN else 1
    return max(round(width * density / grain), 1) * grain


def _summed(model: nn.Module, inputs: tuple[Any, ...]) -> list[nn.Module]:
    """Layers whose channels a sum of two layers' outputs ties to others: the trunk that shortcuts run along."""
    from torch_pruning import DependencyGraph
    from torch_pruning.ops import OPTYPE

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        graph = DependencyGraph().build_dependency(model, inputs)
    return [
        layer
        for group in graph.get_all_groups(root_module_types=[_ConvNd, nn.Linear])
        if any(dep.target.type == OPTYPE.ELEMENTWISE and len(dep.target.inputs) > 1 for dep, _ in group)
        for dep, _ in group
        if _width(layer := dep.target.module) and graph.is_out_channel_pruning_fn(dep.handler)
    ]


def _cut(model: nn.Module, inputs: tuple[Any, ...], ratios: dict[nn.Module, float], ignored: list[nn.Module]) -> None:
    """Remove the channels in place."""
    from torch_pruning import importance
    from torch_pruning.pruner import MagnitudePruner

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # the library's notes on parameters outside of modules
        pruner = MagnitudePruner(
            model, inputs, importance=importance.GroupMagnitudeImportance(), pruning_ratio=0.0,
            pruning_ratio_dict=ratios, ignored_layers=ignored,
            # The library's defaults are shared between calls and grow with each model.
            in_channel_groups={}, out_channel_groups={}, channel_groups={}, num_heads={},
        )  # fmt: skip
        pruner.step()


@contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (statistics stay) and gradients everywhere (the trace follows them), until it ends."""
    modes = {module: module.training for module in model.modules()}
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.eval().requires_grad_(True)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name]).grad = None


def _output_shapes(model: nn.Module, inputs: tuple[Any, ...]) -> list[tuple[int, ...]]:
    with torch.no_grad():
        leaves = tree_leaves(model(*inputs))
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _nothing_removed(density: float, found: Sequence[Target], dense: Mapping[str, str]) -> tuple[str, str]:
    """Why no layer became smaller, and what to do instead."""
    others = "use 'nm', 'block' or 'magnitude' instead"
    output = classifier(found) or found[-1]
    followed = [target for target in found if _width(target.module)]
    free = [target for target in followed if target is not output and target.name not in dense]
    kinds = sorted({type(target.module).__name__ for target in found if not _width(target.module)})
    if not free and kinds:
        return f"nearly all of the network is {' and '.join(kinds)}, whose channels are not followed", others
    if not free:
        return f"{output.layer or 'the only layer'} gives the outputs, and no other layer may shrink", others
    if all(kept_channels(_width(target.module), density) >= _width(target.module) for target in free):
        return f"at {density:g} every layer keeps all of its few channels", "lower the density"
    names = ", ".join(target.layer for target in free[:3]) + (", ..." if len(free) > 3 else "")
    return f"those of {names} are tied to groups or outputs that must stay whole", others


def _width(module: nn.Module) -> int:
    """Channels that a layer gives, 0 for a kind of layer whose channels are not followed."""
    return module.out_channels if isinstance(module, _ConvNd) else getattr(module, "out_features", 0)


def _report(recipe: Recipe, found: Sequence[Target], smaller: nn.Module, dense: Mapping[str, str]) -> Pruning:
    """Weights that shrank count as pruned, without a pattern: what is left of them is dense."""
    now = {target.name: target for target in targets(smaller)}
    shrunk = [target.name for target in found if now[target.name].shape != target.shape]
    if not shrunk:
        why, remedy = _nothing_removed(recipe.density, found, dense)
        raise WorkloadError(f"recipe {recipe.text!r} finds no channel to remove: {why}; {remedy}")
    kept = {
        target.name: dense.get(target.name, "its channels cannot be removed")
        for target in found if target.name not in shrunk
    }  # fmt: skip
    return Pruning(recipe.text, dict.fromkeys(shrunk, LayerPruning()), kept, changes_module=True)

"""A smaller copy of a module: parameters and buffers cut to the places that stay, and the widths that layers keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from zerocast.workloads.transforms.groups.axes import Axis, Rank, resolve
from zerocast.workloads.transforms.groups.finder import Coupled

Masks = Mapping[Rank, "np.ndarray[Any, Any]"]
"""Which places of a group stay, or how often each is there; of those that are not in it, all once."""


def width(axis: Axis, masks: Masks) -> int:
    """Places of an axis that stay."""
    return sum(
        prod(int(masks[f].sum()) if isinstance(f, Rank) and f in masks else f.size for f in term)
        for term in resolve(axis)
    )


def macs_of(found: Coupled, masks: Masks) -> int:
    """Multiply-accumulates of what stays."""
    return sum(prod(width(axis, masks) for axis in product.axes) for product in found.products)


def kept(axis: Axis, masks: Masks) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each place of an axis how often it is there: 0 where it goes, 1 where it stays."""
    found = []
    for term in resolve(axis):
        whole = np.ones(1, dtype=int)
        for factor in term:
            own = masks.get(factor) if isinstance(factor, Rank) else None
            own = np.ones(factor.size, dtype=int) if own is None else own.astype(int)
            whole = np.multiply.outer(whole, own).reshape(-1)
        found.append(whole)
    return np.concatenate(found)


def shrunk(model: nn.Module, found: Coupled, masks: Masks, all_numbers: bool = False) -> nn.Module:
    """A copy of `model` without the places that go; parameters that stay as they are share their storage with it.

    all_numbers: where a number of a module's code stood for several widths, of which some changed, it follows those.
    """
    memo: dict[int, Any] = {}
    for name, axes in found.weights.items():
        tensor = held(model, name)
        keeps = [kept(axis, masks) for axis in axes]
        if id(tensor) not in memo:
            memo[id(tensor)] = _cut(tensor, keeps)
    for each in (*model.parameters(), *model.buffers()):
        memo.setdefault(id(each), _alike(each, each.detach()))
    smaller = copy.deepcopy(model, memo)
    _set_widths(smaller, found, masks, all_numbers)
    return smaller


def held(model: nn.Module, name: str) -> torch.Tensor:
    """The parameter or buffer of a name."""
    path, _, last = name.rpartition(".")
    tensor: torch.Tensor = getattr(model.get_submodule(path), last)
    return tensor


def _cut(tensor: torch.Tensor, keeps: list[np.ndarray[Any, np.dtype[np.int64]]]) -> torch.Tensor:
    data = tensor.detach()
    for dim, keep in enumerate(keeps):
        if (keep != 1).any():
            index = torch.from_numpy(np.repeat(np.arange(len(keep)), keep)).to(data.device)
            data = data.index_select(dim, index)
    return _alike(tensor, data)


def _alike(tensor: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


def _set_widths(smaller: nn.Module, found: Coupled, masks: Masks, all_numbers: bool) -> None:
    """The numbers that layers keep of their widths, and those that the code of others wrote into an operator: heads,
    and what is split off."""
    sizes: dict[str, dict[int, set[int]]] = {}
    for literal in found.literals:
        sizes.setdefault(literal.module, {}).setdefault(literal.size, set()).add(width(literal.axis, masks))
    for path, module in smaller.named_modules():
        widths = next((_WIDTHS[kind.__name__] for kind in type(module).__mro__ if kind.__name__ in _WIDTHS), None)
        if widths is not None:
            vars(module).update(widths(module))
        else:
            known = {old: now - {old} if all_numbers else now for old, now in sizes.get(path, {}).items()}
            new = {old: next(iter(now)) for old, now in known.items() if len(now) == 1 and now != {old}}
            vars(module).update(_renumbered(vars(module), new))


def _renumbered(attributes: Mapping[str, Any], new: Mapping[int, int]) -> dict[str, Any]:
    """Attributes that hold one of the numbers that changed, alone or in a list."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if type(value) is int and value in new:
            found[name] = new[value]
        elif isinstance(value, (list, tuple)) and value and all(type(each) is int for each in value):
            found[name] = type(value)(new.get(each, each) for each in value)
    return found


def _convolution(layer: Any) -> dict[str, int]:
    one, other = layer.weight.shape[:2]
    groups = layer.groups
    if groups > 1 and groups == layer.in_channels:  # depthwise: as many groups as channels are left
        groups = one if isinstance(layer, _ConvTransposeNd) else one * layer.in_channels // layer.out_channels
    if isinstance(layer, _ConvTransposeNd):
        return {"in_channels": one, "out_channels": other * groups, "groups": groups}
    return {"in_channels": other * groups, "out_channels": one, "groups": groups}


def _recurrent(layer: Any) -> dict[str, int]:
    return {"input_size": layer.weight_ih_l0.shape[1], "hidden_size": layer.weight_hh_l0.shape[1]}


_WIDTHS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Linear": lambda layer: {"in_features": layer.weight.shape[1], "out_features": layer.weight.shape[0]},
    "Conv1D": lambda layer: {"nx": layer.weight.shape[0], "nf": layer.weight.shape[1]},
    "_ConvNd": _convolution,
    "_NormBase": lambda layer: {"num_features": len(layer.weight)} if layer.affine else {},
    "GroupNorm": lambda layer: {"num_channels": len(layer.weight)} if layer.affine else {},
    "Embedding": lambda layer: {"embedding_dim": layer.weight.shape[1]},
    "RNNBase": _recurrent,
    "RNNCellBase": lambda layer: {"input_size": layer.weight_ih.shape[1], "hidden_size": layer.weight_hh.shape[1]},
    "PReLU": lambda layer: {"num_parameters": len(layer.weight)},
}
"""Class of a layer -> the numbers that it keeps of its weights' shapes (`Conv1D` is the one of transformers)."""

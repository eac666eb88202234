"""What a model is asked for: the tensors of its outputs, without the cache that a language model keeps for later."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

_PLAIN = (torch.Tensor, int, float, bool, str, type(None))


def asked_for(model: nn.Module) -> nn.Module:
    """The model itself, changed in place (hand over a copy): called, it returns tensors and plain values alone.

    A graph can return nothing else, and nothing that runs the graph could use it. A causal language model whose
    forward takes `use_cache` (transformers) makes a cache of keys and values by itself; fed token ids alone, nobody
    reads it, so none is made. One that a wrapper makes or fills stays in the graph as far as its outputs need it.
    """
    settings = getattr(model, "config", None)
    if "use_cache" in inspect.signature(model.forward).parameters and getattr(settings, "use_cache", False):
        settings.use_cache = False  # type: ignore[union-attr]
    forward = model.forward

    @wraps(forward)
    def asked(*arguments: Any, **options: Any) -> Any:
        return tensors_of(forward(*arguments, **options))

    model.forward = asked
    return model


def tensors_of(output: Any) -> Any:
    """The output with a dataclass as a mapping and any other object that is no container of PyTorch's as None; as it
    is where no tensor would be left, so that torch.export says what it is."""
    plain = _unpacked(output)
    return plain if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(plain)) else output


def _unpacked(item: Any) -> Any:
    """By hand: what else PyTorch takes apart depends on what was registered with it in this process."""
    if isinstance(item, _PLAIN):
        return item
    if isinstance(item, Mapping):
        return {key: _unpacked(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_unpacked(value) for value in item]
    if is_dataclass(item):
        return {field.name: _unpacked(getattr(item, field.name)) for field in fields(item)}
    return None

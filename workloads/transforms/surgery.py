"""What all transforms share: a copy to change, the layers that may change, and the account of what did."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypedDict, Unpack

from torch import nn
from torch.nn.modules.conv import _ConvNd

from zerocast.workloads.errors import WorkloadError, closest
from zerocast.workloads.pruning import Change
from zerocast.workloads.recipes.targets import Target, kept_dense, targets


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed copy of a module. account: what became of each layer; left: weights that stayed, with the reason; cut:
    those that became smaller; stored: types in which weights are kept."""

    module: nn.Module
    account: tuple[Change, ...]
    left: Mapping[str, str]
    cut: tuple[str, ...] = ()
    stored: Mapping[str, str] = field(default_factory=dict)


class Misfit(Exception):
    """Why a layer cannot be changed as asked."""


class Scope(TypedDict, total=False):
    """Which layers a transform changes.

    layers: names, last names, parents or globs of them; () for all but the first layer, the classifier and what is
    shared with an embedding. dense: of those that it leaves. ends: whether first layer and classifier stay, None for
    where no layers are named.
    """

    layers: Sequence[str]
    dense: Sequence[str]
    ends: bool | None


def twin(model: nn.Module) -> nn.Module:
    """A copy with parameters of its own over the same storage: what is done to its layers, or to whether its weights
    are trained, leaves the model as it is, and no data are copied. Buffers are shared."""
    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        plain = type(parameter) is nn.Parameter
        memo[id(parameter)] = nn.Parameter(parameter.detach(), parameter.requires_grad) if plain else parameter
    return copy.deepcopy(model, memo)


def replaced(model: nn.Module, made: Callable[[Target], Any], **scope: Unpack[Scope]) -> Changed:
    """A copy in which what `made` returns stands in place of each linear layer and convolution.

    Layers of which `made` raises `Misfit` stay. Raises `WorkloadError` for a name that matches nothing, and where
    nothing is replaced.
    """
    module = twin(model)
    found, left = candidates(module, **scope)
    account: list[Change] = []
    misfits: dict[str, str] = {}
    for target in found:
        try:
            made_of = made(target)
        except Misfit as misfit:
            misfits[target.name] = str(misfit)
            continue
        put(module, target.layer, made_of)
        account.append(change_of(target.layer, target.module, made_of, made_of.words))
    left = {**misfits, **left}
    if not account:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(left.items())[:3])
        raise WorkloadError(f"changes nothing of {type(model).__name__}: {why or 'it has no linear layer'}")
    return Changed(module, tuple(account), left)


def candidates(
    module: nn.Module,
    *,
    layers: Sequence[str] = (),
    dense: Sequence[str] = (),
    ends: bool | None = None,
    parts: bool = False,
) -> tuple[list[Target], dict[str, str]]:
    """The layers of a `Scope` that may be changed, and the reasons of the others.

    parts: with weights that are no layer of their own, as recurrent ones.
    """
    found = targets(module)
    stays = not layers if ends is None else ends
    left = kept_dense(module, found, dense, stays, stays)
    left |= {t.name: f"weights of {type(t.module).__name__} are no layer of their own" for t in found
             if not (parts or _whole(t))}  # fmt: skip
    for glob in layers:
        if not any(named(target.layer, glob) for target in found):
            hint = closest(glob, [target.layer for target in found])
            raise WorkloadError(f"@{glob} matches no linear layer or convolution; {hint}")
    asked = [t for t in found if not layers or any(named(t.layer, glob) for glob in layers)]
    return [target for target in asked if target.name not in left], left


def named(layer: str, glob: str) -> bool:
    """Whether a layer goes by this name: its path, the last part of it, or a parent's."""
    return fnmatchcase(layer, glob) or fnmatchcase(layer.rpartition(".")[2], glob) or layer.startswith(f"{glob}.")


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Let `module` stand at `path`."""
    above, _, name = path.rpartition(".")
    module.train(model.get_submodule(path).training)
    setattr(model.get_submodule(above), name, module)


def change_of(layer: str, before: nn.Module, after: nn.Module, what: str) -> Change:
    """The account of a layer that another module replaces."""
    return Change(layer, what, _parameters(before), _parameters(after), macs_of(before), macs_of(after))


def macs_of(module: nn.Module) -> int:
    """Multiply-accumulates for each row, or each place of an image, that a module makes."""
    own = getattr(module, "macs", None)
    if isinstance(own, int):
        return own
    found = targets(module)
    return sum(target.size for target in found)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _whole(target: Target) -> bool:
    """Whether a weight is that of a layer which maps its last dimension, or the channels of an image."""
    plain = isinstance(target.module, (nn.Linear, _ConvNd)) or type(target.module).__name__ == "Conv1D"
    return plain and target.name.endswith("weight")

"""Layers that repeat: of a long list of equal layers a few are exported, the others follow from them.

Exporting a network takes seconds per dozen layers, and large language models are the same one or few layers dozens of
times. Which layers are equal is told by what they are, module by module; that a short list of them lowers to blocks of
equal ops is checked on what came out (`workloads.blocks`), and anything else is exported whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from zerocast.workloads.lowering.exporting.blocks import Repeat

FEWEST = 4
"""Layers that must be saved before a list is cut: fewer are exported as quickly."""


def repeats(model: nn.Module) -> tuple[Repeat, ...]:
    """The lists of layers that are worth cutting, none inside another one."""
    found: list[Repeat] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{repeat.path}.") for repeat in found)
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and path and not inside:
            repeat = _repeat(path, list(module), _listed(model, len(module)))
            if repeat is not None:
                found.append(repeat)
    return tuple(found)


@contextmanager
def cut(model: nn.Module, found: Sequence[Repeat]) -> Iterator[None]:
    """The model with its lists as short as `found` says; whole again afterwards."""
    whole: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for repeat in found:
            above, _, name = repeat.path.rpartition(".")
            owner, layers = model.get_submodule(above), model.get_submodule(repeat.path)
            whole.append((owner, name, layers))
            owner._modules[name] = (nn.ModuleList if isinstance(layers, nn.ModuleList) else nn.Sequential)()
            for at, layer in list(layers.named_children())[: repeat.kept]:
                owner._modules[name].add_module(at, layer)  # type: ignore[union-attr]
        yield
    finally:
        for owner, name, layers in whole:
            owner._modules[name] = layers


def _repeat(path: str, members: list[nn.Module], listed: list[Sequence[Any]]) -> Repeat | None:
    """How a list repeats: the fewest layers that have to be kept. Two periods are compared, and there
    is a layer before them, so that both take up where one ended."""
    count, best = len(members), None
    for period in range(1, (count - FEWEST) // 2 + 1):
        first = count - period
        while first > 0 and _alike(members, first - 1, period, listed):
            first -= 1
        times = (count - max(first, 1)) // period - 2
        if times * period >= FEWEST and (best is None or count - times * period < best.kept):
            best = Repeat(path, count, count - times * period, period)
    return best


def _alike(members: list[nn.Module], at: int, period: int, listed: list[Sequence[Any]]) -> bool:
    """Whether a member and that one period on are equal, and what lists of the configuration say of them."""
    return all(each[at] == each[at + period] for each in listed) and equal(members[at], members[at + period], period)


def equal(one: nn.Module, other: nn.Module, apart: int) -> bool:
    """Whether two modules do the same: same classes, shapes and attributes all the way down, but for numbers that count
    the layers, which are as far apart as they are."""
    if type(one) is not type(other) or one._modules.keys() != other._modules.keys():
        return False
    for mine, theirs in ((one._parameters, other._parameters), (one._buffers, other._buffers)):
        if {name: _form(held) for name, held in mine.items()} != {name: _form(held) for name, held in theirs.items()}:
            return False
    mine, theirs = _own(one), _own(other)
    if mine.keys() != theirs.keys() or not all(_same(mine[name], theirs[name], apart) for name in mine):
        return False
    pairs = zip(one._modules.values(), other._modules.values(), strict=True)
    return all(a is b or (a is not None and b is not None and equal(a, b, apart)) for a, b in pairs)


def _form(held: Any) -> Any:
    """Shape and type of a parameter or buffer, and whether it is trained."""
    return None if held is None else (tuple(held.shape), held.dtype, held.requires_grad)


_PLAIN = frozenset(vars(nn.Module()))


def _own(module: nn.Module) -> dict[str, Any]:
    """Attributes that are no part of every module, and the hooks that it has."""
    hooks = {name: bool(value) for name, value in vars(module).items() if name in _PLAIN and name.endswith("hooks")}
    return {name: value for name, value in vars(module).items() if name not in _PLAIN} | hooks


def _same(one: Any, other: Any, apart: int) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, partial):
        return (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)
    if isinstance(one, int) and not isinstance(one, bool) and other - one == apart:
        return True
    try:
        return bool(one == other)
    except Exception:  # of whatever the attribute is
        return False


def _listed(model: nn.Module, count: int) -> list[Sequence[Any]]:
    """What the model's configuration says layer by layer: a value for each, or the places of some, in order."""
    config = getattr(model, "config", None)
    parts = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", ()))]
    lists = [value for part in parts if part is not None for value in vars(part).values()
             if isinstance(value, (list, tuple))]  # fmt: skip
    places = [value for value in lists if value and all(type(each) is int and 0 <= each < count for each in value)
              and all(one < other for one, other in pairwise(value))]  # fmt: skip
    return [
        *(value for value in lists if len(value) == count),
        *([at in some for at in range(count)] for some in places),
    ]

"""What a node of the graph is made of, where no input of the network goes in: followed, and with data computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_any, tree_leaves, tree_map_only

Memo = dict[int, Any]
"""Values already computed in one evaluation, by identity of their origin."""

_PLACES = frozenset(("scatter", "scatter_add", "scatter_reduce", "index_put", "index_add", "index_copy"))
"""Operators of which whole numbers say where the others go."""
_CASTS = frozenset(("to", "_to_copy", "type_as", "view_dtype", "float", "half", "convert"))


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Parameters, buffers and constants that a value is computed from, and how: no input of the network is among them.

    sources: names in the workload of all that go in, in order of first use.
    flows: those whose numbers are in the result's own: not those that merely decide a comparison or a selection, and
    not those behind a contraction or a reduction, whose result is no reordered or rescaled form of them.
    operators: names of the operators applied since the sources, each once.
    digest: equal for values that are computed alike from the same sources.
    """

    sources: tuple[str, ...]
    flows: tuple[str, ...]
    operators: tuple[str, ...]
    digest: str
    _compute: Callable[[Memo], Any]

    def value(self) -> Any:
        """The real tensor (or tuple of them), on the CPU and outside autograd; None where some source has no data."""
        with torch.no_grad():
            return self.within({})

    def within(self, memo: Memo) -> Any:
        """`value`, as part of an evaluation that has computed `memo` already."""
        if id(self) not in memo:
            memo[id(self)] = self._compute(memo)
        return memo[id(self)]

    def item(self, at: int) -> Origin:
        """One of several results."""

        def compute(memo: Memo) -> Any:
            results = self.within(memo)
            return None if results is None else results[at]

        return Origin(self.sources, self.flows, self.operators, f"{self.digest}[{at}]", compute)


def source(name: str, data: torch.Tensor | Callable[[], torch.Tensor] | None) -> Origin:
    """A parameter, buffer or constant itself.

    data: None, or a tensor without data (meta), where there is none; a function that reads it where it lies in a file.
    """
    if data is None or (isinstance(data, torch.Tensor) and data.is_meta):
        return Origin((name,), (name,), (), name, lambda memo: None)
    read = (lambda: data) if isinstance(data, torch.Tensor) else data
    return Origin((name,), (name,), (), name, lambda memo: read().detach().cpu())


def origin_of(node: Node, name: str, known: Mapping[Node, Any], flowing: bool) -> Origin | None:
    """Origin of a call of operator `name`; None where an input of the network, or chance, goes in.

    known: origins of earlier nodes. flowing: whether the operator's result is made of its operands' own numbers,
    element by element or moved (no contraction, no reduction).
    """
    target: Any = node.target
    if torch.Tag.nondeterministic_seeded in target.tags or not all(n in known for n in node.all_input_nodes):
        return None
    inputs = {n: known[n] for n in node.all_input_nodes}
    parts = tree_leaves(list(inputs.values()))
    if not all(isinstance(part, Origin) for part in parts):
        return None
    return Origin(
        _union(part.sources for part in parts),
        _union(part.flows for part in _flowing(node, name, inputs)) if flowing and not _decides(node, name) else (),
        _union((*(part.operators for part in parts), (name,))),
        _digest(node, inputs),
        lambda memo: _computed(node, inputs, memo),
    )


def _flowing(node: Node, name: str, inputs: Mapping[Node, Any]) -> list[Any]:
    """The operands whose numbers are in the result: not the places that others go to."""
    values = {n: n.meta.get("val") for n in inputs}
    places = [n for n, value in values.items() if isinstance(value, torch.Tensor) and not value.is_floating_point()]
    return tree_leaves([inputs[n] for n in inputs if name not in _PLACES or n not in places])


def _decides(node: Node, name: str) -> bool:
    """Whether the result tells which or whether, not how much: truth values, and places picked by number."""
    out = next((each for each in tree_leaves(node.meta.get("val")) if isinstance(each, torch.Tensor)), None)
    if out is None or out.dtype.is_floating_point or name in _CASTS:
        return False
    values = [n.meta.get("val") for n in node.all_input_nodes]
    return out.dtype == torch.bool or any(
        isinstance(each, torch.Tensor) and each.dtype.is_floating_point for each in tree_leaves(values)
    )


def _digest(node: Node, inputs: Mapping[Node, Any]) -> str:
    """Of the operator and its arguments, with the digests of the nodes among them."""
    told = {n: [part.digest for part in tree_leaves(inputs[n])] for n in inputs}
    arguments = tree_map_only(Node, lambda n: told[n], (node.args, dict(node.kwargs)))
    return hashlib.sha256(f"{node.target}{arguments!r}".encode()).hexdigest()


def _union(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in names for name in each))


def _computed(node: Node, known: Mapping[Node, Origin], memo: Memo) -> Any:
    """The call with real values in place of its nodes; whatever it writes in place is a copy."""
    values = {n: _within(origin, memo) for n, origin in known.items()}
    if tree_any(lambda value: value is None, list(values.values())):
        return None
    args, kwargs = tree_map_only(Node, lambda n: values[n], (node.args, node.kwargs))
    args, kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
    target: Any = node.target
    if target._schema.is_mutable:
        args, kwargs = tree_map_only(torch.Tensor, torch.clone, (args, kwargs))
    return target(*args, **kwargs)


def _within(origin: Any, memo: Memo) -> Any:
    if isinstance(origin, (tuple, list)):
        return [_within(each, memo) for each in origin]
    return origin.within(memo)

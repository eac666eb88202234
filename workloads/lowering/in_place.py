"""Which results lie where an operand lay already: caches that grow, and tensors that are written in part.

PyTorch's graphs are functional: a key-value cache that takes one more token comes as `cat` of the cache and the token,
a slice assignment as `slice_scatter` of a whole tensor. What really moves is the new part alone. A cache is told from
other concatenations by its use, not by its name: it comes from outside (an input or a buffer), nothing but the
concatenation reads it, and the result feeds attention or is handed back.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

from zerocast.workloads.lowering.builder import Call
from zerocast.workloads.lowering.values import Value

_UNSAFE = frozenset({"_unsafe_view", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes"})
"""Views that do not say so in their schema."""
_COPIES = frozenset({"to", "type_as", "_to_copy", "float", "half", "clone", "contiguous", "repeat_interleave"})
"""Operators that hand on the content in another type or layout."""
_FUSED = "scaled_dot_product_attention"
_ATTENTION = frozenset({_FUSED, "matmul", "bmm", "baddbmm", "einsum"})
"""Operators of attention: products of two tensors that are computed."""
_SLICES = frozenset({"slice_scatter", "select_scatter", "diagonal_scatter"})
"""What slice assignments become."""


def is_overwrite(node: Node) -> bool:
    """True where the operator writes into its first argument, as its schema tells."""
    arguments = node.target._schema.arguments if isinstance(node.target, torch._ops.OpOverload) else ()
    return any(a.alias_info is not None and a.alias_info.is_write for a in arguments[:1])


def overwrites(call: Call) -> bool:
    """True where a part of the first argument is written where it lies: the operator says so, or it is the functional
    form of one and nobody reads the old content afterwards. A tensor of constants is not there yet: it is filled."""
    base = call.values[0]
    if is_overwrite(call.node):
        return base.tensor in call.build.held or not base.fixed
    node = call.node.args[0]
    slices = call.operator in _SLICES  # which nobody calls by hand
    return (base.tensor in call.build.held or slices) and isinstance(node, Node) and not _read_after(node, call.node)


def is_put_into_slices(node: Node) -> bool:
    """True where all that becomes of a node is a part of other tensors."""
    return bool(node.users) and all(user.op == "call_function" and _name(user) in _SLICES for user in node.users)


def grown(call: Call) -> Value | None:
    """The piece that a concatenation only adds to, where it lies; None where all of it is written anew."""
    pieces = _pieces(call)
    if not pieces:
        return None
    node, kept = max(pieces, key=lambda pair: pair[1].elements)
    if kept.tensor not in call.build.held or not _is_only_reader(call.node, node):
        return None
    if kept.elements != call.build.tensors[kept.tensor].elements:
        return None
    if len(pieces) == 1:  # a wrapper fills its cache object with what it was given
        return kept
    given = [value for _, value in pieces if value.tensor in call.build.held or call.build.is_weight(value)]
    back = len(given) == 1 and _handed_back(call.node)
    return kept if back or _feeds_attention(call.node) else None


def _pieces(call: Call) -> list[tuple[Node, Value]]:
    """What is concatenated, empty pieces left out: nodes of the graph and what they stand for."""
    nodes: Any = call.node.args[0] if call.node.args else call.node.kwargs["tensors"]
    return [(node, value) for node, value in zip(nodes, call["tensors"], strict=True) if value and value.elements]


def _is_only_reader(reader: Node, node: Node) -> bool:
    """True where neither `node` nor what it is a view of has another reader."""
    while set(node.users) == {reader}:
        if not _is_view(node):
            return True
        reader, node = node, node.all_input_nodes[0]
    return False


def _read_after(node: Node, writer: Node) -> bool:
    """True where something later than `writer` reads `node` or a view of it."""
    for user in node.users:
        if user is writer or user.op == "output":
            continue
        if user > writer or (_is_view(user) and _read_after(user, writer)):
            return True
    return False


def _handed_back(node: Node) -> bool:
    return any(user.op == "output" for reached in _same_content(node) for user in reached.users)


def _feeds_attention(node: Node) -> bool:
    """True where keys or values of a product of attention come from `node`."""
    return any(
        user.op == "call_function" and _name(user) in _ATTENTION and not _reads_a_weight(user)
        for reached in _same_content(node)
        for user in reached.users
    )


def _reads_a_weight(node: Node) -> bool:
    """True for a product with something that comes from outside as it is; a fused attention has no weight."""
    return _name(node) != _FUSED and any(_source(operand).op != "call_function" for operand in node.all_input_nodes)


def _source(node: Node) -> Node:
    while _keeps_content(node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _same_content(node: Node) -> Iterator[Node]:
    """The node and what passes its content on."""
    yield node
    for user in node.users:
        if _keeps_content(user):
            yield from _same_content(user)


def _keeps_content(node: Node) -> bool:
    """True for a view, and for the same content in another type or layout."""
    return _is_view(node) or (node.op == "call_function" and _name(node) in _COPIES)


def _is_view(node: Node) -> bool:
    """True where a node's result shares memory with its first argument, as the operator's schema tells."""
    if node.op != "call_function" or _name(node) in _COPIES:
        return False
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem
    first = node.target._schema.arguments[:1]
    return _name(node) in _UNSAFE or any(a.alias_info is not None and not a.alias_info.is_write for a in first)


def _name(node: Node) -> str:
    target = node.target
    named = target.overloadpacket if isinstance(target, torch._ops.OpOverload) else target
    return str(getattr(named, "__name__", ""))

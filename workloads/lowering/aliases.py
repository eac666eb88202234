"""Which graph nodes show the same memory, so that a write through one of them is seen through the others."""

from __future__ import annotations

import torch
from torch.fx import Node


def seen_elsewhere(node: Node) -> bool:
    """Whether an in-place operator writes into memory that is read again through a view made before.

    Later readers of the very node that is written, and views made of it afterwards, are found by walking on.
    """
    written = node.args[0]
    if not isinstance(written, Node):
        return False
    return any(
        user > node for alias in _aliases(_root(written)) if alias is not written and alias < node
        for user in alias.users if user is not node
    )  # fmt: skip


def _root(node: Node) -> Node:
    while _is_view(node) and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _aliases(root: Node) -> list[Node]:
    """The node and all views of it, and of those."""
    found = [root]
    for node in found:
        found += [user for user in node.users if _is_view(user) and user.args[0] is node]
    return found


def _is_view(node: Node) -> bool:
    """True for an operator whose result is a part of its first argument, which it leaves as it is."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    returns = node.target._schema.returns
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)

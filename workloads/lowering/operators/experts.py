"""Products of a mixture of experts: rows sorted by expert, each times the matrix of its own.

Which expert a row goes to is known at run time alone. Here routing is uniform and independent: each of T tokens picks k
of E experts, so that E (1 - (1 - k/E)^T) of them are expected to be picked by any. As many are fetched and computed
with, and rows are dealt to them as evenly as whole rows can be: some get one more than others, a product for each sort.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from torch.fx import Node

from zerocast.workloads.ir import Transfer
from zerocast.workloads.lowering.builder import Call, NoRule
from zerocast.workloads.lowering.operators.contractions import contract, plain
from zerocast.workloads.lowering.values import Value, reshape


def grouped(call: Call) -> Value:
    """input[s, c] weight[expert of s, c, k]: one product for all experts of as many rows."""
    x, weight = call["input"] or call["self"], call["weight"] or call["mat2"]
    if len(x.shape) != 2 or len(weight.shape) != 3 or call["offs"] is None or call["bias"] is not None:
        raise NoRule(call.node, call.layer, "is no product of rows with a stack of matrices, one for each expert")
    (rows, c), (experts, _, k) = x.shape, weight.shape
    if not rows:
        raise NoRule(call.node, call.layer, "has no rows", "give at least one token")
    busy = picked(call.node, rows, experts)
    each, more = divmod(rows, busy)
    shares = [share for share in ((more, each + 1), (busy - more, each)) if share[0]]
    pieces = []
    for part, (number, length) in enumerate(shares):
        piece = x if len(shares) == 1 else _rows(call, x, number * length, part)
        sizes = {"g": number, "m": length, "k": k, "c": c}
        operands = (reshape(piece, (number, length, c)), plain("g", "m", "c")), (weight, plain("g", "c", "k"))
        name = "" if len(shares) == 1 else f"{call.operator}{part}"
        pieces.append(contract(call, sizes, *operands, plain("g", "m", "k"), part=name, shape=(number, length, k)))
    if len(pieces) == 1:
        return reshape(pieces[0], (rows, k))
    name = call.name("joined")
    out = call.build.scratch(f"{name}.out", (rows, k))
    names = tuple(piece.tensor for piece in pieces)
    call.build.ops.append(Transfer(name, call.layer, "FF", names, (out.tensor,), "cat", 0))
    return out


def picked(node: Node, rows: int, experts: int) -> int:
    """Number of experts that any of the rows is expected to go to.

    How many one token picks is told by the selection that the rows' order comes from; where there is none in the graph,
    each row picks for itself.
    """
    chosen = _selection(node, rows)
    tokens = rows // chosen
    expected = experts * -math.expm1(tokens * math.log1p(-chosen / experts)) if chosen < experts else experts
    return min(max(round(expected), min(chosen, experts)), rows, experts)


def _selection(node: Node, rows: int) -> int:
    """Experts of one token: k of the nearest top-k before the product that has a pick for each row."""
    waiting, seen = deque(node.all_input_nodes), set(node.all_input_nodes)
    while waiting:
        here = waiting.popleft()
        if getattr(here.target, "__name__", "").startswith("topk"):
            values = here.meta["val"][0]
            if values.numel() == rows:
                return int(values.shape[-1])
        fresh = [before for before in here.all_input_nodes if before not in seen]
        seen.update(fresh)
        waiting.extend(fresh)
    return 1


def _rows(call: Call, x: Value, count: int, part: int) -> Value:
    """The rows of one sort of experts, which is no movement."""
    name = call.name(f"rows{part}")
    out = call.build.scratch(f"{name}.out", (count, x.shape[1]), call.build.tensors[x.tensor].dtype)
    call.build.ops.append(Transfer(name, call.layer, "FF", (x.tensor,), (out.tensor,), "slice", 0))
    return out


RULES: dict[str, Any] = {"_grouped_mm": grouped, "grouped_mm_fallback": grouped}

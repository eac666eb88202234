"""Attention as one kernel: scores and probabilities stay on chip, blocks that a causal mask hides are left out. The
backward pass is a second kernel, which multiplies queries and keys again instead of reading what it would have to keep.

Dao et al., "FlashAttention", NeurIPS 2022; Dao, "FlashAttention-2", ICLR 2024, sections 3.1 to 3.3: blocks of scores
that lie wholly above the diagonal are skipped, about half of them on long sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from zerocast.workloads.ir import Einsum, Op, Vector, Workload

BLOCK = 128
"""Queries, and keys, of a block of scores: those of FlashAttention-2's forward kernels for heads of up to 128."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Ops of one attention that a library runs as one kernel, or in a training step as two.

    forward, backward: their ops in order, the product of queries and keys first; backward is empty in inference, and
    else multiplies them `again`. inside: tensors of the size of the scores, which never leave the kernels. shown: share
    of the scores that are computed.
    """

    forward: tuple[Op, ...]
    backward: tuple[Op, ...]
    inside: frozenset[str]
    shown: float

    @property
    def on_chip(self) -> dict[str, set[str]]:
        """For each op, what it neither fetches nor stores: scores and their like, and what the kernel has fetched for
        an op before."""
        kept: dict[str, set[str]] = {}
        for kernel in (self.forward, self.backward):
            here = set(self.inside)
            for op in kernel:
                kept[op.name] = here & {*op.inputs, *op.outputs}
                here |= set(op.inputs)
        return kept

    def side(self, op: Einsum) -> Literal["n", "k"]:
        """The side of a product along which a mask hides part of the scores: of its outputs, or of its sums."""
        return "n" if op.outputs[0] in self.inside else "k"

    def computed(self, op: Vector) -> Vector:
        """An op over the scores that are computed."""
        return replace(op, elements=math.ceil(op.elements * self.shown))


def shown_share(queries: int, keys: int, block: int = BLOCK) -> float:
    """Share of queries x keys in blocks that a causal mask does not hide whole: query i sees keys 0 to i."""
    seen = 0
    for first in range(0, queries, block):
        rows = min(block, queries - first)
        seen += rows * min(-(-(first + rows) // block) * block, keys)
    return seen / (queries * keys)


def attentions(workload: Workload) -> list[Attention]:
    """Softmaxes that lie between two products, alone or with dropout, and what of a training step goes back through
    them. Where anything else reads scores or probabilities, or the network hands them back, there is none."""
    touching: dict[str, list[Op]] = {}
    for op in workload.ops:
        for name in dict.fromkeys((*op.inputs, *op.outputs)):
            touching.setdefault(name, []).append(op)
    found = (_around(op, workload, touching) for op in workload.ops if isinstance(op, Vector) and op.function == _START)
    return [attention for attention in found if attention is not None]


def _around(softmax: Vector, workload: Workload, touching: dict[str, list[Op]]) -> Attention | None:
    """The attention of a softmax; None where it is none that a library's kernel knows."""
    size = workload.tensors[softmax.inputs[0]].elements
    inside: set[str] = set()
    names: set[str] = set()
    todo = [softmax.inputs[0], softmax.outputs[0]]
    while todo:
        tensor = todo.pop()
        if tensor in inside:
            continue
        inside.add(tensor)
        for op in touching[tensor]:
            names.add(op.name)
            if isinstance(op, Vector) and op.function in _INSIDE:
                todo += [name for name in (*op.inputs, *op.outputs) if workload.tensors[name].elements == size]
            elif not isinstance(op, Einsum):
                return None
    made = {name for op in workload.ops for name in op.outputs}
    if inside & workload.results or not inside <= made:
        return None
    ops = [op for op in workload.ops if op.name in names]
    forward, backward = ([op for op in ops if (op.phase == "FF") == first] for first in (True, False))
    products = [op for op in forward if isinstance(op, Einsum)]
    if len(products) != 2 or products[0].outputs[0] != softmax.inputs[0] or products[1].inputs[0] not in inside:
        return None
    queries, keys = workload.tensors[softmax.inputs[0]].shape[-2:]
    share = shown_share(queries, keys) if softmax.causal else 1.0
    if backward:
        scores, name = products[0], f"{products[0].name}.again"
        outputs = (f"{softmax.inputs[0]}.again",)
        backward.insert(0, replace(scores, name=name, phase="BP", outputs=outputs, of=scores.name))
        inside |= set(outputs)
    return Attention(tuple(forward), tuple(backward), frozenset(inside), share)


_START = "softmax"
_INSIDE = (_START, "dropout", "softmax_backward", "dropout_backward")
"""Vector ops that a kernel of attention applies to its scores, forward and backward."""

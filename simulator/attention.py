"""Attention as one kernel: scores and probabilities stay on chip, blocks that a causal mask hides are left out.

Dao et al., "FlashAttention", NeurIPS 2022; Dao, "FlashAttention-2", ICLR 2024, sections 3.1 and 3.3: blocks of scores
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
    """Ops of one attention that a library runs as one kernel. shown: share of the scores that it computes."""

    scores: Einsum
    softmax: Vector
    mix: Einsum
    shown: float

    @property
    def on_chip(self) -> dict[str, set[str]]:
        """For each of the ops, tensors that never leave the kernel."""
        before, after = self.softmax.inputs[0], self.softmax.outputs[0]
        return {self.scores.name: {before}, self.softmax.name: {before, after}, self.mix.name: {after}}

    @property
    def keys(self) -> dict[str, Literal["n", "k"]]:
        """For both products, the side along which a query's keys lie."""
        return {self.scores.name: "n", self.mix.name: "k"}

    @property
    def computed(self) -> Vector:
        """The softmax over the scores that are computed."""
        return replace(self.softmax, elements=math.ceil(self.softmax.elements * self.shown))


def shown_share(queries: int, keys: int, block: int = BLOCK) -> float:
    """Share of queries x keys in blocks that a causal mask does not hide whole: query i sees keys 0 to i."""
    seen = 0
    for first in range(0, queries, block):
        rows = min(block, queries - first)
        seen += rows * min(-(-(first + rows) // block) * block, keys)
    return seen / (queries * keys)


def attentions(workload: Workload) -> list[Attention]:
    """Softmaxes between two products that alone use its input and output. A training step saves the probabilities,
    and a model may hand them back, so that these are not fused."""
    producer = {name: op for op in workload.ops for name in op.outputs}
    readers: dict[str, list[Op]] = {}
    for op in workload.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    found = []
    for op in workload.ops:
        if not (isinstance(op, Vector) and op.function == "softmax"):
            continue
        before, after = op.inputs[0], op.outputs[0]
        scores, behind = producer.get(before), readers.get(after, [])
        alone = len(readers[before]) == len(behind) == 1 and not {before, after} & workload.results
        if alone and isinstance(scores, Einsum) and isinstance(behind[0], Einsum) and behind[0].inputs[0] == after:
            queries, keys = workload.tensors[before].shape[-2:]
            found.append(Attention(scores, op, behind[0], shown_share(queries, keys) if op.causal else 1.0))
    return found

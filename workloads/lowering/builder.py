"""The workload under construction: its tensors and ops, and how they are named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import BITS, Op, Role, Tensor
from zerocast.workloads.lowering.exporting.watch import checkpoint_of
from zerocast.workloads.lowering.origins import Origin
from zerocast.workloads.lowering.values import Value
from zerocast.workloads.patterns.detect import Found
from zerocast.workloads.training.autograd import Checkpoint
from zerocast.workloads.user_code.blame import place_in

_WHOLE = {
    torch.bool: "bool", torch.uint8: "uint8", torch.int8: "int8", torch.int16: "int16", torch.int32: "int32",
    torch.int64: "int64",
}  # fmt: skip


FEWEST_ZEROS = 0.01
"""Share of exact zeros from which a weight counts as pruned: random weights hold next to none."""

_NARROW = {1: "fp8"}
"""Floating types by their bytes that a model names only where it means them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A weight that is read as it is stored: in `holder`, as its owner has it.

    digest: of what is made of it. replaced: the tensors of that, which no product reads any more.
    """

    holder: Tensor
    digest: str
    replaced: list[str]


@dataclass
class Builder:
    """Collects what the rules emit.

    dtype: given to every floating tensor. unknown: operators without a rule that are priced by their bytes.
    trained: weights that a training step changes.
    computed: for each tensor, the first graph node whose result (or which of its results) is the whole of it, so
    that a run of the graph can tell what it holds.
    held: tensors that are there before a run and stay: inputs, buffers, and what has grown or changed in their place.
    origins: of each graph node that no input of the network goes into, what it is computed from (a tuple of them where
    the node has several results). deferred: why an op has no price, where it may yet be folded away, by op name.
    folded: for each weight, the operators that were folded into it. found: what the zeros that a weight holds keep to.
    zeros: what was found, by tensor and the ranks under which it is read.
    decided: weights whose zeros in the forward pass a recipe tells, so that none are looked for.
    stopped, checkpoints: what the module decides about its gradients (`training.autograd`), by name of op.
    skipped: graph nodes that are no part of the workload, and why: their sizes depend on the data.
    emitted: for each graph node that calls an operator, in order, the ops that its rule emitted and what it stands for.
    """

    model: str
    dtype: str
    unknown: frozenset[Any] = frozenset()
    trained: frozenset[str] = frozenset()
    decided: frozenset[str] = frozenset()
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)
    computed: dict[str, tuple[Node, int]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    origins: dict[Node, Any] = field(default_factory=dict)
    deferred: dict[str, NoRule] = field(default_factory=dict)
    folded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stored: dict[str, Kept] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    zeros: dict[Any, Found | None] = field(default_factory=dict)
    stopped: dict[str, frozenset[str]] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    skipped: dict[Node, str] = field(default_factory=dict)
    emitted: dict[Node, tuple[tuple[str, ...], Any]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... where it is taken."""
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return name if count == 0 else self.unique(f"{name}_{count}")

    def dtype_of(self, dtype: torch.dtype) -> str:
        """Data type in the IR: every floating type becomes the workload's own, but one that is narrower by design; a
        complex number is two of them (of 16 bits where they are narrower)."""
        if dtype.is_complex:
            return f"complex{2 * max(BITS[self.dtype], 16)}"
        if dtype.is_floating_point:
            narrow = _NARROW.get(dtype.itemsize, self.dtype)
            return narrow if BITS[narrow] < BITS[self.dtype] else self.dtype
        if dtype in _WHOLE:
            return _WHOLE[dtype]
        raise WorkloadError(f"model {self.model!r}: tensors of type {dtype} have no cost rule; use a real type")

    def add(self, name: str, like: torch.Tensor, role: Role, fixed: bool = False) -> Value:
        """Register a tensor with the shape and type of `like`."""
        shape = tuple(int(size) for size in like.shape)
        self.tensors[name] = Tensor(name, shape, self.dtype_of(like.dtype), role)
        return Value.whole(name, shape, fixed)

    def scratch(self, name: str, shape: Sequence[int], dtype: str | None = None, role: Role = "activation") -> Value:
        """Register a tensor that has no node of its own in the graph."""
        self.tensors[name] = Tensor(name, tuple(shape), dtype or self.dtype, role)
        return Value.whole(name, shape)

    def note(self, node: Node, result: Any) -> None:
        """Take down which tensors `node` computes, given what it stands for, and which weights they are made of."""
        for at, value in enumerate(result if isinstance(result, (list, tuple)) else (result,)):
            if isinstance(value, Value) and value.is_whole and value.tensor not in self.computed:
                self.computed[value.tensor] = (node, at)
                self._mark(value.tensor)

    def _mark(self, name: str) -> None:
        tensor, origin = self.tensors[name], self.origin(name)
        if tensor.role == "activation" and origin is not None and origin.operators:
            weights = [part for part in origin.flows if self.tensors[part].role == "weight"]
            same = [part for part in weights if self.tensors[part].elements == tensor.elements]
            largest = max(weights, key=lambda part: self.tensors[part].elements, default="")
            self.tensors[name] = replace(tensor, made_of=(*same, largest)[0])

    def origin(self, tensor: str) -> Origin | None:
        """What a tensor is computed from; None where an input of the network goes in."""
        if tensor not in self.computed:
            return None
        node, at = self.computed[tensor]
        found = self.origins.get(node)
        if isinstance(found, Origin) and isinstance(node.meta.get("val"), (list, tuple)):
            return found.item(at)
        return found[at] if isinstance(found, (list, tuple)) else found

    def nonzeros(self, tensor: str) -> Any:
        """Where a tensor made of weights and constants is nonzero (booleans in its shape); None where that is not
        known, or where too few zeros are there to be a pruning's."""
        origin = self.origin(tensor)
        data = None if origin is None or self.tensors[tensor].weight in self.decided else origin.value()
        if data is None or data.dim() < 2:
            return None
        if data.is_floating_point() and data.itemsize == 1:
            data = data.float()  # fp8 can be cast and little else
        bits = (data != 0).numpy()
        zeros = 1.0 - np.count_nonzero(bits) / max(bits.size, 1)
        return bits if zeros >= FEWEST_ZEROS else None

    def note_gradients(self, node: Node, values: Sequence[Value], since: int) -> None:
        """Take down for the ops from number `since` on, which `node` became, where its gradients stop, and the
        activation checkpoint that it runs in."""
        halted = frozenset(value.tensor for value in values if value.stopped)
        checkpoint = checkpoint_of(node)
        for op in self.ops[since:]:
            if halted & set(op.inputs):
                self.stopped[op.name] = halted & set(op.inputs)
            if checkpoint is not None:
                self.checkpoints[op.name] = checkpoint

    def is_weight(self, value: Value) -> bool:
        """True where the value views a parameter, or what is made of one."""
        return bool(self.tensors[value.tensor].weight)

    def is_known(self, value: Value) -> bool:
        """True where the value is there before the network runs: a weight, or a constant."""
        return self.is_weight(value) or self.tensors[value.tensor].role == "constant"

    def title(self, tensor: str) -> str:
        """What a constant is called by its owner: the largest buffer or attribute whose numbers it holds, before any
        that holds places."""
        origin = self.origin(tensor)
        parts = [self.tensors[part] for part in (origin.flows if origin is not None else ())]
        return max(parts, key=lambda part: (part.dtype == self.dtype, part.elements)).name if parts else tensor


@dataclass
class Call:
    """One operator call as a rule sees it: arguments by name, with graph nodes replaced by values."""

    build: Builder
    node: Node
    operator: str
    layer: str
    leaf: bool
    arguments: dict[str, Any]

    def __getitem__(self, argument: str) -> Any:
        return self.arguments.get(argument)

    @property
    def out(self) -> Any:
        """Shape and type of the result: a tensor without data, or a list of them."""
        return self.node.meta["val"]

    @property
    def values(self) -> list[Value]:
        """All tensor arguments, in order."""
        found: list[Value] = []
        for argument in self.arguments.values():
            items = argument if isinstance(argument, (list, tuple)) else (argument,)
            found += [item for item in items if isinstance(item, Value)]
        return found

    def name(self, part: str = "", owner: bool = False) -> str:
        """A fresh op name: the layer's path for the op a leaf layer is named after (or that owns the layer's
        weight, `owner`), else path.operator; `part` names one of several ops that a call becomes."""
        base = self.layer if self.layer and (owner or self.leaf) and not part else ""
        if not base:
            base = ".".join(piece for piece in (self.layer, part or self.operator) if piece)
        return self.build.unique(base)

    def result(self, name: str, like: torch.Tensor | None = None) -> Value:
        """The output tensor of op `name`."""
        return self.build.add(f"{name}.out", self.out if like is None else like, self.role(like))

    def role(self, like: torch.Tensor | None = None) -> Role:
        """Index for whole numbers, activation for floating and complex ones."""
        dtype = (self.out if like is None else like).dtype
        return "activation" if dtype.is_floating_point or dtype.is_complex else "index"


class NoRule(WorkloadError):
    """An operator call that no rule lowers as it stands; `target` may have parts that do."""

    def __init__(self, node: Node, layer: str, why: str = "has no cost rule", remedy: str = "") -> None:
        self.target: Any = node.target
        known = isinstance(node.target, torch._ops.OpOverload)
        name = node.target if known else getattr(node.target, "__name__", node.target)
        place = place_in(node.meta.get("stack_trace") or "")
        remedy = remedy or "pass allow_unknown=True (--allow-unknown) to price it by its bytes"
        super().__init__(f"operator {name} (node {node.name!r}, layer {layer!r}{place}) {why}; {remedy}")


def elements(tensor: torch.Tensor) -> int:
    """Number of elements of a tensor without data."""
    return math.prod(int(size) for size in tensor.shape)

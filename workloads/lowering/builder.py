"""The workload under construction: its tensors and ops, and how they are named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Op, Role, Tensor
from zerocast.workloads.lowering.values import Value
from zerocast.workloads.lowering.watch import checkpoint_of
from zerocast.workloads.training.autograd import Checkpoint

_WHOLE = {
    torch.bool: "bool", torch.uint8: "uint8", torch.int8: "int8", torch.int16: "int16", torch.int32: "int32",
    torch.int64: "int64",
}  # fmt: skip


@dataclass
class Builder:
    """Collects what the rules emit.

    dtype: given to every floating tensor. unknown: operators without a rule that are priced by their bytes.
    masks: exact zeros of real weights (bits in the weight's own shape).
    computed: for each tensor, the first graph node whose result (or which of its results) is the whole of it, so
    that a run of the graph can tell what it holds.
    stopped, checkpoints: what the module decides about its gradients (`training.autograd`), by name of op.
    """

    model: str
    dtype: str
    unknown: frozenset[Any] = frozenset()
    masks: Mapping[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    layers: dict[str, str] = field(default_factory=dict)
    computed: dict[str, tuple[Node, int]] = field(default_factory=dict)
    stopped: dict[str, frozenset[str]] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... where it is taken."""
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return name if count == 0 else self.unique(f"{name}_{count}")

    def dtype_of(self, dtype: torch.dtype) -> str:
        """Data type in the IR: every floating type becomes the workload's own."""
        if dtype.is_floating_point:
            return self.dtype
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
        """Take down which tensors `node` computes, given what it stands for."""
        for at, value in enumerate(result if isinstance(result, (list, tuple)) else (result,)):
            if isinstance(value, Value) and value.is_whole:
                self.computed.setdefault(value.tensor, (node, at))

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
        """True where the value views a parameter."""
        return self.tensors[value.tensor].role == "weight"


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
        """Index for whole numbers, activation for floating ones."""
        return "activation" if (self.out if like is None else like).dtype.is_floating_point else "index"


class NoRule(WorkloadError):
    """An operator call that no rule lowers as it stands; `target` may have parts that do."""

    def __init__(self, call: Call, why: str = "has no cost rule") -> None:
        self.target = call.node.target
        super().__init__(
            f"operator {call.node.target} (node {call.node.name!r}, layer {call.layer!r}) {why}; "
            "pass allow_unknown=True (--allow-unknown) to price it by its bytes"
        )


def elements(tensor: torch.Tensor) -> int:
    """Number of elements of a tensor without data."""
    return math.prod(int(size) for size in tensor.shape)

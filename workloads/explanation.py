"""What every node of an exported graph became: the ops of the workload, or why there is none."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from zerocast.workloads.dtypes import types_of
from zerocast.workloads.from_torch import lower_graph
from zerocast.workloads.ir import Einsum, Index, Op, Transfer, Vector
from zerocast.workloads.lowering.builder import Builder
from zerocast.workloads.lowering.exporting.forms import as_module, plain
from zerocast.workloads.lowering.exporting.positional import positional
from zerocast.workloads.lowering.values import Value
from zerocast.workloads.lowering.walk import owner


@dataclass(frozen=True, slots=True)
class ExplainedNode:
    """A node of the graph, its operator, the layer that it belongs to, the ops that it became with their kinds, and,
    where there is none, why."""

    node: str
    operator: str
    layer: str
    ops: tuple[str, ...]
    why: str


def explain(
    model: nn.Module,
    example_inputs: Sequence[Any] | Mapping[str, Any] | torch.Tensor,
    *,
    dtype: str = "fp16",
    allow_unknown: bool = False,
) -> list[ExplainedNode]:
    """What each node of the forward pass of a model becomes, in the graph's order; arguments and errors as `capture`'s.

    An operator without a rule stands there as the parts that it was taken apart into.
    """
    module = as_module(model)
    inputs = positional(module, example_inputs)
    title = type(module).__name__.lower()
    build, _, _ = lower_graph(
        plain(module, inputs), inputs, title, types_of(dtype).activations, False, allow_unknown
    )  # fmt: skip
    return list(_nodes(build))


def _nodes(build: Builder) -> Iterator[ExplainedNode]:
    left = {op.name: op for op in build.ops}
    for node, (names, value) in build.emitted.items():
        ops = tuple(_in_words(left[name]) for name in names if name in left)
        why = "" if ops else _why(build, node, names, value)
        yield ExplainedNode(node.name, _operator(node), owner(node)[0], ops, why)


def _operator(node: Node) -> str:
    return str(node.target) if isinstance(node.target, torch._ops.OpOverload) else getattr(
        node.target, "__name__", str(node.target)
    )  # fmt: skip


def _in_words(op: Op) -> str:
    """An op by name, kind and size."""
    if isinstance(op, Einsum):
        return f"{op.name}: einsum, {op.macs:,} MACs"
    if isinstance(op, Transfer) and not op.elements:
        return f"{op.name}: view, nothing moves"
    assert isinstance(op, (Vector, Index, Transfer))
    known = "" if not isinstance(op, Vector) or op.known else ", unknown: priced by its bytes alone"
    return f"{op.name}: {op.kind} {op.function}, {op.elements:,} elements{known}"


def _why(build: Builder, node: Node, emitted: tuple[str, ...], value: Any) -> str:
    """Why a node is none of the ops that are left."""
    if node in build.skipped:
        return f"in no total: {build.skipped[node]}"
    if node.target is operator.getitem:
        return "one of several results of the node before"
    if emitted:
        return "made of weights alone: folded into the weight that a product reads, or stored narrower"
    if not any(isinstance(each, Value) for each in torch.utils._pytree.tree_leaves(value)):
        return "a number or a check, no work on tensors"
    if isinstance(value, Value) and value.fixed:
        return "constant: known before the first input"
    if isinstance(value, Value) and build.tensors[value.tensor].role == "weight":
        return f"the weight {value.tensor} as it lies"
    return f"{value.tensor} as it lies, in another shape or type" if isinstance(value, Value) else "parts as they lie"

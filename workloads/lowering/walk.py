"""Walk an exported graph node by node and apply the rule of each operator."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Transfer, Vector
from zerocast.workloads.lowering.aliases import seen_elsewhere
from zerocast.workloads.lowering.builder import Builder, Call, NoRule, elements
from zerocast.workloads.lowering.exporting.watch import is_no_grad
from zerocast.workloads.lowering.in_place import is_overwrite
from zerocast.workloads.lowering.operators import (
    attention,
    contractions,
    convolution,
    experts,
    movement,
    recurrent,
    vectors,
    views,
)
from zerocast.workloads.lowering.origins import Origin, origin_of, source
from zerocast.workloads.lowering.values import Value, stop
from zerocast.workloads.user_code.blame import line, place_in

RULES: dict[str, Any] = {
    **contractions.RULES, **experts.RULES, **convolution.RULES, **attention.RULES, **vectors.RULES, **movement.RULES,
    **views.RULES, **recurrent.RULES,
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                     "new_empty", "zero", "fill", "rand_like", "randn_like"), lambda call: _constant(call)),
    "_local_scalar_dense": lambda call: None,  # a number that Python reads out of a tensor
}  # fmt: skip

_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")
_UNCHANGED = ("to", "_to_copy", "type_as", "alias", "detach", "lift_fresh_copy", "lift_fresh")
CONTRACTIONS = frozenset((*contractions.RULES, *experts.RULES, *convolution.RULES, *attention.RULES, *recurrent.RULES))
COUNTED = CONTRACTIONS - {"mv", "dot"}
"""Those whose multiply-accumulates FLOP counters see; the others are vectors, such as a spectral norm's of a weight."""
_SUMMED = CONTRACTIONS | frozenset(vectors.REDUCTIONS)
"""Operators whose results are no reordered, masked or rescaled form of an operand."""


def walk(build: Builder, graph: GraphModule, inputs: Mapping[str, Any], origins: Mapping[str, Any]) -> Any:
    """Lower all nodes of `graph`, whose placeholders stand for `inputs`; what the graph returns, as
    values.

    origins: of the placeholders that no input of the network goes into.
    """
    known: dict[Node, Any] = {}
    result: Any = None
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            known[node] = inputs.get(node.name)
            if origins.get(node.name) is not None:
                build.origins[node] = origins[node.name]
        elif node.op == "get_attr":
            known[node] = _attribute(build, graph, node)
        elif node.op == "output":
            result = _resolve(node.args[0], known)
        elif node.op == "call_function":
            since = len(build.ops)
            known[node] = _fixed_shapes(build, graph, node, known)
            build.emitted[node] = tuple(op.name for op in build.ops[since:]), known[node]
        build.note(node, known.get(node))
    return result


def _resolve(argument: Any, known: dict[Node, Any]) -> Any:
    if isinstance(argument, Node):
        return known.get(argument)
    if isinstance(argument, (list, tuple)):
        return type(argument)(_resolve(item, known) for item in argument)
    return argument


def _attribute(build: Builder, graph: GraphModule, node: Node) -> Any:
    found: Any = graph
    for piece in str(node.target).split("."):
        found = getattr(found, piece)
    if isinstance(found, torch.Tensor):
        value = build.add(build.unique(f"constant.{node.target}"), found, "constant", fixed=True)
        build.origins[node] = source(value.tensor, found)
        return value
    return found


def _fixed_shapes(build: Builder, graph: GraphModule, node: Node, known: dict[Node, Any]) -> Any:
    """The value of one call; None where its shapes, or those of what it reads, are known only when it has run."""
    for before in node.all_input_nodes:
        if before in build.skipped:
            return _skip(build, node, build.skipped[before])
    since = len(build.ops)
    try:
        return _function(build, graph, node, known)
    except GuardOnDataDependentSymNode:
        del build.ops[since:]
        where = place_in(node.meta.get("stack_trace") or "")
        return _skip(build, node, f"how much {node.target} (node {node.name!r}){where} gives depends on the data")


def _skip(build: Builder, node: Node, cause: str) -> None:
    """Leave out what has no size before it is run, such as the boxes above a score; `WorkloadError` where layers of the
    network work on it."""
    if isinstance(node.target, torch._ops.OpOverload) and _operator(node)[0] in COUNTED:
        raise WorkloadError(
            f"model {build.model!r}: {cause}, and layer {owner(node)[0]!r} multiplies it; use an operator of fixed "
            "shape, such as topk, or torch.where in place of a boolean mask"
        )
    build.skipped[node] = cause


def _function(build: Builder, graph: GraphModule, node: Node, known: dict[Node, Any]) -> Any:
    """The value of one call: a rule's, a constant's where nothing but constants goes in, a subgraph's."""
    if node.target is operator.getitem:
        results, at = _resolve(node.args, known)
        _pick_origin(build, node)
        return results[at] if at < len(results) else None  # a result that costs nothing
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        return _subgraph(build, node, known)
    if not isinstance(node.target, torch._ops.OpOverload):
        return _foreign(node, known)
    name, in_place = _operator(node)
    if name in _CHECKS:
        return None
    origin = origin_of(node, name, build.origins, name not in _SUMMED)
    call = _call(build, node, name, known)
    if origin is not None:
        build.origins[node] = origin
        call.leaf = False  # what is done to a layer's weight is not the layer's own op
    since = len(build.ops)
    _part(call)
    value = _apply(call)
    build.note_gradients(node, call.values, since)
    first = node.args[0] if node.args else None
    if in_place and isinstance(first, Node) and isinstance(value, Value):
        known[first] = value  # later readers of the overwritten tensor see the new content
        build.origins.pop(first, None)
        if origin is not None:
            build.origins[first] = origin
    return value


def _foreign(node: Node, known: dict[Node, Any]) -> None:
    """A function of Python: arithmetic on numbers, for which nothing is emitted; one that takes a tensor (what vmap
    leaves in a graph, for one) has no rule as it stands."""
    if any(isinstance(known.get(before), Value) for before in node.all_input_nodes):
        raise NoRule(node, owner(node)[0], remedy="write what it does with operators of torch")


def _pick_origin(build: Builder, node: Node) -> None:
    """One of several results of a node that no input goes into."""
    results, place = node.args
    found, at = build.origins.get(cast(Node, results)), cast(int, place)
    if isinstance(found, Origin):
        build.origins[node] = found.item(at)
    elif found is not None and at < len(found) and found[at] is not None:
        build.origins[node] = found[at]


def _operator(node: Node) -> tuple[str, bool]:
    """Name of the operator without the underscore that marks in-place, and whether it had one."""
    name = node.target.overloadpacket.__name__  # type: ignore[union-attr]
    in_place = is_overwrite(node)
    return (name.removesuffix("_") if in_place else name), in_place


def _call(build: Builder, node: Node, name: str, known: dict[Node, Any]) -> Call:
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    arguments = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    arguments = {argument.name: arguments.get(argument.name) for argument in schema}
    for argument, given in zip(schema, node.args, strict=False):
        arguments[argument.name] = _resolve(given, known)
    arguments.update({key: _resolve(given, known) for key, given in node.kwargs.items()})
    layer, leaf = owner(node)
    return Call(build, node, name, layer, leaf, arguments)


def owner(node: Node) -> tuple[str, bool]:
    """Path of the innermost module the node belongs to, and whether that is a leaf of torch.nn."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", False
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    whole = ("torch.nn.modules.rnn", "torch.nn.modules.container", "torch.nn.modules.transformer",
             "torch.nn.modules.activation.MultiheadAttention")  # fmt: skip
    leaf = kind.startswith("torch.nn.modules.") and not kind.startswith(whole)
    return str(path).partition("@")[0], leaf


def _apply(call: Call) -> Any:
    values = call.values
    if call.operator in _UNCHANGED and values[0].fixed and _same_type(call):
        return values[0]
    if all(value.fixed for value in values) and call.operator not in CONTRACTIONS:
        return _constant(call)
    try:
        return _by_rule(call)
    except NoRule as strange:
        if call.node.target in call.build.unknown:
            return _unknown(call)
        if not _may_fold(call):
            raise
        known = len(call.build.ops)
        value = _unknown(call)
        call.build.deferred.update({op.name: strange for op in call.build.ops[known:]})
        return value


def _by_rule(call: Call) -> Any:
    """What the operator's rule makes of the call; `NoRule` where there is none or where it does not know the call."""
    rule = None if _writes_a_part(call) else RULES.get(call.operator)
    if rule is None:
        raise NoRule(call.node, call.layer)
    try:
        return rule(call)
    except (WorkloadError, GuardOnDataDependentSymNode):
        raise
    except Exception as error:
        raise NoRule(call.node, call.layer, f"is called as its cost rule does not know it ({line(error)})") from error


def _may_fold(call: Call) -> bool:
    """Whether the call works on weights alone that no step changes, so that it may need no price."""
    found = call.build.origins.get(call.node)
    return isinstance(found, Origin) and not set(found.sources) & call.build.trained


def _part(call: Call) -> None:
    """Tell a tensor that is read with and without a way back for gradients apart: the second is a view of its own."""
    open_ways = {value.tensor for value in call.values if not value.stopped}

    def parted(value: Value) -> Value:
        if not value.stopped or value.tensor not in open_ways:
            return value
        name = call.build.unique(f"{value.tensor}.detached")
        view = call.build.scratch(name, value.shape, call.build.tensors[value.tensor].dtype)
        call.build.ops.append(Transfer(name, call.layer, "FF", (value.tensor,), (name,), "detach", 0))
        call.build.stopped[name] = frozenset((value.tensor,))
        return view

    call.arguments = torch.utils._pytree.tree_map_only(Value, parted, call.arguments)


def _writes_a_part(call: Call) -> bool:
    """A write into a view: the tensor behind the view changes, which only a functional graph shows."""
    in_place = _operator(call.node)[1]
    return in_place and (call.operator == "copy" or seen_elsewhere(call.node))


def _same_type(call: Call) -> bool:
    return call.build.dtype_of(call.out.dtype) == call.build.tensors[call.values[0].tensor].dtype


def _constant(call: Call) -> Any:
    """Made of constants alone: known before the first input, so nothing is computed at run time."""
    outs = call.out
    if isinstance(outs, (list, tuple)):
        return [
            call.build.add(call.build.unique(f"constant.{call.node.name}"), out, "constant", fixed=True) for out in outs
        ]
    if not isinstance(outs, torch.Tensor):
        return outs
    return call.build.add(call.build.unique(f"constant.{call.node.name}"), outs, "constant", fixed=True)


def _unknown(call: Call) -> Any:
    """No rule: a vector op without arithmetic, priced by the bytes it reads and writes."""
    outs = call.out if isinstance(call.out, (list, tuple)) else [call.out]
    tensors = [out for out in outs if isinstance(out, torch.Tensor)]
    if not tensors:
        return None  # a number read out of a tensor
    name = call.name()
    results = [
        call.build.add(f"{name}.out" if at == 0 else f"{name}.out{at}", out, call.role(out))
        for at, out in enumerate(tensors)
    ]
    count = sum(elements(out) for out in tensors)
    names = tuple(value.tensor for value in call.values), tuple(value.tensor for value in results)
    call.build.ops.append(Vector(name, call.layer, "FF", *names, call.operator, count, 0.0, known=False))
    return results if isinstance(call.out, (list, tuple)) else results[0]


def region(node: Node) -> tuple[GraphModule | None, dict[str, Any]]:
    """The graph that a higher-order operator runs in place, None where there is none, and what it is called with, by
    the names of its placeholders."""
    for at, each in enumerate(node.args):
        inner = getattr(node.graph.owning_module, str(each.target), None) if _is_attribute(each) else None  # type: ignore[union-attr]
        if isinstance(inner, GraphModule):
            holders = [holder.name for holder in inner.graph.find_nodes(op="placeholder")]
            return inner, dict(zip(holders, node.args[at + 1 :], strict=True))
    return None, {}


def _is_attribute(argument: Any) -> bool:
    return isinstance(argument, Node) and argument.op == "get_attr"


def _subgraph(build: Builder, node: Node, known: dict[Node, Any]) -> Any:
    """A region under no_grad or autocast: its graph is walked in place."""
    graph, given = region(node)
    if graph is None or str(node.target) not in ("wrap_with_set_grad_enabled", "wrap_with_autocast"):
        raise WorkloadError(
            f"model {build.model!r}: control flow ({node.target}) cannot be lowered; write the branch taken instead"
        )
    origins = {name: build.origins.get(each) if isinstance(each, Node) else None for name, each in given.items()}
    results = walk(build, graph, {name: _resolve(each, known) for name, each in given.items()}, origins)
    if cause := next((build.skipped[inner] for inner in graph.graph.nodes if inner in build.skipped), ""):
        return _skip(build, node, cause)
    returned = graph.graph.output_node().args[0]
    inner = returned if isinstance(returned, (list, tuple)) else (returned,)
    build.origins[node] = tuple(build.origins.get(each) for each in inner)  # type: ignore[call-overload, arg-type]
    return torch.utils._pytree.tree_map_only(Value, stop, results) if is_no_grad(node) else results

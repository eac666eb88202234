"""Which channels, heads and hidden dimensions of a network go together: its graph followed once, on the meta device.

The graph that `torch.export` takes tells which dimensions of which weights are one: an operator ties axes of its
operands and results (`rules`), and the ranks that are left in the end (`axes`) are the coupled groups. No rule knows
any kind of layer or network, nothing needs data.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from zerocast.workloads.lowering.exporting.export import export
from zerocast.workloads.lowering.walk import owner, region
from zerocast.workloads.transforms.groups.axes import (
    Axis,
    Fixed,
    Rank,
    fixed,
    fresh,
    mark,
    ranks_of,
    resolve,
    size_of,
    term_size,
)
from zerocast.workloads.transforms.groups.rules import RULES
from zerocast.workloads.transforms.groups.rules.elementwise import pointwise
from zerocast.workloads.transforms.groups.rules.step import Axes, Product, Step, is_axes, unknown


@dataclass(frozen=True, slots=True)
class Group:
    """Coupled places of dimensions: kept or removed together, one by one.

    kind: heads (of an attention; those that share keys are one place), ffn (made by linear layers, read by others,
    added to nothing), hidden (added to what another layer made: the trunk that shortcuts run along), channels (the
    others). makers, readers: layers that give and sum them. weights: (parameter or buffer, dimension) that have them.
    inside: each place is repeated for every place of another group, as the dimensions of a head are. each: channels of
    a layer that makes them to a place; shared: query heads to a place. output: the network returns them.
    """

    rank: Rank
    kind: str
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    weights: tuple[tuple[str, int], ...]
    inside: bool
    output: bool
    each: int = 1
    shared: int = 1

    @property
    def size(self) -> int:
        """Number of places."""
        return self.rank.size

    @property
    def counted(self) -> str:
        """What its places are called."""
        return {"heads": "heads or groups of heads", "hidden": "hidden dimensions"}.get(self.kind, "channels")

    @property
    def name(self) -> str:
        """Of the first layer that makes them."""
        return next(iter((*self.makers, *self.readers, self.weights[0][0])))


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that the code of a module wrote into an operator: the size that it gave, and the axis that has it."""

    module: str
    size: int
    axis: Axis


@dataclass(frozen=True, slots=True)
class Coupled:
    """A network's groups. weights: axes of every parameter and buffer, by name; products: its multiply-accumulates;
    literals: sizes in its code; outputs: axes of what it returns."""

    groups: tuple[Group, ...]
    weights: Mapping[str, Axes]
    products: tuple[Product, ...]
    literals: tuple[Literal, ...]
    outputs: tuple[Axes, ...]


def coupled(model: nn.Module, inputs: tuple[Any, ...]) -> Coupled:
    """The groups of a network called with `inputs`. Raises `WorkloadError` for one that cannot be exported."""
    program = export(model, inputs, type(model).__name__, training=False)
    follow = _Follower()
    outputs = follow.walk(program.graph_module, _sources(program, model, follow.weights))
    kept = program.graph_signature.output_specs
    given = tuple(axes for spec, axes in zip(kept, outputs, strict=True) if spec.kind.name == "USER_OUTPUT"
                  and is_axes(axes))  # fmt: skip
    for axis in (axis for axes in given for axis in axes):
        mark(axis, "output")
    groups = tuple(_groups(follow.weights, follow.products))
    return Coupled(groups, follow.weights, tuple(follow.products), tuple(follow.literals), given)


def _sources(
    program: ExportedProgram, model: nn.Module, weights: dict[str, Axes]
) -> dict[str, tuple[Axes | None, bool]]:
    """Axes of every placeholder, and whether no input of the network goes in. A tied weight is one."""
    held: dict[int, Axes] = {}
    named = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    values = {node.name: node.meta.get("val") for node in program.graph.find_nodes(op="placeholder")}
    found: dict[str, tuple[Axes | None, bool]] = {}
    for spec in program.graph_signature.input_specs:
        value = values.get(spec.arg.name)
        if not isinstance(value, torch.Tensor):
            found[spec.arg.name] = (None, True)
        elif spec.kind is InputKind.USER_INPUT:
            found[spec.arg.name] = (tuple(fixed(int(size), "it is an input's") for size in value.shape), False)
        else:
            axes = tuple(fresh(int(size)) for size in value.shape)
            tensor = named.get(str(spec.target))
            if tensor is not None:
                axes = held.setdefault(id(tensor), axes)
                weights[str(spec.target)] = axes
            found[spec.arg.name] = (axes, True)
    return found


class _Follower:
    """Walks a graph and applies the rule of each operator."""

    def __init__(self) -> None:
        self.weights: dict[str, Axes] = {}
        self.products: list[Product] = []
        self.literals: list[Literal] = []

    def walk(self, graph: GraphModule, sources: Mapping[str, tuple[Any, bool]]) -> Any:
        known: dict[Node, Any] = {}
        constant: set[Node] = set()
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                known[node], plain = sources.get(node.name, (None, True))
                constant |= {node} if plain else set()
            elif node.op == "get_attr":
                value = node.meta.get("val", getattr(graph, str(node.target), None))
                known[node] = tuple(map(fresh, value.shape)) if isinstance(value, torch.Tensor) else value
                constant.add(node)
            elif node.op == "output":
                return tree_map(lambda each: known.get(each) if isinstance(each, Node) else each, node.args[0])
            else:
                constant |= {node} if constant.issuperset(node.all_input_nodes) else set()
                known[node] = self._call(node, known, constant)
        return None

    def _call(self, node: Node, known: Mapping[Node, Any], constant: set[Node]) -> Any:
        def axes(argument: Any) -> Any:
            if isinstance(argument, Node):
                return known.get(argument)
            return type(argument)(map(axes, argument)) if isinstance(argument, (list, tuple)) else argument

        if node.target is operator.getitem:
            return known[node.args[0]][node.args[1]]  # type: ignore[index]
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            inner, given = region(node)
            if inner is not None:
                return self.walk(inner, {name: (axes(each), each in constant) for name, each in given.items()})
        if not isinstance(node.target, torch._ops.OpOverload):
            return None
        return self._by_rule(_step(node, axes, constant, self.products))

    def _by_rule(self, step: Step) -> Any:
        tags = step.target.tags
        rule = RULES.get(step.name) or (pointwise if torch.Tag.pointwise in tags else unknown)
        if not any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(step.out)):
            return None  # a check, or a number read out of a tensor
        result = rule(step)
        self._note(step, result)
        return result

    def _note(self, step: Step, result: Any) -> None:
        """Numbers in the code that are sizes of the results."""
        dim = step["dim"] or 0
        first = result[0] if isinstance(result, list) and result else result
        listed = next((value for value in step.arguments.values() if _is_numbers(value)), ())
        pairs: list[tuple[Any, Axis]] = []
        if not is_axes(first):
            return
        if isinstance(result, list):
            sizes = listed or [step["split_size"]] * len(result)
            pairs = [(size, axes[dim]) for size, axes in zip(sizes, result, strict=False) if axes]
        elif step.name == "slice" and not step["start"]:
            pairs = [(step["end"], first[dim])]
        elif len(listed) == len(first):
            pairs = list(zip(listed, first, strict=True))
        elif step.name.endswith("_norm"):
            pairs = list(zip(listed, first[-len(listed) :], strict=True)) if listed else []
        self.literals += [Literal(step.layer, size, axis) for size, axis in pairs
                          if isinstance(size, int) and size == size_of(axis) > 1]  # fmt: skip


def _is_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(type(each) is int for each in value)


def _step(node: Node, axes: Any, constant: set[Node], products: list[Product]) -> Step:
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    given |= {argument.name: value for argument, value in zip(schema, node.args, strict=False)} | dict(node.kwargs)
    still = frozenset(name for name, value in given.items() if isinstance(value, Node) and value in constant)
    name = node.target.overloadpacket.__name__.removesuffix("_")  # type: ignore[union-attr]
    return Step(name, owner(node)[0], {key: axes(value) for key, value in given.items()}, still,
                node.meta.get("val"), node.target, products)  # fmt: skip


def _groups(weights: Mapping[str, Axes], products: Sequence[Product]) -> Iterator[Group]:
    """Every rank that some layer makes or reads."""
    places: dict[Rank, dict[tuple[str, int], None]] = {}
    inside: set[Rank] = set()
    for name, axes in weights.items():
        for dim, axis in enumerate(axes):
            for term in resolve(axis):
                ranks = [factor for factor in term if isinstance(factor, Rank)]
                inside |= set(ranks[1:])
                for rank in ranks:
                    places.setdefault(rank, {})[name, dim] = None
    makers: dict[Rank, dict[str, None]] = {}
    readers: dict[Rank, dict[str, None]] = {}
    looked_up: set[Rank] = set()
    for product in products:
        for side, summed in ((makers, product.outer), (readers, product.inner)):
            for rank in ranks_of(summed) if summed is not None and product.weighted else ():
                side.setdefault(rank, {})[product.layer] = None
        looked_up |= set(ranks_of(product.outer)) if product.outer is not None and product.inner is None else set()
    for rank, held in places.items():
        made, read = tuple(makers.get(rank, ())), tuple(readers.get(rank, ()))
        if made or read:
            linear = rank not in looked_up and not any(_is_kernel(weights[name]) for name, _ in held)
            kind = _kind(rank, linear and bool(made and read))
            each, shared = _repeats(rank, weights, held)
            yield Group(rank, kind, made, read, tuple(held), rank in inside, "output" in rank.marks, each, shared)


def _repeats(rank: Rank, weights: Mapping[str, Axes], held: Iterable[tuple[str, int]]) -> tuple[int, int]:
    """Channels, and query heads, that a place stands for: the most of any weight that has it."""
    terms = [term for name, dim in held for term in resolve(weights[name][dim]) if rank in term]
    shared = [
        prod(factor.size for factor in term if isinstance(factor, Rank) and "heads" in factor.marks) for term in terms
    ]
    return max(map(term_size, terms)) // rank.size, max(max(shared) // rank.size, 1)


def _is_kernel(axes: Axes) -> bool:
    """Whether a weight is that of a convolution; three dimensions may be a matrix for each expert."""
    return len(axes) > 3 or (len(axes) == 3 and not ranks_of(axes[2]))


def _kind(rank: Rank, between_linear: bool) -> str:
    if "heads" in rank.marks:
        return "heads"
    if "summed" in rank.marks:
        return "hidden"
    return "ffn" if between_linear and not rank.marks & {"attended", "recurrent"} else "channels"


def fixed_because(axis: Axis) -> str:
    """Why places of an axis stay, "" where all may go."""
    return next((factor.why for term in resolve(axis) for factor in term if isinstance(factor, Fixed)), "")

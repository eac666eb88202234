"""Recurrent layers as libraries run them: the input products of all steps as one, then a step after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from zerocast.workloads.flops import FLOPS
from zerocast.workloads.ir import Transfer, Vector
from zerocast.workloads.lowering.builder import Call, NoRule
from zerocast.workloads.lowering.operators.contractions import contract, plain
from zerocast.workloads.lowering.values import Value

STEP = "t"
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
"""Products for each number of a state."""
Inner = Literal["input", "start", "states"]
"""What products of a layer in a direction read: its input, the state before the first step, those before the others."""


def inner_place(results: int, number: int, which: Inner) -> int:
    """Where `Builder.computed` has a tensor that a recurrent node computes inside, after the results that it returns.
    number: of the layer and direction."""
    kinds = get_args(Inner)
    return results + number * len(kinds) + kinds.index(which)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Steps and samples, and the order that they lie in."""

    steps: int
    batch: int
    batch_first: bool

    @property
    def ranks(self) -> tuple[str, str]:
        return ("m", STEP) if self.batch_first else (STEP, "m")

    def shape(self, steps: int, width: int) -> tuple[int, int, int]:
        """Of numbers for some of the steps."""
        return (self.batch, steps, width) if self.batch_first else (steps, self.batch, width)


def recurrent(call: Call, kind: str) -> list[Value | None]:
    """lstm, gru, rnn_tanh, rnn_relu over whole sequences: the output, and the states after the last step.

    An output of one layer is the input of the next; a second direction runs beside the first. What a step makes of the
    state before it is a product of its own, so that these run one after another (`Einsum.steps`).
    """
    x = call["input"]
    if x is None:
        raise NoRule(call.node, call.layer, "runs over packed sequences", "pad them to one length")
    sides = (x.shape[1], x.shape[0]) if call["batch_first"] else x.shape[:2]
    layout = _Layout(sides[0], sides[1], bool(call["batch_first"]))
    start = call["hx"] if isinstance(call["hx"], (list, tuple)) else [call["hx"]]
    directions = 2 if call["bidirectional"] else 1
    each = len(call["params"]) // (int(call["num_layers"]) * directions)
    outs: list[Value] = []
    for layer in range(int(call["num_layers"])):
        if layer and call["train"] and call["dropout"]:
            x = _vector(call, "dropout", [x], x.shape)
        both = []
        for number in range(layer * directions, (layer + 1) * directions):
            weights = call["params"][number * each : (number + 1) * each]
            both.append(_direction(_Direction(call, kind, number, layout), x, start, weights, bool(call["has_biases"])))
        outs += both
        x = both[0] if directions == 1 else _view(call, "cat", both, layout.shape(layout.steps, 2 * both[0].shape[-1]))
    return [x, *(_last(call, outs, at) for at in range(1, len(call.out)))]


@dataclass(frozen=True, slots=True)
class _Direction:
    """One layer in one direction, `number` of all."""

    call: Call
    kind: str
    number: int
    layout: _Layout

    def inner(self, value: Value, which: Inner) -> Value:
        """The value, taken down as one that the node computes and does not return."""
        self.call.build.computed[value.tensor] = (self.call.node, inner_place(len(self.call.out), self.number, which))
        return value


def _direction(part: _Direction, x: Value, start: Sequence[Value], weights: Sequence[Value], has_biases: bool) -> Value:
    """What comes in for all steps, what the first makes of the state that is given and the others of those before
    them, and the gates."""
    call, layout, (into, own) = part.call, part.layout, weights[:2]
    biases = weights[2:4] if has_biases else (None, None)
    ranks, (gates, width) = layout.ranks, own.shape
    if part.number:
        part.inner(x, "input")
    entering = contract(
        call, {STEP: layout.steps, "m": layout.batch, "c": x.shape[-1], "k": gates}, (x, plain(*ranks, "c")),
        (into, plain("k", "c")), plain(*ranks, "k"), biases[0], shape=layout.shape(layout.steps, gates),
    )  # fmt: skip
    given = [_state(part, each) for each in start]
    first = contract(
        call, {"m": layout.batch, "c": width, "k": gates}, (given[0], plain("m", "c")), (own, plain("k", "c")),
        plain("m", "k"), biases[1], shape=(layout.batch, gates),
    )  # fmt: skip
    parts = [entering, first, *(each for each in given[1:] if not each.fixed)]
    if later := layout.steps - 1:
        source = first if own.tensor in call.build.trained else entering
        states = part.inner(_view(call, "recurrence", [source], layout.shape(later, width)), "states")
        parts.insert(1, contract(
            call, {STEP: later, "m": layout.batch, "c": width, "k": gates}, (states, plain(*ranks, "c")),
            (own, plain("k", "c")), plain(*ranks, "k"), biases[1], shape=layout.shape(later, gates), steps=STEP,
        ))  # fmt: skip
    hidden = into.shape[0] // GATES[part.kind]
    out = _vector(call, f"{part.kind}_cell", parts, layout.shape(layout.steps, hidden))
    if hidden == width:
        return out
    return contract(  # states that are projected to fewer numbers
        call, {STEP: layout.steps, "m": layout.batch, "c": hidden, "k": width}, (out, plain(*ranks, "c")),
        (weights[-1], plain("k", "c")), plain(*ranks, "k"), shape=layout.shape(layout.steps, width), steps=STEP,
    )  # fmt: skip


def _state(part: _Direction, start: Value) -> Value:
    """The state before the first step."""
    build, shape = part.call.build, start.shape[1:]
    if not start.fixed:
        return part.inner(_view(part.call, "slice", [start], shape), "start")
    name = build.unique(".".join(filter(None, (part.call.layer, "start"))))
    return replace(build.scratch(name, shape, role="constant"), fixed=True)


def _last(call: Call, outs: Sequence[Value], at: int) -> Value | None:
    """The states after the last step, of all layers, where anything asks for them."""
    asked = any(user.args[1] == at for user in call.node.users if len(user.args) > 1)
    return _view(call, "slice", outs[::-1], tuple(call.out[at].shape)) if asked else None


def _view(call: Call, function: str, inputs: Sequence[Value], shape: Sequence[int]) -> Value:
    """Parts of tensors, or tensors side by side, which the kernels read and write where they lie."""
    name = call.name(function)
    out = call.build.scratch(f"{name}.out", shape)
    names = tuple(value.tensor for value in inputs)
    call.build.ops.append(Transfer(name, call.layer, "FF", names, (out.tensor,), function, 0))
    return out


def _vector(call: Call, function: str, inputs: Sequence[Value], shape: Sequence[int]) -> Value:
    name = call.name(function)
    out = call.build.scratch(f"{name}.out", shape)
    names, flops = tuple(value.tensor for value in inputs), FLOPS[function]
    call.build.ops.append(Vector(name, call.layer, "FF", names, (out.tensor,), function, out.elements, flops))
    return out


RULES: dict[str, Any] = {kind: partial(recurrent, kind=kind) for kind in GATES}

"""Backward of vector ops: what each reads again, and its arithmetic.

What is read again is what PyTorch's autograd saves: ReLU its output, batch norm its input and statistics,
max pooling its indices, dropout its mask. It decides which activations live until the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zerocast.workloads.ir import Einsum, Op, Tensor, Vector, Workload
from zerocast.workloads.training.backward.tape import Tape, mark


@dataclass(frozen=True, slots=True)
class Rule:
    """reads: any of `input`, `output`, `saved` (an extra result of the forward op). flops: per element."""

    reads: tuple[str, ...]
    flops: float


_INPUT, _OUTPUT, _SAVED = ("input",), ("output",), ("saved",)

UNARY: dict[str, Rule] = {
    "relu": Rule(_OUTPUT, 1),  # dy where y > 0
    "hardtanh": Rule(_INPUT, 3),
    "clamp": Rule(_INPUT, 3),
    "leaky_relu": Rule(_INPUT, 2),
    "sigmoid": Rule(_OUTPUT, 3),  # dy y (1 - y)
    "tanh": Rule(_OUTPUT, 3),  # dy (1 - y^2)
    "exp": Rule(_OUTPUT, 1),
    "sqrt": Rule(_OUTPUT, 2),
    "rsqrt": Rule(_OUTPUT, 3),
    "reciprocal": Rule(_OUTPUT, 3),
    "neg": Rule((), 1),
    "pow": Rule(_INPUT, 3),
    "square": Rule(_INPUT, 2),
    "gelu": Rule(_INPUT, 11),  # normal cdf 4, normal density 4, combination 3
    "gelu_tanh": Rule(_INPUT, 17),
    "silu": Rule(_INPUT, 8),
    "softmax": Rule(_OUTPUT, 4),  # y (dy - sum dy y)
    "log_softmax": Rule(_OUTPUT, 4),
    "dropout": Rule(_SAVED, 2),
    "max_pool": Rule(_SAVED, 1),
    "avg_pool": Rule((), 1),
    "sum": Rule((), 1),
    "mean": Rule((), 1),
    "convert": Rule((), 1),
}

NORMS: dict[str, Rule] = {
    # d(scale), d(shift): 3; two sums over the normalised group: 4; the input's gradient: 4 (Ioffe, Szegedy
    # 2015)
    "batch_norm": Rule(("input", "saved"), 11),
    "layer_norm": Rule(("input", "saved"), 11),
    "group_norm": Rule(("input", "saved"), 11),
    "rms_norm": Rule(("input", "saved"), 8),
    "batch_norm_eval": Rule(("input",), 5),
}

_CELLS = ("lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
"""Gates that add up what comes in and what the states before give, so that both have one gradient."""
_PASSES = ("add", "sub")
_PRODUCTS = {"mul": 1.0, "div": 3.0}
_GROWS = ("max_pool", "avg_pool", "sum", "mean")
"""Their backward works on the elements of the input's gradient."""


def with_saved(forward: Workload, needs: frozenset[str]) -> Workload:
    """The forward ops with the extra results that their backward reads: masks, indices, statistics."""
    added: dict[str, Tensor] = {}
    ops: list[Op] = []
    for op in forward.ops:
        rule = (UNARY.get(op.function) or NORMS.get(op.function)) if isinstance(op, Vector) else None
        if rule is not None and "saved" in rule.reads and op.outputs[0] in needs:
            saved = _saved(op, forward.tensors)  # type: ignore[arg-type]
            added[saved.name] = saved
            op = replace(op, outputs=(*op.outputs, saved.name))
        ops.append(op)
    return forward.with_ops(tuple(ops), **added)


def saves(op: Op) -> bool:
    """Whether autograd keeps something of an op for its backward pass."""
    if not isinstance(op, Vector):
        return isinstance(op, Einsum)
    rule = UNARY.get(op.function) or NORMS.get(op.function)
    return bool(rule.reads) if rule is not None else op.function not in _PASSES


def _saved(op: Vector, tensors: dict[str, Tensor]) -> Tensor:
    x, out = tensors[op.inputs[0]], tensors[op.outputs[0]]
    if op.function == "dropout":
        return Tensor(f"{op.name}.mask", out.shape, "bool", "index")
    if op.function == "max_pool":
        return Tensor(f"{op.name}.indices", out.shape, "int64", "index")
    if op.function == "batch_norm":
        channels = tensors[op.inputs[1]].elements if len(op.inputs) > 1 else x.shape[1]
        return Tensor(f"{op.name}.statistics", (2, channels), "fp32", "activation")
    # a layer norm has a pair per row, which its weight spans; a group norm a pair per sample and group
    row = tensors[op.inputs[1]].elements if len(op.inputs) > 1 and op.function != "group_norm" else x.shape[-1]
    return Tensor(f"{op.name}.statistics", (2, x.elements // row), "fp32", "activation")


def backward(tape: Tape, op: Vector, gradient: str) -> None:
    """Emit what computes the gradients of the op's inputs from that of its first output."""
    targets = tape.wanted(op.inputs)
    if op.function in NORMS:
        _norm(tape, op, gradient, targets)
    elif op.function in _PASSES:
        for position, target in enumerate(op.inputs):
            if target in tape.needs:
                passed(tape, op, gradient, target, position)
    elif op.function in _PRODUCTS and len(op.inputs) == 2:
        _product(tape, op, gradient)
    elif op.function in _CELLS and {*op.inputs[:2]} <= tape.needs:
        _any(tape, op, gradient, [name for name in targets if name != op.inputs[1]])
        tape.give(op.inputs[1], tape.parts[op.inputs[0]][-1])
    elif op.function in UNARY or (op.function in _PRODUCTS and len(op.inputs) == 1):
        _unary(tape, op, gradient, targets[0])
    else:
        _any(tape, op, gradient, targets)


def passed(tape: Tape, op: Op, gradient: str, target: str, position: int = 0) -> None:
    """The gradient of an input that passes the gradient of the output through; summed where it was
    broadcast."""
    count = tape.tensors[gradient].elements
    if count == tape.tensors[target].elements:
        tape.give(target, gradient)
    else:
        tape.vector(op, target, "sum", (gradient,), count, 1.0, mark(position))


def _norm(tape: Tape, op: Vector, gradient: str, targets: list[str]) -> None:
    rule = NORMS[op.function]
    weight = [name for name in op.inputs[1:2] if tape.tensors[name].weight]
    reads = (gradient, *_again(op, rule), *weight)
    outputs = tuple(tape.fresh(name) for name in targets)
    function = f"{op.function}_backward"
    tape.emit(Vector(f"{op.name}.BP", op.layer, "BP", reads, outputs, function, op.elements, rule.flops))


def _again(op: Vector, rule: Rule) -> list[str]:
    places = {"input": op.inputs[0], "output": op.outputs[0], "saved": op.outputs[-1]}
    return [places[what] for what in rule.reads]


def _unary(tape: Tape, op: Vector, gradient: str, target: str) -> None:
    rule = UNARY.get(op.function, Rule((), 1))
    count = tape.tensors[target].elements if op.function in _GROWS else op.elements
    tape.vector(op, target, f"{op.function}_backward", (gradient, *_again(op, rule)), count, rule.flops)


def _product(tape: Tape, op: Vector, gradient: str) -> None:
    """d(ab) = da b + a db; a factor that was broadcast sums its gradient in the same op."""
    for position, target in enumerate(op.inputs):
        if target not in tape.needs:
            continue
        other = op.inputs[1 - position]
        count = tape.tensors[gradient].elements
        flops = 1.0 if position == 0 else _PRODUCTS[op.function]
        flops += count != tape.tensors[target].elements
        function = "mul" if op.function == "mul" else "div_backward"
        tape.vector(op, target, function, (gradient, other), count, flops, mark(position))


def _any(tape: Tape, op: Vector, gradient: str, targets: list[str]) -> None:
    """No rule of its own: reads its inputs again and costs twice the forward op, a product per input."""
    inputs = (gradient, *dict.fromkeys(op.inputs))
    outputs = tuple(tape.fresh(name) for name in targets)
    flops = 2 * op.flops_per_element
    tape.emit(
        Vector(
            f"{op.name}.BP",
            op.layer,
            "BP",
            inputs,
            outputs,
            f"{op.function}_backward",
            op.elements,
            flops,
            known=op.known,
        )
    )

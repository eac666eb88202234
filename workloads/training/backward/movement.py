"""Backward of index and transfer ops: gather and scatter-add mirror each other, as cat and split do."""

from __future__ import annotations

from zerocast.workloads.ir import Index, Transfer, Vector
from zerocast.workloads.training.backward.tape import Tape, phase_of
from zerocast.workloads.training.backward.vectors import passed


def index_backward(tape: Tape, op: Index, gradient: str) -> None:
    """Gathers and selections scatter their gradient back; scatters gather that of what they wrote."""
    base, *rest = op.inputs
    if op.function in ("scatter", "scatter_add"):
        if base in tape.needs:
            passed(tape, op, gradient, base)
        sources = tape.wanted(rest)
        function = "gather"
    else:
        sources, function = tape.wanted([base]), "scatter_add"
    picks = [name for name in (*rest, *op.outputs[1:]) if tape.tensors[name].role in ("index", "input", "constant")]
    for target in sources:
        phase = phase_of(tape.tensors[target])
        written = tape.tensors[gradient if function == "scatter_add" else target].elements
        elements = op.elements if op.function == "gather" else written  # a bag hands its gradient to each of its rows
        outputs = (tape.fresh(target),)
        tape.emit(Index(f"{op.name}.{phase}", op.layer, phase, (gradient, *picks), outputs, function, elements))


def transfer_backward(tape: Tape, op: Transfer, gradients: list[str | None]) -> None:
    """slice -> pad, split -> cat, cat -> split, any other copy -> the copy back."""
    known = [gradient for gradient in gradients if gradient is not None]
    source = op.inputs[0]
    total = tape.tensors[source].elements
    if op.function == "cat":
        _cat(tape, op, known[0])
    elif op.function == "recurrence":  # what goes back through the steps is the product's own
        _move(tape, op, "slice", known, [source], 0)
    elif op.function in ("slice", "split"):
        _move(tape, op, "pad" if op.function == "slice" else "cat", known, [source], total)
    elif tape.tensors[known[0]].elements == total:
        _move(tape, op, op.function, known, [source], total)
    elif "pad" in op.function:
        _move(tape, op, "slice", known, [source], 0)
    else:
        passed(tape, op, known[0], source)


def _cat(tape: Tape, op: Transfer, gradient: str) -> None:
    """Pieces of the gradient, for free; pieces that were repeated in the result (expanded) are summed."""
    targets = tape.wanted(op.inputs)
    count = tape.tensors[gradient].elements
    base, part = op.inputs[0], op.inputs[-1]
    if len(op.inputs) == 2 and tape.tensors[base].elements == count:
        # a part was written over: its piece of the gradient is free, the base has none there
        if base in targets:
            _move(tape, op, "copy", [gradient], [base], count)
        if part in targets:
            _move(tape, op, "slice", [gradient], [part], 0)
        return
    if sum(tape.tensors[name].elements for name in op.inputs) == count:
        _move(tape, op, "split", [gradient], targets, 0)
        return
    outputs = tuple(tape.fresh(name) for name in targets)
    tape.emit(Vector(f"{op.name}.BP", op.layer, "BP", (gradient,), outputs, "sum", count, 1.0))


def _move(tape: Tape, op: Transfer, function: str, inputs: list[str], targets: list[str], elements: int) -> None:
    outputs = tuple(tape.fresh(name) for name in targets)
    tape.emit(Transfer(f"{op.name}.BP", op.layer, "BP", tuple(inputs), outputs, function, elements))

"""Backward of an einsum: one einsum per operand that needs a gradient, over the same ranks."""

from __future__ import annotations

from zerocast.workloads.ir import Einsum
from zerocast.workloads.patterns import Pattern
from zerocast.workloads.pruning import Pruning
from zerocast.workloads.training.backward.tape import Tape, mark, phase_of, weight_of


def backward(tape: Tape, op: Einsum, gradient: str, pruning: Pruning) -> None:
    """out = sum a b gives da = sum dout b and db = sum dout a: the iteration space, and so the MACs, are the
    forward's. An operand without the rank of a broadcast is summed over it by the same einsum."""
    for position in (0, 1):
        target = op.inputs[position]
        if target not in tape.needs:
            continue
        other = 1 - position
        phase = phase_of(tape.tensors[target])
        alike = phase_of(tape.tensors[op.inputs[other]]) == phase
        name = f"{op.name}.{phase}{mark(position if phase == 'BP' or alike else 0)}"
        index = (op.index[2], op.index[other], op.index[position])
        patterns = _patterns(tape, op, other, phase == "BP", pruning)
        mask = mask_of(tape, target, pruning) if position == 1 else None
        if mask is not None:
            patterns[2] = mask
        inputs = (gradient, op.inputs[other])
        outputs = (tape.fresh(target),)
        steps = op.steps if phase == "BP" else ""  # a weight's gradient is a sum over steps that have all run
        tape.emit(Einsum(name, op.layer, phase, inputs, outputs, op.sizes, index, patterns, op.source, steps=steps))
    for bias in op.inputs[2:]:
        if bias in tape.needs:
            count = tape.tensors[op.outputs[0]].elements
            tape.vector(op, bias, "bias_gradient", (gradient,), count, 1.0, ".bias")


def mask_of(tape: Tape, target: str, pruning: Pruning) -> Pattern | None:
    """The entries of the gradient of a weight, or of what is made of one, that its recipe asks for; None for all."""
    recipe = pruning.layers.get(tape.tensors[target].weight)
    return None if recipe is None else recipe.weight.get("WU")


def _patterns(tape: Tape, op: Einsum, other: int, input_gradient: bool, pruning: Pruning) -> dict[int, Pattern]:
    """What the backward einsum knows of zeros: W in BP (from the recipe, or the zeros it holds for good),
    dY in BP where the recipe prunes it; in WU the pattern of X that the forward einsum was told."""
    weight = weight_of(op, tape.tensors)
    recipe = pruning.layers.get(weight) if weight else None
    patterns: dict[int, Pattern] = {}
    if recipe is None:
        if other in op.patterns:
            patterns[1] = op.patterns[other].facing(op.ranks_of(2) - op.ranks_of(1 - other))
    elif input_gradient:
        if "BP" in recipe.weight:
            patterns[1] = recipe.weight["BP"]
        if "BP" in recipe.output_gradient:
            patterns[0] = recipe.output_gradient["BP"]
    else:
        if other in op.patterns:
            patterns[1] = op.patterns[other]
        if "WU" in recipe.output_gradient:
            patterns[0] = recipe.output_gradient["WU"]
    return patterns

"""The optimizer's update: one vector op per parameter; of weights that are projected, two products more."""

from __future__ import annotations

from zerocast.workloads.ir import Affine, Einsum, Tensor, Vector
from zerocast.workloads.patterns import DENSE, Pattern
from zerocast.workloads.training.backward.tape import Tape
from zerocast.workloads.training.weights.rules import BLOCK, Optimizer


def update(tape: Tape, name: str, rule: Optimizer, inner: bool, mask: Pattern | None = None) -> None:
    """Update weight `name` by its gradient; nothing where the loss does not depend on it (as PyTorch skips
    it). inner: the weight is a matrix that a subspace may be found of. mask: of its gradient, where that is masked."""
    gradient = tape.gradient(name)
    if gradient is None:
        return
    weight = tape.tensors[name]
    if rule.rank and inner and len(weight.shape) == 2 and min(weight.shape) > rule.rank:
        _in_subspace(tape, weight, gradient, rule)
        return
    under = mask if mask is not None and rule.sparse else DENSE
    kept = _states(tape, name, rule, weight.shape, under)
    if rule.master and weight.dtype not in ("fp32", "fp64"):
        master = f"{name}.master"
        tape.tensors[master] = Tensor(master, weight.shape, "fp32", "optimizer_state", under, made_of=name)
        read, kept = (gradient, master, *kept), (master, *kept)
    else:
        read = (gradient, name, *kept)
    _emit(tape, name, read, (name, *kept), rule, round(weight.elements * under.density))


def _emit(
    tape: Tape, name: str, read: tuple[str, ...], written: tuple[str, ...], rule: Optimizer, elements: int
) -> None:
    """The update proper, of so many elements."""
    layer = name.rpartition(".")[0]
    tape.emit(Vector(f"{name}.UPDATE", layer, "UPDATE", read, written, rule.function, elements, rule.flops, True,
                     scratch=rule.scratch))  # fmt: skip


def _states(tape: Tape, name: str, rule: Optimizer, shape: tuple[int, ...], under: Pattern = DENSE) -> tuple[str, ...]:
    """Names of the states of a weight, made; 8-bit ones with a scale for each block. under: the entries that have
    states."""
    made = []
    for state in rule.state:
        held = Tensor(f"{name}.{state}", shape, "fp32", "optimizer_state")
        count = round(held.elements * under.density)
        made.append(held := Tensor(held.name, shape, rule.stored(count), held.role, under))
        if held.dtype == "int8":
            made.append(Tensor(f"{held.name}.scales", (-(-count // BLOCK),), "fp32", held.role))
    tape.tensors.update({each.name: each for each in made})
    return tuple(each.name for each in made)


def _in_subspace(tape: Tape, weight: Tensor, gradient: str, rule: Optimizer) -> None:
    """Project the gradient's shorter side by a matrix that is kept, update there, and project back onto the weight
    (GaLore, algorithm 1). Finding the matrix anew, every few hundred steps, is no part of a step."""
    name, rank = weight.name, rule.rank
    short, long = sorted(range(2), key=lambda axis: weight.shape[axis])
    low = (weight.shape[long], rank)
    projector = Tensor(f"{name}.projector", (weight.shape[short], rank), weight.dtype, "optimizer_state")
    projected, step, whole = (
        Tensor(f"{gradient}.{what}", shape, weight.dtype, "gradient")
        for what, shape in (("projected", low), ("step", low), ("whole", weight.shape))
    )
    tape.tensors.update({each.name: each for each in (projector, projected, step, whole)})
    layer = name.rpartition(".")[0]
    sizes = {"a": weight.shape[0], "b": weight.shape[1], "r": rank}
    ranks: tuple[Affine, ...] = ((("a", 1),), (("b", 1),))
    subspace: Affine = (("r", 1),)
    onto, back = (ranks[long], subspace), (ranks[short], subspace)
    tape.emit(Einsum(f"{name}.UPDATE.project", layer, "UPDATE", (gradient, projector.name), (projected.name,), sizes,
                     (ranks, back, onto)))  # fmt: skip
    kept = _states(tape, name, rule, low)
    _emit(tape, name, (projected.name, *kept), (step.name, *kept), rule, projected.elements)
    tape.emit(Einsum(f"{name}.UPDATE.back", layer, "UPDATE", (step.name, projector.name), (whole.name,), sizes,
                     (onto, back, ranks)))  # fmt: skip
    tape.emit(Vector(f"{name}.UPDATE.step", layer, "UPDATE", (whole.name, name), (name,), "add", weight.elements, 2.0,
                     True))  # fmt: skip

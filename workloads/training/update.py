"""The optimizer's update: one vector op per parameter, in fp32 with a master copy where training is
narrower."""

from __future__ import annotations

from dataclasses import dataclass

from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.ir import Tensor, Vector
from zerocast.workloads.training.tape import Tape


@dataclass(frozen=True, slots=True)
class Optimizer:
    """state: tensors kept per parameter. flops: per weight."""

    state: tuple[str, ...]
    flops: float


OPTIMIZERS = {
    # decay 2 (g += wd w), momentum 2 (m = mu m + g), step 2 (w -= lr m)
    "sgd_momentum": Optimizer(("momentum",), 6),
    # decay 2, first moment 3, second moment 4, bias corrections 2, root, epsilon, quotient, step 2
    # (Loshchilov, Hutter, ICLR 2019)
    "adamw": Optimizer(("exp_avg", "exp_avg_sq"), 16),
}


def optimizer_named(name: str) -> Optimizer:
    """The optimizer, or a `WorkloadError` that lists those there are."""
    if name not in OPTIMIZERS:
        raise WorkloadError(f"unknown optimizer {name!r}; use {' or '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def update(tape: Tape, name: str, optimizer: str) -> None:
    """Update weight `name` by its gradient; nothing where the loss does not depend on it (as PyTorch skips
    it)."""
    gradient = tape.gradient(name)
    if gradient is None:
        return
    weight = tape.tensors[name]
    rule = optimizer_named(optimizer)
    kept = [f"{name}.{state}" for state in rule.state]
    if weight.dtype not in ("fp32", "fp64"):
        kept.insert(0, f"{name}.master")
    for state in kept:
        tape.tensors[state] = Tensor(state, weight.shape, "fp32", "optimizer_state")
    read = (gradient, *kept) if f"{name}.master" in kept else (gradient, name, *kept)
    layer = name.rpartition(".")[0]
    tape.emit(
        Vector(
            f"{name}.UPDATE",
            layer,
            "UPDATE",
            read,
            (name, *kept),
            optimizer,
            weight.elements,
            rule.flops,
            True,
        )
    )

"""Append loss, backward passes and update to a forward workload."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from zerocast.workloads.ir import Einsum, Index, Op, Transfer, Vector, Workload
from zerocast.workloads.pruning import NOTHING_PRUNED, Pruning
from zerocast.workloads.training.again import run_again
from zerocast.workloads.training.autograd import Autograd
from zerocast.workloads.training.backward import contractions, movement, vectors
from zerocast.workloads.training.backward.loss import seed
from zerocast.workloads.training.backward.tape import Tape, needing
from zerocast.workloads.training.weights.masks import with_mask_updates
from zerocast.workloads.training.weights.online import with_selection
from zerocast.workloads.training.weights.rules import optimizer_named
from zerocast.workloads.training.weights.update import update

NOTHING_SPECIAL = Autograd()
PER_LAYER = "per-layer"


def expand_training(
    forward: Workload,
    optimizer: str = "sgd_momentum",
    pruning: Pruning = NOTHING_PRUNED,
    *,
    autograd: Autograd = NOTHING_SPECIAL,
    per_layer: bool = False,
    mask_update: str = "amortised",
) -> Workload:
    """One training step: the forward ops, the loss, the backward of each op in reverse order, then the
    updates.

    Tensors written in FF and read later are the saved activations. Network inputs and frozen weights need no
    gradient, so a first layer has no BP einsum. autograd: what else the module says of its gradients.
    optimizer: see `rules.optimizer_named`. per_layer: each weight is updated as soon as its gradient is whole, which is
    then thrown away, in place of all of them at the end. mask_update: which step it is where a recipe's masks move
    (`with_mask_updates`).
    Raises `WorkloadError` for an unknown optimizer, or a model whose outputs depend on no trainable weight.
    """
    rule = optimizer_named(optimizer)
    needs = needing(forward, autograd)
    kept = vectors.with_saved(forward, needs)
    tape = Tape(dict(kept.tensors), needs, list(kept.ops))
    inner, whole = kept.inner_weights, _whole_after(kept)
    seed(tape, forward)
    for checkpoint, part in groupby(reversed(kept.ops), lambda op: autograd.checkpoints.get(op.name)):
        since, done = len(tape.ops), []
        for op in part:
            start = len(tape.ops)
            _backward(tape.without(autograd.stopped.get(op.name, ())), op, pruning)
            tape.ops[start:] = [replace(each, of=op.name) for each in tape.ops[start:]]
            tape.settle()
            done.append((op, tape.ops[start:]))
            if per_layer:
                for name in whole.pop(op.name, ()):
                    update(tape, name, rule, name in inner, contractions.mask_of(tape, name, pruning))
        if checkpoint is not None:
            run_again(tape, checkpoint, done[::-1], since)
    for name in [name for name, tensor in kept.tensors.items() if tensor.role == "weight"] if not per_layer else ():
        update(tape, name, rule, name in inner, contractions.mask_of(tape, name, pruning))
    meta = {**forward.meta, "training": True, "optimizer": optimizer}
    meta |= {"update": PER_LAYER} if per_layer else {}
    step = replace(kept, ops=tuple(tape.ops), tensors=tape.tensors, meta=meta)
    return with_mask_updates(with_selection(step, pruning), pruning, mask_update)


def _whole_after(forward: Workload) -> dict[str, list[str]]:
    """By op: the weights whose gradient is whole once that op has gone backward, the first one that reads them."""
    first: dict[str, str] = {}
    for op in forward.ops:
        for name in op.inputs:
            if forward.tensors[name].role == "weight":
                first.setdefault(name, op.name)
    found: dict[str, list[str]] = {}
    for name, op_name in first.items():
        found.setdefault(op_name, []).append(name)
    return found


def _backward(tape: Tape, op: Op, pruning: Pruning) -> None:
    if not tape.wanted(op.inputs):
        return
    gradients = [tape.gradient(name) for name in op.outputs if name in tape.needs]
    known = [gradient for gradient in gradients if gradient is not None]
    if not known:
        return
    if isinstance(op, Einsum):
        contractions.backward(tape, op, known[0], pruning)
    elif isinstance(op, Vector):
        vectors.backward(tape, op, known[0])
    elif isinstance(op, Index):
        movement.index_backward(tape, op, known[0])
    elif isinstance(op, Transfer):
        movement.transfer_backward(tape, op, gradients)

"""Activation checkpoints: forward ops that run a second time, right before the backward pass that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zerocast.workloads.ir import Op
from zerocast.workloads.training.autograd import Checkpoint
from zerocast.workloads.training.backward.tape import Tape
from zerocast.workloads.training.backward.vectors import saves

Differentiated = tuple[Op, Sequence[Op]]
"""A forward op and its backward ops."""


def run_again(tape: Tape, checkpoint: Checkpoint, part: Sequence[Differentiated], since: int) -> None:
    """Put the second forward run of a checkpoint's ops (`part`, in order) before its backward ops, which stand on the
    tape from `since` on and then read what the second run wrote.

    PyTorch stops the second run at the last tensor that is saved: an op saves its inputs before it runs, its results
    after (torch.utils.checkpoint, `early_stop`). What is saved for a gradient that never comes counts too.
    """
    needed = max((_needed(at, *each, tape) for at, each in enumerate(part)), default=0)
    if len(tape.ops) == since:
        return
    if checkpoint.whole:
        needed = len(part)
    again: dict[str, str] = {}
    second: list[Op] = []
    for op, _ in part[:needed]:
        inputs = tuple(again.get(name, name) for name in op.inputs)
        again |= {name: _copy(tape, name) for name in op.outputs if tape.tensors[name].role in ("activation", "index")}
        outputs = tuple(again.get(name, name) for name in op.outputs)
        second.append(replace(op, name=tape.unused(f"{op.name}.again"), inputs=inputs, outputs=outputs))
    readers = [replace(op, inputs=tuple(again.get(name, name) for name in op.inputs)) for op in tape.ops[since:]]
    tape.ops[since:] = [*second, *readers]


def _needed(at: int, op: Op, backward: Sequence[Op], tape: Tape) -> int:
    """Ops of the part that must have run until everything is there that the backward of op number `at` reads."""
    read = {name for each in backward for name in each.inputs}
    if not backward and op.outputs[0] in tape.needs and saves(op):
        return at
    return at + 1 if read.intersection(op.outputs) else at if read.intersection(op.inputs) else 0


def _copy(tape: Tape, name: str) -> str:
    copy = f"{name}.again"
    tape.tensors[copy] = replace(tape.tensors[name], name=copy)
    return copy

"""Zeros that were asked for and that an array does nothing about, in words."""

from __future__ import annotations

from zerocast.accelerators import Accelerator
from zerocast.simulator import Gemm
from zerocast.workloads.patterns import Pattern


def unseen_zeros(gemm: Gemm, accelerator: Accelerator) -> str:
    """Which zeros of a product take as long as other numbers, and why; "" where all are skipped or there are none.

    2:4 weights that a GPU's sparse tensor cores refuse are not repeated here: their row says why.
    """
    sides = (("A", "input", gemm.input), ("B", "weight", gemm.weight))
    reasons = [
        (
            name,
            _reason(side, operand.pattern, None if operand.structured is None else operand.structured.m, accelerator),
        )
        for name, side, operand in sides
        if not operand.pattern.is_dense
    ]
    return "; ".join(f"zeros of {name} {reason}" for name, reason in reasons if reason)


def _reason(side: str, pattern: Pattern, group: int | None, accelerator: Accelerator) -> str:
    """Why zeros of an operand save no time. group: M of an N:M pattern along K."""
    engine = getattr(accelerator.sparsity, side)
    if engine.mode == "none":
        return f"save no time: {accelerator.name} does nothing about zeros of the {side}"
    if engine.mode == "gate":
        return f"save energy, no time: {accelerator.name} gates them"
    if engine.mode == "skip":
        return ""
    if group is None:
        return f"save no time: {accelerator.name} skips N:M alone, and these are at random places"
    if accelerator.gpu is None and group > engine.max_group:
        return f"save no time: groups of {group} are wider than the {engine.max_group} that {accelerator.name} spans"
    return ""

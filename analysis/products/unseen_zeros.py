"""Zeros that were asked for and that an array does not skip, in words."""

from __future__ import annotations

from zerocast.accelerators import Accelerator
from zerocast.accelerators.schema import Operand as Side
from zerocast.simulator import Gemm
from zerocast.simulator.products.gemm import Operand
from zerocast.simulator.products.traffic import element_bits


def unseen_zeros(gemm: Gemm, accelerator: Accelerator) -> str:
    """Which zeros of a product are not skipped, what they save all the same, and why; "" where there are none.

    Zeros that are compressed off chip still shorten a product that waits for its link. What a GPU does not skip of its
    weights is not repeated here: the row says why.
    """
    sides: tuple[tuple[str, Side, Operand], ...] = (("A", "input", gemm.input), ("B", "weight", gemm.weight))
    return "; ".join(
        f"zeros of {name} save {_what(side, operand, accelerator)}: {reason}"
        for name, side, operand in sides
        if not operand.pattern.is_dense and (reason := _reason(side, operand, accelerator))
    )


def _what(side: Side, operand: Operand, accelerator: Accelerator) -> str:
    """What zeros save that the array does not skip, and what they do not."""
    gated = getattr(accelerator.sparsity, side).mode == "gate"
    stored = element_bits(accelerator.dram, side, operand) < operand.bits
    saved = " and ".join(["energy"] * gated + ["bytes off chip"] * stored)
    return f"{saved}, no {'cycles of the array' if stored else 'time'}" if saved else "no time"


def _reason(side: Side, operand: Operand, accelerator: Accelerator) -> str:
    """Why the array does not skip zeros of an operand; "" where it does, or where its row says why not."""
    engine, name = getattr(accelerator.sparsity, side), accelerator.name
    if accelerator.gpu is not None and accelerator.gpu.sparse_kernels and side == "weight":
        return ""
    if engine.mode == "gate":
        return f"{name} gates them"
    if engine.mode == "none":
        return f"{name} does nothing about zeros of the {side}"
    group = operand.structured
    if engine.mode == "skip" or (group is not None and (accelerator.gpu is not None or group.m <= engine.max_group)):
        return ""
    if group is None:
        return f"{name} skips N:M alone, and these are at random places"
    return f"groups of {group.m} are wider than the {engine.max_group} that {name} spans"

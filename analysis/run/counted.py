"""Multiply-accumulates and operations of a workload by pass, as the papers on sparse networks count them."""

from __future__ import annotations

from dataclasses import dataclass

from zerocast.simulator.products.gemm import gemms
from zerocast.simulator.products.pairs import effectual_macs
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.ir import Einsum, Op, Phase, Vector, Workload
from zerocast.workloads.patterns import DENSE, Pattern, Uniform

PASSES: tuple[Phase, ...] = ("FF", "BP", "WU", "UPDATE")
WORD = 32
"""Bits of a weight in the sizes that papers give."""


@dataclass(frozen=True, slots=True)
class Count:
    """Work of the mean step, or of a pass of it. macs: of products, zeros included; effectual_macs: where both operands
    are nonzero and the output is asked for; other_flops: of all that is no product; bit_operations: effectual ones
    times the bits of both operands."""

    macs: float = 0.0
    effectual_macs: float = 0.0
    other_flops: float = 0.0
    bit_operations: float = 0.0

    @property
    def flops(self) -> float:
        """Operations of products, a multiplication and an addition each, zeros included."""
        return 2 * self.macs

    @property
    def effectual_flops(self) -> float:
        """Operations of products without those with zeros."""
        return 2 * self.effectual_macs

    def __add__(self, other: Count) -> Count:
        return Count(
            self.macs + other.macs,
            self.effectual_macs + other.effectual_macs,
            self.other_flops + other.other_flops,
            self.bit_operations + other.bit_operations,
        )


def counted(workload: Workload) -> dict[Phase, Count]:
    """Work by pass; products of attention have their full size, masked or not, as FLOP counters have it."""
    found = {phase: Count() for phase in PASSES}
    for op in workload.ops:
        found[op.phase] += _count(op, workload)
    return {phase: count for phase, count in found.items() if count != Count()}


def _count(op: Op, workload: Workload) -> Count:
    if isinstance(op, Einsum):
        effectual = sum(effectual_macs(product) for product in gemms(workload, op))
        one, two = (workload.tensors[name].bits for name in op.inputs[:2])
        return Count(op.macs * op.share, effectual * op.share, bit_operations=effectual * op.share * one * two)
    return Count(other_flops=op.flops * op.share) if isinstance(op, Vector) else Count()


def published_step(workload: Workload) -> Count:
    """A training step as papers count it: products alone, with an input gradient of the first layer, which nobody
    computes.

    Of a layer with weights two forward passes and its weight gradient, of a product of two activations (attention)
    three forward ones. Weight gradients that are dense every DT steps give RigL's (3 f_S DT + 2 f_S + f_D) / (DT + 1)
    (Evci et al., ICML 2020, appendix H); attention and vocabulary count in full, as SPDF has them (Thangarasa et al.,
    UAI 2023, appendix).
    """
    total = Count()
    for op in workload.einsums:
        part = _count(op, workload)
        if op.phase == "FF":
            has_weight = any(workload.tensors[name].weight for name in op.inputs[:2])
            total += part + part if has_weight else part + part + part
        elif op.phase == "WU":
            total += part
    return total


def weights_of(workload: Workload) -> dict[str, tuple[int, Pattern]]:
    """Elements of each weight, and the zeros under which the forward pass sees it."""
    found = {weight.name: (weight.elements, weight.pattern) for weight in workload.weights}
    for op in workload.einsums:
        name = workload.tensors[op.inputs[1]].weight
        if op.phase == "FF" and name in found:
            found[name] = found[name][0], workload.pattern_of(op, 1)
    return found


def size_bytes(workload: Workload, word_bits: int = WORD) -> float:
    """Bytes of the weights: words of those that are kept, and a bit for each place of a pruned one."""
    bits = 0.0
    for elements, pattern in weights_of(workload).values():
        law = DENSE if pattern.is_dense else Uniform(pattern.density)
        form = "uncompressed" if pattern.is_dense else "bitmask"
        bits += float(storage_bits(form, law, {"elements": elements}, word_bits).bits)
    return bits / 8

"""Which products the sparse tensor cores and the sparse kernels take."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.gpu.card import gpu_part, type_class
from zerocast.simulator.gpu.problem import KEPT
from zerocast.simulator.gpu.sparse import kernel_refusal
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads.patterns import NM

GROUP = 4
"""Real sparse tensor cores take two of each aligned group of four; a card whose `sparsity.weight.max_group` is larger
is hypothetical: its multiplexers find two weights among so many."""
MULTIPLES = {"16bit": 16, "fp8": 32, "int8": 32}
"""Rows and columns of the 2:4 operand are multiples of these (shape constraints of PyTorch's semi-structured
tensors), those of wider groups of as much more. The dense side is padded to a multiple of 8 or 16."""


def group_of(pattern: NM | None, widest: int = GROUP) -> int:
    """The largest group of 4, 8, ... up to `widest` neighbours of which every mask of a pattern keeps at most two, so
    that the cores can run it as 2:group; 0 where there is none."""
    if pattern is None or pattern.is_dense:
        return 0
    sizes = [GROUP << step for step in range(max(widest // GROUP, 1).bit_length()) if GROUP << step <= widest]
    fit = [size for size in sizes if all(_most(pattern, at, size) <= KEPT for at in range(0, pattern.m * size, size))]
    return max(fit, default=0)


def _most(pattern: NM, start: int, size: int) -> int:
    """Most nonzeros that a group from `start` on can hold: of each block of M no more than N."""
    blocks: dict[int, int] = {}
    for place in range(start, start + size):
        blocks[place // pattern.m] = blocks.get(place // pattern.m, 0) + 1
    return sum(min(pattern.n, places) for places in blocks.values())


def refusal(gemm: Gemm, accelerator: Accelerator) -> str:
    """Why nothing takes a product with zeros in its weights: of N:M ones the sparse tensor cores, of others the sparse
    kernels; "" where something does, or nothing is to skip."""
    return cores_refusal(gemm, accelerator) if is_structured(gemm) else kernel_refusal(gemm, accelerator)


def is_structured(gemm: Gemm) -> bool:
    """Whether the weights have N:M zeros along K."""
    pattern = gemm.weight.structured
    return pattern is not None and not pattern.is_dense


def cores_refusal(gemm: Gemm, accelerator: Accelerator) -> str:
    """Why the sparse tensor cores do not take a product with N:M weights; "" where they do, or nothing is to skip."""
    pattern = gemm.weight.structured
    if pattern is None or pattern.is_dense:
        return ""
    if gemm.dtype not in gpu_part(accelerator).sparse_types:
        has = ", ".join(gpu_part(accelerator).sparse_types)
        return f"{accelerator.name} has no 2:4 tensor cores for {gemm.dtype}; it has them for {has or 'no type'}"
    group = group_of(pattern, accelerator.sparsity.weight.max_group)
    if not group:
        return f"{pattern.n}:{pattern.m} weights can hold more than two nonzeros in four, which 2:4 cores do not skip"
    multiple = MULTIPLES[type_class(accelerator, gemm.dtype)] * group // GROUP
    if gemm.n % multiple or gemm.k % multiple:
        return (
            f"2:{group} weights of {gemm.n} x {gemm.k} in {gemm.dtype}: rows and columns must be multiples of "
            f"{multiple}; pad the layer or leave it dense"
        )
    if gemm.batch > 1:
        return f"a batch of {gemm.batch} products with 2:{group} weights each: libraries take one such operand a call"
    return ""

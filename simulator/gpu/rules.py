"""Which products the sparse tensor cores take."""

from __future__ import annotations

from accelerators.schema import Accelerator
from simulator.gemm import Gemm
from simulator.gpu.card import gpu_part, type_class
from workloads.patterns import NM

GROUP, KEPT = 4, 2
"""The hardware skips half of each aligned group of four."""
MULTIPLES = {"16bit": 16, "fp8": 32, "int8": 32}
"""Rows and columns of the 2:4 operand are multiples of these (shape constraints of PyTorch's semi-structured
tensors). The dense side is padded to a multiple of 8 or 16."""


def fits_two_of_four(pattern: NM) -> bool:
    """Whether every mask of an N:M pattern keeps at most two of four neighbours, so that the core can run it as 2:4."""
    starts = range(0, pattern.m * GROUP, GROUP)
    return all(_most(pattern, start) <= KEPT for start in starts)


def _most(pattern: NM, start: int) -> int:
    """Most nonzeros that a group of four from `start` on can hold: of each block of M no more than N."""
    blocks: dict[int, int] = {}
    for place in range(start, start + GROUP):
        blocks[place // pattern.m] = blocks.get(place // pattern.m, 0) + 1
    return sum(min(pattern.n, places) for places in blocks.values())


def refusal(gemm: Gemm, accelerator: Accelerator) -> str:
    """Why the sparse tensor cores do not take a product with N:M weights; "" where they do, or nothing is to skip."""
    pattern = gemm.weight.structured
    if pattern is None or pattern.is_dense:
        return ""
    if gemm.dtype not in gpu_part(accelerator).sparse_types:
        has = ", ".join(gpu_part(accelerator).sparse_types)
        return f"{accelerator.name} has no 2:4 tensor cores for {gemm.dtype}; it has them for {has or 'no type'}"
    if not fits_two_of_four(pattern):
        return f"{pattern.n}:{pattern.m} weights can hold more than two nonzeros in four, which 2:4 cores do not skip"
    multiple = MULTIPLES[type_class(accelerator, gemm.dtype)]
    if gemm.n % multiple or gemm.k % multiple:
        return (
            f"2:4 weights of {gemm.n} x {gemm.k} in {gemm.dtype}: rows and columns must be multiples of {multiple}; "
            "pad the layer or leave it dense"
        )
    if gemm.batch > 1:
        return f"a batch of {gemm.batch} products with 2:4 weights each: the libraries take one 2:4 operand a call"
    return ""

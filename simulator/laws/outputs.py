"""Masked outputs: which of a product's outputs an array computes, where only some are asked for (SDDMM)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zerocast.accelerators.schema import Accelerator, Dataflow
from zerocast.simulator.products.gemm import Gemm

KERNEL = 128
"""Rows and columns of the output tile of a GPU's kernel, which is not launched where nothing of it is asked for."""

Ranks = Sequence[tuple[str, int]]


def asked_share(gemm: Gemm, accelerator: Accelerator) -> float:
    """Share of the outputs whose multiplications take energy: those asked for, where the array does something about
    the others."""
    return 1.0 if accelerator.sparsity.output.mode == "none" else gemm.mask.density


def computed_share(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> float:
    """Share of the outputs that take time: those of the blocks of which something is asked for.

    An array leaves out whole blocks of those that it computes side by side: a fold of sums that stay, a step of
    unrolled ranks, a tile of a GPU's kernel. Engines know for themselves what their lanes leave out (`Law.by_block`).
    """
    if gemm.mask.is_dense or accelerator.sparsity.output.mode != "skip":
        return 1.0
    block = _block(gemm, accelerator, dataflow)
    if block is None:
        return 1.0
    rows, columns = block
    return gemm.mask.filled(_extents(gemm.output.across, rows) | _extents(gemm.output.fiber, columns))


def asked(gemm: Gemm, accelerator: Accelerator) -> Gemm:
    """The product with its mask where the array leaves outputs out, with all of them where it does not."""
    return gemm if accelerator.sparsity.output.mode == "skip" or gemm.mask.is_dense else gemm.unmasked


def _block(gemm: Gemm, accelerator: Accelerator, dataflow: Dataflow) -> tuple[int, int] | None:
    """Rows and columns of the outputs that are computed together; None where none can be left out."""
    compute = accelerator.compute
    if dataflow == "output_stationary":
        return compute.rows, compute.cols
    if dataflow == "unrolled":
        units = gemm.units(compute)
        return -(-gemm.m // units["m"]), -(-gemm.n // units["n"])
    return (KERNEL, KERNEL) if dataflow == "tensor_core" else None


def _extents(ranks: Ranks, count: int) -> dict[str, int]:
    """Extents of the block of `count` neighbours along some ranks, the innermost of which runs first."""
    found: dict[str, int] = {}
    for rank, size in reversed(ranks):
        found[rank] = min(size, count)
        count = -(-count // size)
    return found


def in_tiles(gemm: Gemm, accelerator: Accelerator) -> Gemm:
    """The product as a GPU runs it whose kernel leaves out tiles of the output of which nothing is asked for."""
    columns = max(round(gemm.n * computed_share(gemm, accelerator, "tensor_core")), 1)
    if columns == gemm.n:
        return gemm
    stored = max(round(gemm.output.unique * gemm.mask.density), 1)
    return replace(gemm, computed=replace(gemm.unmasked, n=columns, output=replace(gemm.output, unique=stored)))

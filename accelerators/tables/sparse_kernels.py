"""Sparse kernels by generation, each with constants of its own."""

from __future__ import annotations

from functools import cache

from pydantic import ValidationError

from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema.gpu.sparse_kernel import SparseKernel
from zerocast.accelerators.tables.reading import find_table

TABLE = "sparse-kernels"


@cache
def sparse_kernels(generation: str) -> tuple[SparseKernel, ...]:
    """The kernels that a generation has constants for; none for the name "". Raises `AcceleratorError` for a
    generation that no kernel names."""
    if not generation:
        return ()
    try:
        kernels = [SparseKernel(**raw) for raw in find_table("kernels", TABLE, "gpu.sparse_kernels")["kernels"]]
    except ValidationError as error:
        raise AcceleratorError(f"table {TABLE}: {error}") from None
    known = sorted({name for kernel in kernels for name in kernel.constants})
    if generation not in known:
        raise AcceleratorError(f"gpu.sparse_kernels: no generation {generation!r}; there are {', '.join(known)}")
    return tuple(kernel for kernel in kernels if generation in kernel.constants)

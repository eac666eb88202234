"""Sparse kernels on a GPU: classes of libraries' kernels, one law for the time of all of them."""

from zerocast.simulator.gpu.sparse.choice import Option, kernel_refusal, options, vector_product
from zerocast.simulator.gpu.sparse.law import Matrix, SparseTimes, sparse_times
from zerocast.simulator.gpu.sparse.row import DATAFLOW, sparse_row

__all__ = [
    "DATAFLOW", "Matrix", "Option", "SparseTimes", "kernel_refusal", "options", "sparse_row", "sparse_times",
    "vector_product",
]  # fmt: skip

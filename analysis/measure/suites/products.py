"""One matrix product in one variant: random operands on the device, the library call, the check of its result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.measure.machine.target import Target
from zerocast.analysis.measure.suites.shapes import Variant
from zerocast.analysis.measure.suites.sparsity import prune_2to4

DTYPES = {
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
    "int8": torch.int8,
    "fp16": torch.float16,
}
SPARSE_ROWS = {"bf16": 8, "fp16": 8, "fp8": 16, "int8": 16}
"""Rows of x that a 2:4 product takes are a multiple of this: `_DTYPE_SHAPE_CONSTRAINTS`, dense side."""
CHECKED = 128
"""Rows and columns of the result that are computed again in double precision."""
COLD_FACTOR = 4
"""Rotated weights span so many times the last-level cache: twice would do for LRU, caches are not quite that."""
MOST_COPIES = 512

Algorithm = tuple[int, int, int]
"""cuSPARSELt's alg_id, split_k and split_k_mode."""
DEFAULT: Algorithm = (0, 1, -1)


@dataclass
class Product:
    """A product ready to be timed.

    call: runs it with the weights of copy i. weights: the copies, packed where sparse. rows: M as it is computed,
    after padding. out: the result's type. accept: raises `AnalysisError` where a result is off by more than the
    tolerance; `reference.error` keeps the relative error (Frobenius norm) of the last result. search_arguments: of
    cuSPARSELt's search, after the packed weights; () where dense.
    """

    call: Callable[[int], Tensor]
    weights: list[Tensor]
    rows: int
    out: torch.dtype
    reference: Reference
    search_arguments: tuple[Any, ...] = ()

    @property
    def weight_bytes(self) -> int:
        return self.weights[0].numel() * self.weights[0].element_size()

    def accept(self, result: Tensor) -> None:
        self.reference.accept(result)


@dataclass
class Reference:
    """The product at sampled rows and columns in double precision. transposed: results come as (N, M)."""

    rows: Tensor
    columns: Tensor
    values: Tensor
    tolerance: float
    transposed: bool = False
    error: float = float("nan")

    def accept(self, result: Tensor) -> None:
        """Raises `AnalysisError` where sampled values differ or any value is not finite."""
        whole = result.t() if self.transposed else result
        sampled = whole.index_select(0, self.rows).index_select(1, self.columns).double()
        self.error = float((sampled - self.values).norm() / self.values.norm())
        finite = not result.is_floating_point() or bool(torch.isfinite(result).all())
        if not (finite and self.error <= self.tolerance):  # a NaN is not within the tolerance either
            raise AnalysisError(f"wrong result: relative error {self.error:.3g}, expected at most {self.tolerance:g}")


def tolerance(dtype: str, out: torch.dtype) -> float:
    """Relative error that a correct kernel stays below; a wrong one is off by about 1.

    int32 results are exact. A 16-bit result rounds by 2^-9 at most; fp8 on Hopper adds up with about 14 bits
    (DeepSeek-V3 report, section 3.3.2, finds up to 2 % at K = 4096), so that it is given 5 %.
    """
    if out == torch.int32:
        return 0.0
    return 0.05 if dtype == "fp8" else 0.01


def draw(rows: int, columns: int, dtype: str, generator: torch.Generator) -> Tensor:
    """Random (rows, columns): normal values, or int8 over its range without 0 and -128. Never zeros: cards draw less
    power on them and clock higher. 8-bit floats come in bfloat16, to be pruned before the cast."""
    if dtype == "int8":
        values = torch.randint(-127, 127, (rows, columns), dtype=torch.int8, device=generator.device,
                               generator=generator)  # fmt: skip
        return torch.where(values >= 0, values + 1, values)
    kind = torch.float16 if dtype == "fp16" else torch.bfloat16
    return torch.randn(rows, columns, dtype=kind, device=generator.device, generator=generator)


def make_product(
    variant: Variant, m: int, n: int, k: int, target: Target, seed: int, algorithm: Algorithm = DEFAULT
) -> Product:
    """The product out[m, n] = x[m, k] · w[n, k]ᵀ with data drawn from `seed`.

    Raises `AnalysisError` where no way to call the library gives the right result, and what the library raises.
    """
    generator = target.generator(seed)
    x, w = draw(m, k, variant.dtype, generator), draw(n, k, variant.dtype, generator)
    if variant.sparse:
        w, x = prune_2to4(w), torch.nn.functional.pad(x, (0, 0, 0, -m % SPARSE_ROWS[variant.dtype]))
    kind = DTYPES[variant.dtype]
    x, w = x.to(kind), w.to(kind)
    expected = _reference(x[:m], w, variant.dtype)
    if variant.sparse:
        return _sparse_product(x, w, variant.dtype, expected, target, algorithm)
    weights = copies_of(w, target)
    call, out = _dense_call(x, weights, variant.dtype)
    expected.tolerance = tolerance(variant.dtype, out)
    return Product(call, weights, m, out, expected)


def _reference(x: Tensor, w: Tensor, dtype: str) -> Reference:
    wide = torch.bfloat16 if dtype == "fp8" else x.dtype  # fp8 tensors cannot be indexed everywhere; bf16 holds them
    rows, columns = _sampled(x.shape[0], x.device), _sampled(w.shape[0], x.device)
    left = x.to(wide).index_select(0, rows).double()
    right = w.to(wide).index_select(0, columns).double()
    return Reference(rows, columns, left @ right.t(), 0.0)


def _sampled(size: int, device: torch.device) -> Tensor:
    """Up to `CHECKED` indices spread over 0 .. size - 1, both ends among them."""
    return torch.linspace(0, size - 1, min(size, CHECKED), dtype=torch.float64, device=device).round().long()


def copies_of(w: Tensor, target: Target) -> list[Tensor]:
    """The tensor and as many clones as it takes to leave the last-level cache between two uses of one."""
    size = w.numel() * w.element_size()
    return [w, *(w.clone() for _ in range(copies(size, target.l2_bytes, target.memory_bytes) - 1))]


def copies(size: int, l2_bytes: int, memory_bytes: int) -> int:
    """How many copies of `size` bytes span `COLD_FACTOR` times the cache within the memory allowed; at least 1."""
    wanted = -(-COLD_FACTOR * l2_bytes // size)
    return max(1, min(wanted, MOST_COPIES, memory_bytes // size))


def _dense_call(x: Tensor, weights: list[Tensor], dtype: str) -> tuple[Callable[[int], Tensor], torch.dtype]:
    turned = [w.t() for w in weights]  # column-major second operand, which 8-bit kernels ask for
    count = len(turned)
    if dtype == "int8":
        return lambda at: torch._int_mm(x, turned[at % count]), torch.int32
    if dtype == "fp8":
        one = torch.ones((), dtype=torch.float32, device=x.device)

        def scaled(at: int) -> Tensor:
            # fast accumulation, as inference engines run fp8
            return torch._scaled_mm(x, turned[at % count], one, one, out_dtype=torch.bfloat16, use_fast_accum=True)

        return scaled, torch.bfloat16
    return lambda at: torch.mm(x, turned[at % count]), x.dtype


def _sparse_product(
    x: Tensor, w: Tensor, dtype: str, expected: Reference, target: Target, algorithm: Algorithm
) -> Product:
    """The first way to call `_cslt_sparse_mm` whose result is right; what a library version takes differs."""
    packed = compress(w)
    refused: list[str] = []
    for out, transposed in _sparse_ways(dtype):
        call = _sparse_call(x, [packed], out, transposed, algorithm)
        expected.tolerance, expected.transposed = tolerance(dtype, out), not transposed
        try:
            expected.accept(call(0))
        except (AnalysisError, RuntimeError) as error:
            if not target.alive():
                raise
            refused.append(f"{out}, transposed {transposed}: {' '.join(str(error).split())[:150]}")
            continue
        weights = copies_of(packed, target)
        call = _sparse_call(x, weights, out, transposed, algorithm)
        kind = None if out == x.dtype else out
        return Product(call, weights, x.shape[0], out, expected, (x.t(), None, None, kind, transposed))
    raise AnalysisError("2:4 product fails in every form: " + "; ".join(refused))


def _sparse_ways(dtype: str) -> Iterator[tuple[torch.dtype, bool]]:
    """Type of the result and whether the kernel writes it as (M, N), best first: as the dense variant has it."""
    kinds = {"int8": (torch.int32, torch.bfloat16), "fp8": (torch.bfloat16,)}.get(dtype, (DTYPES[dtype],))
    for kind in kinds:
        yield kind, True
        yield kind, False


def _sparse_call(
    x: Tensor, packed: list[Tensor], out: torch.dtype, transposed: bool, algorithm: Algorithm
) -> Callable[[int], Tensor]:
    """w · xᵀ with w compressed. A scale would be read back by the host, which a graph cannot capture: fp8 uses 1."""
    turned, count = x.t(), len(packed)
    kind = None if out == x.dtype else out
    more: dict[str, Any] = {"transpose_result": transposed}
    if algorithm != DEFAULT:
        more |= dict(zip(("alg_id", "split_k", "split_k_mode"), algorithm, strict=True))
    return lambda at: torch._cslt_sparse_mm(packed[at % count], turned, out_dtype=kind, **more)


def compress(w: Tensor) -> Tensor:
    """cuSPARSELt's compressed form of a 2:4 matrix. Raises `AnalysisError` where PyTorch lacks that backend."""
    if not w.is_cuda or not torch.backends.cusparselt.is_available():
        raise AnalysisError("2:4 products need a CUDA build of PyTorch with cuSPARSELt; there are none on a CPU")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the prototype warning of PyTorch
        sparse: Any = torch.sparse.to_sparse_semi_structured(w.contiguous())
    if sparse.BACKEND != "cusparselt":
        raise AnalysisError(f"2:4 backend is {sparse.BACKEND}, not cuSPARSELt; do not force CUTLASS")
    return sparse.packed


@cache
def _searcher() -> ThreadPoolExecutor:
    """One thread for all searches: PyTorch keeps cuSPARSELt plans per thread, and a search rewrites the plan that
    the default algorithm would use next time."""
    return ThreadPoolExecutor(1)


def search(product: Product) -> Algorithm:
    """The fastest algorithm that cuSPARSELt's own search finds for a 2:4 product."""
    return _searcher().submit(_search, product.weights[0], product.search_arguments).result()


def _search(packed: Tensor, arguments: tuple[Any, ...]) -> Algorithm:
    tool: Any = getattr(torch._C, "_cusparselt", None)
    if tool is None or not hasattr(tool, "mm_search"):
        raise AnalysisError("this PyTorch has no cuSPARSELt search (torch._C._cusparselt.mm_search)")
    with torch.no_grad():
        alg_id, split_k, mode, _ = tool.mm_search(packed, *arguments)
    torch.cuda.synchronize()
    return int(alg_id), int(split_k), int(mode)

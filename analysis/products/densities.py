"""What zeros are worth to one product on a GPU, kernel by kernel, as its density falls."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators import Accelerator
from zerocast.accelerators.schema import SparseKernel
from zerocast.accelerators.tables import sparse_kernels
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.products.gemm_columns import LARGEST
from zerocast.analysis.products.table import refuse_cards
from zerocast.simulator import plain_gemm
from zerocast.simulator.cost import OpRow
from zerocast.simulator.gpu import gpu_rows
from zerocast.simulator.gpu.card import card_of
from zerocast.simulator.gpu.sparse import options
from zerocast.simulator.products.gemm import Gemm
from zerocast.workloads.ir import BITS
from zerocast.workloads.patterns import DENSE, NM, VNM, Block, Pattern, Uniform

Array = NDArray[np.float64]

HALF = 0.5
"""Most that 2:4 tensor cores, and so V:N:M, keep."""
GRID = np.union1d(np.geomspace(0.005, 1.0, 70), [HALF])
"""Densities at which the break-even is looked for."""


@dataclass(frozen=True, slots=True)
class Product:
    """out[m, n] = x[m, k] W[n, k]^T in a data type."""

    m: int
    n: int
    k: int
    dtype: str

    def with_zeros(self, weight: Pattern = DENSE, activations: Pattern = DENSE) -> Gemm:
        """The product with zeros in one of its operands."""
        return plain_gemm(self.m, self.n, self.k, self.dtype, BITS[self.dtype], activations, weight)


@dataclass(frozen=True, slots=True)
class Curve:
    """Speedup of a kernel over the dense one at each density, NaN where it does not take the product; structure: how
    its zeros lie; break_even: the density below which it pays, None where it never does."""

    kernel: str
    structure: str
    speedup: Array
    break_even: float | None


@dataclass(frozen=True, slots=True)
class Densities:
    """All kernels of a card on a product. two_of_four: speedup of the 2:4 tensor cores at a density of 0.5, NaN where
    they do not run it. remarks: kernels that do not take the product at any density."""

    product: Product
    accelerator: str
    densities: Array
    dense_s: float
    curves: tuple[Curve, ...]
    two_of_four: float
    remarks: tuple[str, ...]


def read_product(text: str, dtype: str, accelerator: Accelerator) -> Product:
    """A product spelled `M,N,K`. Raises `AnalysisError` for other text and for a type that the card does not have."""
    found = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9})", text.replace(" ", ""))
    m, n, k = map(int, found.groups()) if found else (0, 0, 0)
    if not all(1 <= size <= LARGEST for size in (m, n, k)):
        raise AnalysisError(f"--densities takes one product, M,N,K such as 1,4096,14336; found {text!r}")
    if dtype not in BITS or accelerator.compute.multiplies_as(dtype) is None:
        has = ", ".join(accelerator.compute.rates)
        raise AnalysisError(f"--dtype {dtype!r}: {accelerator.name} does not multiply it; it has {has}")
    return Product(m, n, k, dtype)


def read_densities(text: str) -> Array:
    """Densities spelled `0.05,0.1,...`, in rising order. Raises `AnalysisError` for what is none."""
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise AnalysisError(f"--densities {text!r}: write shares of nonzeros such as 0.05,0.1,0.2,0.5") from None
    if not all(0 < density <= 1 for density in found):
        raise AnalysisError(f"--densities {text!r}: a density is the share of nonzeros, above 0 and at most 1")
    return np.array(found)


def over_densities(product: Product, accelerator: Accelerator, densities: Array) -> Densities:
    """Every sparse kernel of a card, each on the zeros that suit it, over the dense kernel of the product.

    Raises `AnalysisError` for an accelerator without sparse kernels and for several cards, `SimulationError` for a type
    that it lacks.
    """
    refuse_cards(accelerator)
    if accelerator.gpu is None or not accelerator.gpu.sparse_kernels:
        raise AnalysisError(f"{accelerator.name} has no table of sparse kernels; --densities is for GPUs that have one")
    (dense,) = gpu_rows([product.with_zeros()], accelerator)
    kernels = [each for each in sparse_kernels(accelerator.gpu.sparse_kernels) if each.zeros != "none"]
    curves, remarks = [], []
    for kernel in kernels:
        speedup = np.array([_speedup(kernel, product, accelerator, density, dense) for density in densities])
        fine = np.array([_speedup(kernel, product, accelerator, density, dense) for density in GRID])
        if np.isnan(fine).all():
            remarks.append(f"{kernel.name} does not take it")
        else:
            name = f"{kernel.name} ({kernel.like})"
            curves.append(Curve(name, _zeros(kernel, product.n, 0.1)[1], speedup, _break_even(fine)))
    return Densities(
        product, accelerator.name, densities, dense.latency_s, tuple(curves), _two_of_four(product, accelerator, dense),
        tuple(remarks),
    )  # fmt: skip


def _speedup(kernel: SparseKernel, product: Product, accelerator: Accelerator, density: float, dense: OpRow) -> float:
    """Dense time over that of a kernel with as many zeros of its own kind; NaN where it takes none such."""
    pattern, _ = _zeros(kernel, product.n, float(density))
    if pattern is None or pattern.is_dense:
        return float("nan")
    gemm = product.with_zeros(activations=pattern) if kernel.zeros == "input" else product.with_zeros(pattern)
    card = card_of(accelerator, product.dtype)
    own = [each for each in options(gemm, accelerator, card) if each.kernel.name == kernel.name]
    return dense.latency_s / (own[0].seconds - card.gap_s) if own else float("nan")


def _zeros(kernel: SparseKernel, rows: int, density: float) -> tuple[Pattern | None, str]:
    """The zeros that suit a kernel at a density, and what they are called; None where there are none."""
    height = max((height for height in kernel.heights if rows % height == 0), default=0)
    if not height or (kernel.panels and density > HALF):
        return None, ""
    if kernel.panels:
        return VNM(height, 2, round(2 / density), "k", "n"), f"{height}:2:M"
    if height * kernel.width > 1:
        return Block((("n", height), ("k", kernel.width)), density), f"blocks of {height} x {kernel.width}"
    return Uniform(density), "anywhere" if kernel.zeros == "weight" else "in the activations"


def _break_even(speedup: Array) -> float | None:
    """The largest density of the grid at which a kernel pays, between points by the straight line in the logarithm."""
    pays = np.flatnonzero(speedup > 1)
    if not pays.size:
        return None
    last = int(pays[-1])
    if last + 1 == len(GRID) or np.isnan(speedup[last + 1]):
        return float(GRID[last])
    share = (speedup[last] - 1) / (speedup[last] - speedup[last + 1])
    return float(np.exp(np.log(GRID[last]) * (1 - share) + np.log(GRID[last + 1]) * share))


def _two_of_four(product: Product, accelerator: Accelerator, dense: OpRow) -> float:
    cores = accelerator.model_copy(update={"gpu": accelerator.gpu.model_copy(update={"sparse_kernels": ""})})  # type: ignore[union-attr]
    (row,) = gpu_rows([product.with_zeros(NM(2, 4, "k"))], cores)
    return dense.latency_s / row.latency_s if row.skipped else float("nan")


def words(found: Densities) -> Iterator[str]:
    """What a reader wants to know of it: where each kernel breaks even."""
    p = found.product
    yield f"{p.m} x {p.n} x {p.k} in {p.dtype} on {found.accelerator}: dense {found.dense_s * 1e6:.4g} us"
    for curve in found.curves:
        where = "pays at no density" if curve.break_even is None else f"pays below density {curve.break_even:.2g}"
        yield f"  {curve.kernel}, zeros {curve.structure}: {where}"
    if not np.isnan(found.two_of_four):
        yield f"  2:4 tensor cores: {found.two_of_four:.2f}x at density 0.5"
    if found.remarks:
        yield f"  {'; '.join(found.remarks)}"


def write_densities(path: Path, found: Densities) -> None:
    """A line for each kernel and density: speedup and time."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("kernel", "structure", "density", "speedup", "latency_s", "dense_latency_s"))
        for curve in found.curves:
            for density, speedup in zip(found.densities, curve.speedup, strict=True):
                if not np.isnan(speedup):
                    line = (curve.kernel, curve.structure, density, speedup, found.dense_s / speedup, found.dense_s)
                    writer.writerow(line)


def shown(curves: Sequence[Curve]) -> list[Curve]:
    """Curves that have a point to draw."""
    return [curve for curve in curves if not np.isnan(curve.speedup).all()]

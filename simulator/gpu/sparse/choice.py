"""Which sparse kernels take a product, how its zeros fill their formats, and why others do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zerocast.accelerators.schema import Accelerator, KernelConstants, SparseKernel
from zerocast.accelerators.tables import sparse_kernels
from zerocast.simulator.gpu.card import Card, gpu_part, type_class
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.simulator.gpu.predict import NEAR, UNSEEN_BAR
from zerocast.simulator.gpu.sparse.law import Matrix, SparseTimes, sparse_times
from zerocast.simulator.products.gemm import Gemm, Operand
from zerocast.workloads.patterns import Pattern

FULL = 1.05
"""Entries that a taller entry may fill beyond a lower one's, relatively, to be taken in its place."""


@dataclass(frozen=True, slots=True)
class Option:
    """A kernel that takes a product, with its constants and times; height: rows of an entry of its format; rows: of
    activations."""

    kernel: SparseKernel
    constants: KernelConstants
    times: SparseTimes
    height: int
    rows: int

    @property
    def seconds(self) -> float:
        """Time of the call."""
        return float(self.times.seconds)

    @property
    def measured(self) -> bool:
        """Whether the kernel was timed on the generation, on products with as many rows of activations or nearly."""
        least, most = (2**-NEAR * self.kernel.measured_rows[0], 2**NEAR * self.kernel.measured_rows[1])
        return self.constants.error is not None and least <= self.rows <= most

    @property
    def bar(self) -> float:
        """Half-width of the error bar, in log time."""
        return self.constants.error if self.constants.error and self.measured else UNSEEN_BAR

    @property
    def trusted_s(self) -> float:
        """The time that counts in a choice: of a kernel that nobody timed there, the slow end of its bar."""
        return self.seconds if self.measured else self.seconds * math.exp(self.bar)

    def words(self) -> str:
        """Name and time."""
        most = "" if self.measured else f" (never measured, up to {self.trusted_s * 1e6:.3g} us)"
        return f"{self.kernel.name}, {self.kernel.like}, {self.seconds * 1e6:.3g} us{most}"


def kernels_of(accelerator: Accelerator) -> tuple[SparseKernel, ...]:
    """The sparse kernels that a GPU has constants for. Raises what `sparse_kernels` raises."""
    return sparse_kernels(gpu_part(accelerator).sparse_kernels)


def options(gemm: Gemm, accelerator: Accelerator, card: Card) -> list[Option]:
    """The kernels that take a product for its zeros, quickest first; no floor is below that of the card's dense ones.

    Raises what `calibration_of` raises.
    """
    if gemm.weight.pattern.is_dense and gemm.input.pattern.is_dense:
        return []
    dense = calibration_of(gpu_part(accelerator).calibration).of(f"dense_{type_class(accelerator, gemm.dtype)}")
    found = [_option(kernel, gemm, accelerator, card, dense.constants.floor_s)
             for kernel in kernels_of(accelerator) if not _reason(kernel, gemm)]  # fmt: skip
    return sorted(found, key=lambda option: option.trusted_s)


def vector_product(gemm: Gemm, accelerator: Accelerator, card: Card) -> Option | None:
    """The dense kernel for one row of activations, where the card has constants for it."""
    for kernel in kernels_of(accelerator):
        if kernel.zeros == "none" and not _misfit(kernel, gemm):
            return _option(kernel, gemm, accelerator, card)
    return None


def kernel_refusal(gemm: Gemm, accelerator: Accelerator) -> str:
    """Why none of the card's kernels takes the zeros of the weights, "" where one does, where there are no zeros, and
    where the card has constants of no kernel."""
    if gemm.weight.pattern.is_dense:
        return ""
    kernels = [kernel for kernel in kernels_of(accelerator) if kernel.zeros == "weight"]
    reasons = {kernel.name: _reason(kernel, gemm) for kernel in kernels}
    if not kernels or not all(reasons.values()):
        return ""
    alike: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        alike.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in alike.items())


def _reason(kernel: SparseKernel, gemm: Gemm) -> str:
    """Why a kernel does not take a product, "" where it does."""
    if kernel.zeros == "none":
        return "dense"
    operand: Operand = getattr(gemm, kernel.zeros)
    if operand.pattern.is_dense:
        return f"no zeros in the {kernel.zeros}"
    if reason := _misfit(kernel, gemm):
        return reason
    if kernel.panels:
        groups = operand.structured
        if groups is None or groups.n > 2 or not _heights(kernel, operand):
            return f"panels of {', '.join(map(str, kernel.heights))} rows with two of each M: prune with vnm:64:2:8"
    elif not _heights(kernel, operand):
        return f"{gemm.n} rows are no multiple of {kernel.heights[0]}"
    return ""


def _misfit(kernel: SparseKernel, gemm: Gemm) -> str:
    """Why a kernel does not take a product whatever its zeros."""
    if gemm.dtype not in kernel.types:
        return f"runs {', '.join(kernel.types)}, not {gemm.dtype}"
    if gemm.weight_dtype and kernel.zeros == "weight":
        return f"keeps nonzeros in the type that it multiplies, not in {gemm.weight_dtype}"
    least, most = kernel.rows
    if not least <= gemm.m <= most:
        return "takes one row of activations" if most == 1 else f"takes {least} rows or more, not {gemm.m}"
    if gemm.batch > 1:
        return f"takes one matrix a call, not a batch of {gemm.batch}"
    if gemm.conv is not None and gemm.conv.taps > 1:
        return "multiplies matrices; no library has sparse convolutions"
    return ""


def _heights(kernel: SparseKernel, operand: Operand) -> list[int]:
    """Heights of an entry that fit the rows of the matrix, and its panels."""
    rows = math.prod(size for _, size in operand.across)
    panel = operand.pattern.panel
    return [height for height in kernel.heights
            if rows % height == 0 and (not kernel.panels or (panel > 1 and panel % height == 0))]  # fmt: skip


def _option(kernel: SparseKernel, gemm: Gemm, accelerator: Accelerator, card: Card, floor_s: float = 0.0) -> Option:
    operand = gemm.input if kernel.zeros == "input" else gemm.weight
    height, filled = 1, 1.0
    if kernel.zeros == "weight":
        height, filled = _format(kernel, operand)
    elif kernel.zeros == "input":
        filled = operand.pattern.density
    density = 1.0 if kernel.zeros == "none" else operand.pattern.density
    uneven = _uneven(kernel, operand, height) if kernel.zeros == "weight" else 1.0
    matrix = Matrix(gemm.m, gemm.n, gemm.k, filled, density, height, gemm.weight.bits / 8, uneven)
    constants = kernel.constants[gpu_part(accelerator).sparse_kernels]
    return Option(kernel, constants, sparse_times(kernel, constants, card, matrix, floor_s=floor_s), height, gemm.m)


def _format(kernel: SparseKernel, operand: Operand) -> tuple[int, float]:
    """Height of an entry and the share of entries that hold a nonzero: the tallest that is not emptier for it."""
    shares = {height: operand.pattern.filled(_entry(operand, height, kernel.width))
              for height in _heights(kernel, operand)}  # fmt: skip
    least = min(shares.values())
    return max((height, share) for height, share in shares.items() if share <= least * FULL)


def _entry(operand: Operand, height: int, width: int) -> dict[str, int]:
    """Extents of an entry along the innermost ranks of rows and columns."""
    tile = {rank: 1 for rank, _ in (*operand.across, *operand.fiber)}
    tile[operand.fiber[-1][0]] = width
    tile[operand.across[-1][0]] = height
    return tile


def _uneven(kernel: SparseKernel, operand: Operand, height: int) -> float:
    """Nonzeros of the fullest of the rows of entries in lock step over their mean, by the normal law."""
    if kernel.lockstep == 1:
        return 1.0
    tile = dict(operand.fiber) | {operand.across[-1][0]: height}
    mean = float(operand.pattern.expected(tile))
    return max(float(Pattern.slowest(operand.pattern, tile, kernel.lockstep)) / mean, 1.0) if mean else 1.0

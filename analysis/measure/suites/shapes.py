"""The matrix products to measure, which of them a kernel library takes, and in what order they are measured.

Notation throughout: out[M, N] = x[M, K] · W[N, K]ᵀ; W is the operand that 2:4 prunes.
"""

from __future__ import annotations

import csv
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zerocast.analysis.errors import AnalysisError

SHAPES = Path(__file__).parents[2] / "measurements" / "shapes.csv"
ROLES = ("anchor", "calibration", "held_out")
SHUFFLED_BLOCK = 16
"""Shapes of a block are measured in random order, so that size and time of measuring are not confounded."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A product to measure. role: anchor (repeated to see drift), calibration (may be fitted) or held_out."""

    role: str
    network: str
    op: str
    m: int
    n: int
    k: int

    @property
    def key(self) -> str:
        return f"{self.m}x{self.n}x{self.k}"

    @property
    def flops(self) -> int:
        """Floating-point operations of the dense product, two for each multiply-accumulate."""
        return 2 * self.m * self.n * self.k


@dataclass(frozen=True, slots=True)
class Variant:
    """A data type and whether W is 2:4 sparse; the name is `bf16_dense`, `fp8_2to4`, ..."""

    dtype: str
    sparse: bool

    @property
    def name(self) -> str:
        return f"{self.dtype}_{'2to4' if self.sparse else 'dense'}"


VARIANTS = {
    variant.name: variant
    for variant in (Variant(dtype, sparse) for dtype in ("bf16", "fp8", "int8", "fp16") for sparse in (False, True))
}
"""All variants, in the order in which they are measured: dense and 2:4 of a type one after the other."""

RISKY = ("fp16_2to4",)
"""Variants measured last, in a process of their own: fp16 2:4 has ended in an illegal instruction on an H100."""


def refusal(variant: Variant, m: int, n: int, k: int) -> str:
    """Why the kernel library refuses a shape, "" where it takes it.

    Rules as PyTorch states them: `_DTYPE_SHAPE_CONSTRAINTS` of `torch/sparse/semi_structured.py` for 2:4, the checks
    of `_int_mm` and `_scaled_mm` (`aten/src/ATen/native/cuda/Blas.cpp`) for dense 8-bit types. M of a 2:4 product is
    padded, as PyTorch's own linear layer does, and never refused.
    """
    if variant.sparse:
        unit = 16 if variant.dtype in ("bf16", "fp16") else 32
        return "" if n % unit == 0 and k % unit == 0 else f"2:4 {variant.dtype} takes N and K in multiples of {unit}"
    if variant.dtype == "fp8" and (n % 16 or k % 16):
        return "_scaled_mm takes N and K in multiples of 16"
    if variant.dtype == "int8" and (m <= 16 or n % 8 or k % 8):
        return "_int_mm takes M above 16, N and K in multiples of 8"
    return ""


def read_shapes(path: Path = SHAPES) -> list[Shape]:
    """The shapes of a CSV with the columns role, network, op, M, N, K. Raises `AnalysisError` for any other file."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            shapes = [_shape(row) for row in csv.DictReader(stream)]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise AnalysisError(f"shape list {str(path)!r} cannot be read ({error}); see {SHAPES.name} for one") from error
    if not shapes:
        raise AnalysisError(f"shape list {str(path)!r} holds no shape")
    return shapes


def _shape(row: dict[str, str]) -> Shape:
    shape = Shape(row["role"], row["network"], row["op"], int(row["M"]), int(row["N"]), int(row["K"]))
    if shape.role not in ROLES or min(shape.m, shape.n, shape.k) < 1:
        raise ValueError(f"row {row}: role must be {', '.join(ROLES)}, and M, N and K 1 or more")
    return shape


def list_hash(shapes: list[Shape]) -> str:
    """Twelve hex digits of the SHA-256 over roles and dimensions: the same list has the same hash."""
    text = "\n".join(f"{shape.role},{shape.m},{shape.n},{shape.k}" for shape in shapes)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def measuring_order(shapes: list[Shape], seed: int) -> list[Shape]:
    """Calibration and held-out shapes interleaved, so that any beginning of the list is spread over log shape space.

    Each role is ordered by farthest-point sampling in (log M, log N, log K) from a random start (Gonzalez 1985), then
    the interleaved list is shuffled within blocks. Anchors are left out: they have a place of their own.
    """
    draw = random.Random(seed)
    spread = [_spread([shape for shape in shapes if shape.role == role], draw) for role in ROLES[1:]]
    merged: list[Shape] = []
    longest = max(map(len, spread))
    for place in range(longest):  # the shorter list is stretched over the longer one
        for one in spread:
            merged += one[place * len(one) // longest : (place + 1) * len(one) // longest]
    ordered: list[Shape] = []
    for start in range(0, len(merged), SHUFFLED_BLOCK):
        block = merged[start : start + SHUFFLED_BLOCK]
        draw.shuffle(block)
        ordered += block
    return ordered


def _spread(shapes: list[Shape], draw: random.Random) -> list[Shape]:
    if not shapes:
        return []
    points = np.log([[shape.m, shape.n, shape.k] for shape in shapes])
    chosen = [draw.randrange(len(shapes))]
    gap = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < len(shapes):
        gap[chosen] = -1
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return [shapes[at] for at in chosen]

"""Sparse kernels of a GPU's libraries: how each stores a matrix, and what its time is made of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from zerocast.accelerators.schema.array.compute import check_dtypes
from zerocast.accelerators.schema.part import Part


class KernelConstants(Part):
    """What the time of a kernel is made of on one generation, in terms of the card's specification. A rate that is left
    out is never what a product waits for."""

    floor_s: PositiveFloat
    """Time of the smallest call, its launch included, in s."""
    dram: float = Field(gt=0, le=1)
    """Share of the datasheet's off-chip bandwidth."""
    error: PositiveFloat | None = None
    """Half-width of the error bar, in log time, that held 9 of 10 products that were not fitted; without one the kernel
    was not measured on the generation, and its bar is that of unseen cards."""
    macs: PositiveFloat | None = None
    """Multiply-accumulates of an SM in a cycle, with the stored zeros, of a kernel that does without tensor cores."""
    tensor: PositiveFloat | None = None
    """Rate over that of the dense 16-bit tensor cores as the SMs are built, for a kernel on them; 2:4 doubles it."""
    gather: PositiveFloat | None = None
    """Bytes of activations that an SM takes through its caches in a cycle, picked by the indices of the weights."""
    sharing_rows: PositiveFloat = 1.0
    """Rows of a tall matrix that are on an SM at once and find each other's activations there."""
    tall_rows: PositiveFloat = 1.0
    """Rows of a matrix that is half as tall as that takes."""
    output_cycles: float = Field(default=0.0, ge=0)
    """Cycles of an SM for each element of the result: what a tile takes however few nonzeros it has."""
    scattered_bytes: float = Field(default=0.0, ge=0)
    """Bytes that a nonzero of a very long row moves beyond its own: cache lines lost before their rest was used."""
    scattered_row: PositiveFloat = 1.0
    """Nonzeros of a row at which half of them are lost."""
    scattered_sharpness: PositiveFloat = 1.0
    """Exponent of that loss."""


class SparseKernel(Part):
    """A kernel that multiplies by a sparse matrix: weights with zeros, or activations with zeros."""

    name: str
    """How reports call it."""
    like: str
    """The library whose kernel it is."""
    zeros: Literal["weight", "input", "none"] = "weight"
    """The operand whose zeros it skips; none for the dense vector product, which stands beside those of one row."""
    types: tuple[str, ...] = Field(min_length=1)
    """Data types."""
    heights: tuple[PositiveInt, ...] = (1,)
    """Rows of the matrix that share an entry of its format: 1, vectors or blocks. Of several, the largest that the
    pattern fills as well as the smallest."""
    width: PositiveInt = 1
    """Columns of an entry."""
    panels: bool = False
    """Whether it runs V:N:M: an entry is a column of a panel, half of whose values are kept, on 2:4 tensor cores."""
    step: PositiveInt = 1
    """Entries of a row of entries that it takes at once: their number is rounded up to a multiple."""
    index_bits: float = Field(default=0.0, ge=0)
    """Bits that say where an entry lies."""
    index_span: int = Field(default=0, ge=0)
    """Places that an index of a distance reaches: a zero is stored where the next entry lies farther; 0 for any."""
    rows: tuple[PositiveInt, PositiveInt]
    """Fewest and most rows of activations."""
    measured_rows: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Fewest and most rows of activations of the products that its constants were fitted on."""
    lockstep: PositiveInt = 1
    """Rows of entries of which all wait for the fullest."""
    constants: dict[str, KernelConstants] = Field(min_length=1)
    """By generation."""
    sources: dict[str, str] = Field(min_length=1)
    """Source of each generation's constants."""

    @model_validator(mode="after")
    def _is_whole(self) -> SparseKernel:
        check_dtypes(self.types)
        if unsourced := sorted(set(self.constants) ^ set(self.sources)):
            raise ValueError(f"sources: constants and sources name the same generations; differ in {unsourced}")
        if self.rows[0] > self.rows[1]:
            raise ValueError(f"rows: fewest {self.rows[0]} above most {self.rows[1]}")
        return self

"""What a user may fix of a product's mapping; the search finds what is left out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from zerocast.accelerators.schema.array.compute import Dataflow
from zerocast.accelerators.schema.memory import Operand
from zerocast.accelerators.schema.part import Part

Order = Literal["mnk", "mkn", "nmk", "nkm", "kmn", "knm"]
"""Loops over tiles, outermost first."""


class Extents(Part):
    """Elements of a tile along the ranks of out[m, n] = input[m, k] weight[k, n]. m and k of a convolution may be given
    by the ranks that make them up, which a tile then cuts into equal parts; those left out are whole."""

    m: PositiveInt | None = None
    """Rows of input and output: samples and positions."""
    n: PositiveInt | None = None
    """Columns of weight and output: output channels."""
    k: PositiveInt | None = None
    """The reduction: input channels and kernel positions."""
    samples: PositiveInt | None = None
    """Of m."""
    out_rows: PositiveInt | None = None
    """Of m."""
    out_cols: PositiveInt | None = None
    """Of m."""
    in_channels: PositiveInt | None = None
    """Of k."""
    kernel_rows: PositiveInt | None = None
    """Of k."""
    kernel_cols: PositiveInt | None = None
    """Of k."""


class Spread(Part):
    """Copies of a tile side by side over a fan-out, by side of the product."""

    groups: PositiveInt | None = None
    """Independent products."""
    m: PositiveInt | None = None
    """Rows of input and output."""
    n: PositiveInt | None = None
    """Columns of weight and output."""
    k: PositiveInt | None = None
    """The reduction; the copies' sums are added up."""


class GivenLevel(Part):
    """What is fixed at one depth of on-chip memories."""

    order: Order | None = None
    """Order of the loops over its tiles."""
    tile: Extents = Extents()
    """Tile that its memories keep."""
    held: tuple[Operand, ...] | None = None
    """Operands of which all tiles stay in their buffer while the loop that they do not depend on repeats: of inputs,
    that over n; of weights, over m; of outputs, over k. Without it those for which there is room."""
    spread: Spread = Spread()
    """Copies of that tile, over the fan-out of the depth outside. Where the innermost memories fan out to several
    arrays, a level more than there are depths says how."""


class Pass(Part):
    """Parameters of a pass of a row-stationary array (Chen et al., JSSC 2017, table I)."""

    m: PositiveInt | None = None
    """Filters whose partial sums the global buffer keeps."""
    n: PositiveInt | None = None
    """Samples whose partial sums it keeps."""
    e: PositiveInt | None = None
    """Output rows of a PE set."""
    p: PositiveInt | None = None
    """Filters of a PE."""
    q: PositiveInt | None = None
    """Channels of a PE."""
    r: PositiveInt | None = None
    """PE sets for different channels."""
    t: PositiveInt | None = None
    """PE sets for different filters."""


class Given(Part):
    """What is fixed of the mapping of one product; hashable, so that products remember it."""

    dataflow: Dataflow | None = None
    """What stays in the array."""
    levels: tuple[GivenLevel, ...] = ()
    """Per depth of on-chip memories, from the off-chip one inwards."""
    passes: Pass = Field(default=Pass(), alias="pass")
    """Of a row-stationary array, which has no levels."""

    def level(self, depth: int) -> GivenLevel:
        """What is fixed at a depth; nothing where it is not listed."""
        return self.levels[depth] if depth < len(self.levels) else GivenLevel()

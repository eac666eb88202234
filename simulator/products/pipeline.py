"""Time of a matrix product as a pipeline of tiles over the array and the off-chip link.

With double buffers, step i computes tile i while the link stores what tile i-1 left and loads tile i+1; the next
step begins when both are done. Other buffers let part of this or none of it go on together (`side_by_side`). First load
and last store stand alone.

The closed form pairs each load with the store of the same change of tiles: over a whole run the pairs are those of
the rule, but that the first load has no store beside it and the last computation has one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.products.traffic import Change, Ends, TileBytes

Array = NDArray[np.float64]


def pipeline_time(
    steps: Change, ends: Ends, tile: TileBytes, tile_compute: ArrayLike, rate: ArrayLike, overlap: float = 1.0
) -> Array:
    """Time of the whole product, in the unit of a tile's `tile_compute` and of the link's bytes per `rate`.

    Total over the kinds of step: count * max(compute, link), plus first load, last compute, last store. Exact for tiles
    of one size where K is not cut, or cut by the innermost loop; else off by less than the difference between two
    stores for each pass over K. overlap: as in `side_by_side`.
    """
    compute, rate = np.asarray(tile_compute, dtype=float), np.asarray(rate, dtype=float)
    link = (steps.loads_bytes + steps.stores_bytes) / rate
    total = np.asarray((tile.input + tile.weight + tile.output) / rate + compute)
    for step in steps.count * side_by_side(compute, link, overlap):  # in order: one mapping and a million are equal
        total = total + step
    if overlap:
        first, moved = ends.first_bytes / rate, ends.last_stores_bytes / rate
        total = total + side_by_side(compute, first - moved, overlap) - side_by_side(compute, first, overlap)
        total = total + side_by_side(compute, moved, overlap) - compute
    return total


def side_by_side(compute: ArrayLike, link: ArrayLike, overlap: float) -> Array:
    """Time of computing and moving together, in their unit: the longer, and of the shorter what does not hide behind it
    (`Memory.overlap`): 1 for double buffers, 0 where the two take turns."""
    longer = np.maximum(compute, link)
    return longer if overlap == 1 else longer + (1 - overlap) * np.minimum(compute, link)

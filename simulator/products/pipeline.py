"""Time of a matrix product as a pipeline of tiles over the array and the off-chip link.

With double buffers, step i computes tile i while the link stores what tile i-1 left and loads tile i+1; the next
step begins when both are done. Other buffers let part of this or none of it go on together (`side_by_side`). First load
and last store stand alone.

The closed form pairs each load with the store of the same change of tiles: over a whole run the pairs are those of
the rule, but that the first load has no store beside it and the last computation has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zerocast.simulator.products.traffic import Change, Ends, TileBytes

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PipelineTime:
    """Seconds and off-chip bytes of a tile pipeline; all broadcast over mappings.

    latency_s: the whole product. link_s: time the link is busy. weight_prologue_s: the part of the first load that
    fetches weights, which a controller can hide behind the work before.
    """

    latency_s: Array
    link_s: Array
    weight_prologue_s: Array
    read_bytes: Array
    write_bytes: Array


def pipeline_time(
    steps: Change,
    ends: Ends,
    tile: TileBytes,
    tile_compute_s: ArrayLike,
    link_bytes_per_s: ArrayLike,
    overlap: float = 1.0,
) -> PipelineTime:
    """Total over the kinds of step: count * max(compute, link), plus first load, last compute, last store.

    Exact for tiles of one size where K is not cut, or cut by the innermost loop; else off by less than the
    difference between two stores for each pass over K. overlap: as in `side_by_side`.
    """
    compute, rate = np.asarray(tile_compute_s, dtype=float), np.asarray(link_bytes_per_s, dtype=float)
    link = (steps.loads_bytes + steps.stores_bytes) / rate
    step_s = steps.count * side_by_side(compute, link, overlap)
    latency = _sum((tile.input + tile.weight + tile.output) / rate + compute, step_s)
    read = _sum(tile.input + tile.weight, steps.count * steps.loads_bytes)
    write = _sum(tile.output, steps.count * steps.stores_bytes)
    if overlap:
        first, moved = ends.first_bytes / rate, ends.last_stores_bytes / rate
        latency = latency + side_by_side(compute, first - moved, overlap) - side_by_side(compute, first, overlap)
        latency = latency + side_by_side(compute, moved, overlap) - compute
    return PipelineTime(
        latency_s=latency,
        link_s=(read + write) / rate,
        weight_prologue_s=tile.weight / rate,
        read_bytes=read,
        write_bytes=write,
    )


def side_by_side(compute: ArrayLike, link: ArrayLike, overlap: float) -> Array:
    """Time of computing and moving together, in their unit: the longer, and of the shorter what does not hide behind it
    (`Memory.overlap`): 1 for double buffers, 0 where the two take turns."""
    longer = np.maximum(compute, link)
    return longer if overlap == 1 else longer + (1 - overlap) * np.minimum(compute, link)


def _sum(start: ArrayLike, parts: Array) -> Array:
    """`start` and all parts along their first axis, added in order: one mapping and a million give the same bits."""
    total = np.asarray(start, dtype=float)
    for part in parts:
        total = total + part
    return total

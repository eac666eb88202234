"""Mappings as Timeloop prints them, read into the form that `--mapping` takes.

`L3[WIO] K48 - L2[WI] N1 K16X - L1[O] C48 P16 C16X - L0[W] P8`: memories from the outermost inwards, each with what it
keeps (weights, inputs, outputs) and the loops over the tiles of the next one, outermost first; X marks copies side by
side. Ranks are N samples, K output and C input channels, P and Q columns and rows of the output, R and S those of the
kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zerocast.analysis.errors import AnalysisError

RANKS = {
    "N": "samples", "K": "n", "C": "in_channels", "P": "out_cols", "Q": "out_rows", "R": "kernel_cols",
    "S": "kernel_rows",
}  # fmt: skip
"""Timeloop's ranks of a convolution, and what a page of mappings calls the extents of their tiles."""

_LEVEL = re.compile(r"L\d+\[[WIO]*\]((?: [NKCPQRS]\d+X?)*)")


def given_entry(text: str, sizes: Mapping[str, int], order: str) -> dict[str, Any]:
    """What a page of mappings says of a layer, for an accelerator with one depth of memories: the tile that the loops
    of the outermost level step over. sizes: of the layer, by Timeloop's ranks; order: that of the loops over tiles.
    Raises `AnalysisError` for a text of another form and for loops that do not divide their rank."""
    levels = [_LEVEL.fullmatch(level.strip()) for level in text.split(" - ")]
    if not levels or None in levels:
        raise AnalysisError(f"{text!r} is no mapping; the form is 'L3[WIO] K48 P2 - L2[WI] K16X - ...'")
    trips = dict.fromkeys(RANKS, 1)
    assert levels[0] is not None
    for loop in levels[0][1].split():
        trips[loop[0]] *= int(loop[1:].rstrip("X"))
    for rank, count in trips.items():
        if sizes[rank] % count:
            raise AnalysisError(f"{text!r}: {count} tiles do not divide {rank} {sizes[rank]}")
    return {"levels": [{"order": order, "tile": {RANKS[rank]: sizes[rank] // trips[rank] for rank in RANKS}}]}

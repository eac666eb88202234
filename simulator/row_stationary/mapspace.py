"""The mappings of a layer to choose from: what fits the array, the spads and the buffers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.gemm import Gemm
from zerocast.simulator.mapping import tile_extents
from zerocast.simulator.row_stationary.layer import RowLayer
from zerocast.simulator.row_stationary.mapping import RowMapping, filter_words, glb_words
from zerocast.simulator.row_stationary.part import part_of
from zerocast.simulator.row_stationary.traffic import row_traffic

Array = NDArray[np.float64]

SLACK = 0.01
"""Share by which traffic off chip or cycles may differ and still count as equal in the choice of a mapping
(assumption; the same share as for tiled mappings)."""


def candidates(gemm: Gemm, accelerator: Accelerator, layer: RowLayer) -> RowMapping:
    """The mappings to choose from, as flat arrays: all fit, and none that moves little off chip is left out.

    e and n try, for each number of trips, the smallest value that gives it, which moves the same data in less of
    the GLB. m is as large as the GLB has room for, evened out over its trips: a smaller one loads the input more often
    and saves nothing. p and t hardly bear on the traffic off chip, so that blocks that must exceed its least by more
    than `SLACK` are dropped before every p and t is tried.

    `SimulationError` where the kernel does not fit the array, the spads or the buffers.
    """
    slots, most = accelerator.compute.rows // layer.kernel[0], _most(gemm, accelerator, layer)
    if not slots or min(most) < 1:
        raise SimulationError(_no_fit(gemm, accelerator, layer))
    blocks = _blocks(gemm, accelerator, layer, most[1])
    if not blocks.m.size:
        raise SimulationError(_no_fit(gemm, accelerator, layer))
    return _passes(gemm, accelerator, layer, _lean(gemm, accelerator, layer, blocks), most[0])


def _blocks(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, most_channels: int) -> RowMapping:
    """All e, n, q and r that fit with p = t = 1, which asks the least of spads and filter buffer; with their m."""
    found = []
    for e in tile_extents(layer.output[0], 1):
        sets = float(pe_sets(accelerator, layer, e))
        q = np.arange(1.0, min(layer.channels, most_channels) + 1)
        grid = np.meshgrid(tile_extents(layer.samples, 1), q, np.arange(1.0, sets + 1), indexing="ij")
        found.append(np.stack([np.full(grid[0].size, e), *(side.ravel() for side in grid)]))
    e, n, q, r = np.concatenate(found, axis=1)
    one = np.ones_like(e)
    mappings = RowMapping(one, n, e, one, q, r, one)
    room = _room(gemm, accelerator, layer, mappings)
    m = np.ceil(layer.filters / np.ceil(layer.filters / np.clip(room, 1, layer.filters)))
    fits = (room >= 1) & (q * (r - 1) < layer.channels) & _filters_fit(gemm, accelerator, layer, mappings)
    return replace(mappings, m=m).at(fits)


def _lean(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, blocks: RowMapping) -> RowMapping:
    """Those blocks that could come within `SLACK` of the least traffic off chip.

    The least that a block can move is what it moves if a pass takes all filters: then the filters of a layer with one
    block and one load of channels stay in the array.
    """
    moved = row_traffic(gemm, accelerator, layer, blocks, compressed=False).dram_bytes
    at_once = replace(blocks, p=np.full_like(blocks.p, layer.filters))
    bound = row_traffic(gemm, accelerator, layer, at_once, compressed=False).dram_bytes
    return blocks.at(bound <= moved.min() * (1 + SLACK))


def _passes(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, blocks: RowMapping, most_filters: int) -> RowMapping:
    """The blocks with every p and t that fit."""
    sets = pe_sets(accelerator, layer, blocks.e)
    beside = np.arange(1.0, sets.max() + 1)
    block, at = np.nonzero(beside * blocks.r[:, None] <= sets[:, None])
    columns = RowMapping(*(getattr(blocks, name)[block, None] for name in RowMapping.__slots__))
    p = np.arange(1.0, min(layer.filters, most_filters) + 1)
    grid = replace(columns, t=beside[at, None], p=p[None, :])
    fits = (grid.p <= grid.m) & (grid.p * (grid.t - 1) < grid.m) & _filters_fit(gemm, accelerator, layer, grid)
    return grid.at(fits)


def pe_sets(accelerator: Accelerator, layer: RowLayer, e: Array) -> Array:
    """PE sets of R x e that fit the array; one wider than the array is folded into strips on top of each other."""
    rows, cols = accelerator.compute.rows, accelerator.compute.cols
    beside = np.maximum(cols // e, 1)
    return rows // layer.kernel[0] * beside // np.ceil(e / cols)


def _most(gemm: Gemm, accelerator: Accelerator, layer: RowLayer) -> tuple[int, int]:
    """Most filters and most channels that the spads of a PE take."""
    part = part_of(accelerator)
    words = int(part.filter_spad_bytes * 8 // gemm.weight.bits) // layer.kernel[1]
    return (
        min(int(part.psum_spad_bytes * 8 // accelerator.compute.accumulate_bits), words),
        min(int(part.ifmap_spad_bytes * 8 // gemm.input.bits) // layer.span[1], words),
    )


def _room(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, mapping: RowMapping) -> Array:
    """Filters whose partial sums fit the banks of the GLB that the input leaves."""
    bank, glb = part_of(accelerator).bank_bytes, accelerator.buffer_of("output").capacity_bytes
    assert glb is not None  # the schema asks for it on chip
    input_words, psum_words = glb_words(layer, mapping)
    banks = glb // bank - np.ceil(input_words * gemm.input.bits / 8 / bank)
    room: Array = np.floor(banks * bank / (psum_words * accelerator.compute.accumulate_bits / 8))
    return room


def _filters_fit(gemm: Gemm, accelerator: Accelerator, layer: RowLayer, mapping: RowMapping) -> NDArray[np.bool_]:
    """Whether the filters of a pass fit spads and filter buffer."""
    spad, buffer = part_of(accelerator).filter_spad_bytes, accelerator.buffer_of("weight").capacity_bytes
    assert buffer is not None  # the schema asks for it on chip
    word = gemm.weight.bits / 8
    in_spad = mapping.p * mapping.q * layer.kernel[1] * word <= spad
    return np.asarray(in_spad & (filter_words(layer, mapping) * word <= buffer))


def _no_fit(gemm: Gemm, accelerator: Accelerator, layer: RowLayer) -> str:
    """Names the kernel and what cannot hold it."""
    part, compute = part_of(accelerator), accelerator.compute
    kernel = f"{layer.kernel[0]} x {layer.kernel[1]}"
    if compute.rows < layer.kernel[0]:
        return (
            f"a {kernel} kernel needs {layer.kernel[0]} rows of PEs, {accelerator.name} has {compute.rows}; "
            "raise compute.rows or split the kernel"
        )
    if min(_most(gemm, accelerator, layer)) < 1:
        return (
            f"a row of a {kernel} kernel ({layer.span[1]} columns with dilation) does not fit the spads of "
            f"{accelerator.name}: input {part.ifmap_spad_bytes:g} B, filter {part.filter_spad_bytes:g} B, sums "
            f"{part.psum_spad_bytes:g} B; raise row_stationary.*_spad_bytes"
        )
    return (
        f"no pass of a {kernel} convolution with rows of {layer.padded[1]} inputs and {layer.output[1]} outputs fits "
        f"the buffers of {accelerator.name}; raise memories.*.capacity_bytes or cut the layer into narrower ones"
    )

"""Law window: slots whose input is zero take pairs that are due later, as far as their multiplexers reach.

Mahmoud et al., "TensorDash", MICRO 2020: a row of PEs shares the input's schedule, the rows of a tile share the
weights' and move on together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping, Window
from zerocast.simulator.laws.lanes.dealing import deal
from zerocast.simulator.laws.lanes.laws import shares_along_k
from zerocast.simulator.laws.lanes.losses import EngineCycles
from zerocast.simulator.laws.lanes.operands import POOL_ELEMENTS, Bits, operand_bits, pool
from zerocast.simulator.products.gemm import Gemm

DRAWN_ELEMENTS = 4_000_000
"""Elements of an input walked at most where not every nonzero counts: the mean is then good to about half a percent."""


def window_cycles(gemm: Gemm, skipping: Skipping, skip: bool, masks: bool) -> EngineCycles:
    """Cycles of a product whose input's zeros are filled from the window, if it is skipped on.

    masks: every group of rows with its own nonzeros, else those of `DRAWN_ELEMENTS`. The first arrangement is used.
    """
    assert skipping.window is not None  # the schema asks for it
    how = skipping.arrangements[0]
    m, n = deal(gemm.m, how.m), deal(gemm.n, how.n)
    together = max((skipping.sync_group or skipping.lanes) // how.n.lanes, 1)
    slots = skipping.vector.weight
    steps = -(-gemm.k // slots)
    turns = -(-gemm.m // m.lanes)  # rows that every lane takes, one after another
    if skip:
        rows, alike = _rows(gemm, m.lanes, masks)
        each = _groups(rows, -(-rows.shape[1] // m.lanes) * m.lanes, together, slots, skipping.window)
        each, density = each.reshape(-1, m.lanes // together), float(rows.mean())
    else:
        each, alike, density = np.full((1, m.lanes // together), float(steps)), True, 1.0
    longest = each.mean() if alike else each.mean(axis=0).max()
    cycles = float(longest) * gemm.batch * turns * n.rounds * n.tile
    ideal = gemm.macs * density / skipping.multipliers
    edge = cycles * (1 - gemm.m * gemm.n / (turns * m.lanes * n.rounds * n.lanes * n.tile))
    fragmentation = cycles * (1 - gemm.k / (steps * slots)) * (1 - edge / max(cycles, 1e-30))
    return EngineCycles(cycles, ideal, cycles - ideal - edge - fragmentation, fragmentation, edge=edge)


def _rows(gemm: Gemm, lanes: int, masks: bool) -> tuple[Bits, bool]:
    """Rows of the input that are walked, [some batch, some rows, K], and whether they stand for others by their mean.

    masks: all of them. Otherwise of a large product some turns of the lanes, spread evenly over it; of independent
    zeros any, whose mean is then meant: that all lanes have them in turn evens out what tells these few apart.
    """
    if masks:
        return operand_bits(gemm, "input"), False
    law = shares_along_k(gemm, "input", True, False)
    rows = pool(gemm, "input", False, POOL_ELEMENTS if law is None else DRAWN_ELEMENTS)
    turns = max(DRAWN_ELEMENTS // (len(rows) * lanes * gemm.k), 1)
    found = rows.shape[1] // lanes
    if turns < found:
        places = np.linspace(0, found - 1, turns).astype(np.intp)[:, None] * lanes + np.arange(lanes)
        rows = rows[:, places.ravel()]
    return rows, law is not None and rows.size < gemm.batch * gemm.m * gemm.k


def _groups(bits: Bits, rows: int, together: int, slots: int, window: Window) -> NDArray[np.float64]:
    """Cycles of every group of `together` rows of bits [batch, M, K], padded to `rows`: [batch, groups]."""
    batch, found, depth = bits.shape
    padded = np.pad(bits, [(0, 0), (0, rows - found), (0, -depth % slots)])
    lanes = padded.reshape(-1, together, padded.shape[2] // slots, slots)
    return scheduled_cycles(lanes, window).astype(float).reshape(batch, -1)


def scheduled_cycles(pending: Bits, window: Window) -> NDArray[np.int64]:
    """Cycles until all pairs of [groups, rows, steps, slots] are multiplied, [groups].

    Each cycle a slot takes its own pair, else the first of its moves that is still pending; then the group moves on
    past every step that all of its rows have done.
    """
    groups, _, steps, _ = pending.shape
    left = np.pad(pending, [(0, 0), (0, 0), (0, window.depth), (0, 0)])
    at = np.zeros(groups, dtype=np.intp)
    cycles = np.zeros(groups, dtype=np.int64)
    live = np.arange(groups)
    ahead = np.arange(window.depth)
    while live.size:
        place = at[live, None] + ahead
        staged = left[live[:, None], :, place]  # [groups, depth, rows, slots]
        free = ~staged[:, 0]
        staged[:, 0] = False
        for step, aside in window.reach:
            source = np.roll(staged[:, step], -aside, axis=-1)
            taken = free & source
            free &= ~taken
            staged[:, step] &= ~np.roll(taken, aside, axis=-1)
        left[live[:, None], :, place] = staged
        busy: Bits = np.asarray(staged.any(axis=-1).any(axis=-1))
        done = np.where(busy.any(axis=1), busy.argmax(axis=1), window.depth)
        cycles[live] += 1
        at[live] += done
        live = live[at[live] < steps]
    return cycles

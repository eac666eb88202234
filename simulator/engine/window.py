"""Law window: slots whose input is zero take pairs that are due later, as far as their multiplexers reach.

Mahmoud et al., "TensorDash", MICRO 2020: a row of PEs shares the input's schedule, the rows of a tile share the
weights' and move on together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Skipping, Window
from zerocast.simulator.engine.dealing import deal
from zerocast.simulator.engine.losses import EngineCycles
from zerocast.simulator.engine.operands import Bits, operand_bits
from zerocast.simulator.gemm import Gemm

DRAWN = 512
"""Groups of rows drawn where the zeros are known as a law: the mean is then good to about half a percent."""

DRAWN_ELEMENTS = 4_000_000
"""Elements drawn at most; long rows average over themselves."""


def window_cycles(gemm: Gemm, skipping: Skipping, skip: bool, masks: bool) -> EngineCycles:
    """Cycles of a product whose input's zeros are filled from the window, if it is skipped on.

    masks: every group of rows with its own nonzeros, else the mean of drawn ones. The first arrangement is used.
    """
    assert skipping.window is not None  # the schema asks for it
    how = skipping.arrangements[0]
    m, n = deal(gemm.m, how.m), deal(gemm.n, how.n)
    together = max((skipping.sync_group or skipping.lanes) // how.n.lanes, 1)
    slots = skipping.vector.weight
    steps = -(-gemm.k // slots)
    turns = n.rounds * n.tile * m.tile
    if not skip:
        each = np.full((gemm.batch * m.rounds, how.m.lanes // together), float(steps))
    elif masks:
        each = _groups(operand_bits(gemm, "input"), m.rounds * m.lanes, together, slots, skipping.window)
        each = each.reshape(gemm.batch * m.rounds, -1)
    else:
        drawn = _drawn(gemm, together, slots, skipping.window)
        each = np.full((gemm.batch * m.rounds, how.m.lanes // together), drawn)
    cycles = float(each.sum(axis=0).max()) * turns
    density = gemm.input.pattern.density if skip else 1.0
    if masks and skip:
        density = float(operand_bits(gemm, "input").mean())
    ideal = gemm.macs * density / skipping.multipliers
    edge = cycles * (1 - gemm.m * gemm.n / (m.rounds * m.lanes * m.tile * n.rounds * n.lanes * n.tile))
    fragmentation = cycles * (1 - gemm.k / (steps * slots)) * (1 - edge / max(cycles, 1e-30))
    return EngineCycles(cycles, ideal, cycles - ideal - edge - fragmentation, fragmentation, edge=edge)


def _drawn(gemm: Gemm, together: int, slots: int, window: Window) -> float:
    """Mean cycles of a group of rows, from up to `DRAWN` groups under the input's density."""
    rng = np.random.default_rng(0)
    groups = max(min(DRAWN, DRAWN_ELEMENTS // (together * gemm.k)), 4)
    bits = rng.random((1, groups * together, gemm.k), dtype=np.float32) < gemm.input.pattern.density
    return float(_groups(bits, groups * together, together, slots, window).mean())


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

"""Cycles of an engine in expectation where only a draw shows how zeros meet: some rounds are walked and stand for all.

Blocks, N:M groups, masks and patterns of a user's own are not a density along K: whole filters may be empty, the
nonzeros of a vector may come together. Their bits are dealt to the lanes as the tile fidelity does it; a product too
large for that is cut to rounds spread evenly over it. A product that is not cut costs what the tile fidelity finds.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement, Skipping
from zerocast.simulator.laws.lanes.dealing import Dealt
from zerocast.simulator.laws.lanes.losses import CAUSES, EngineCycles
from zerocast.simulator.laws.lanes.operands import POOL_ELEMENTS, Bits, fiber_of, of_outputs, pool, scattered
from zerocast.simulator.laws.lanes.times.walked import walked_cycles
from zerocast.simulator.laws.lanes.work import Layout, layout
from zerocast.simulator.products.gemm import Gemm

Places = NDArray[np.intp]

WORK = 2**25
"""Meetings of lanes' elements that are walked at most, some tenths of a second: times of lanes that meet nonzero by
nonzero, while law dot counts `AT_ONCE` as fast."""

GLANCE = 2**22
"""The same where arrangements are only to be told apart."""

AT_ONCE = 16
"""Meetings that a matrix product makes in the time of one."""

ALIKE_ELEMENTS = 2**22
"""Elements drawn at most of an operand whose rows are all alike."""


def sampled_cycles(
    gemm: Gemm,
    skipping: Skipping,
    arrangement: Arrangement,
    skips: tuple[bool, bool],
    runs: tuple[int | None, int | None],
    work: int = WORK,
) -> EngineCycles:
    """What `walked_cycles` finds for rounds along M and the batch of up to `work`, scaled to the whole product.

    Laws cartesian and dot; arguments as of `expected_cycles`. skips: whether zeros of (a, w) take no time.
    """
    conv = scattered(gemm, skipping)
    taps, rows, useful = (conv.taps, conv.positions, conv.useful) if conv is not None else (1, gemm.m, 1.0)
    lay = layout(arrangement, gemm.batch, rows, gemm.n * taps, gemm.k // taps, taps)
    m_rounds, items = _affordable(lay, skipping, work)
    row_places, item_places = _some(lay.m, m_rounds), _some(lay.batch, items)
    a = _bits(gemm, "input", conv is not None, skips[0], item_places, row_places, lay.k.size)
    w = _bits(gemm, "weight", conv is not None, skips[1], item_places, np.arange(lay.n.size), lay.k.size)
    mask = None
    if not gemm.mask.is_dense:
        mask = _bits(of_outputs(gemm), "weight", False, True, item_places, row_places, lay.n.size)
    found = walked_cycles(a, w, skipping, arrangement, skips, runs, taps, useful, mask)
    part = _part(lay.m, m_rounds, row_places) * _part(lay.batch, items, item_places)
    scaled = {name: getattr(found, name) / part for name in ("cycles", "ideal", *CAUSES)}
    return found if part == 1 else replace(found, **scaled)


def _affordable(lay: Layout, skipping: Skipping, work: int) -> tuple[float, float]:
    """Rounds along M, and along the batch, that `work` pays for; less than one where a single round is too long."""
    m, n, batch = lay.m, lay.n, lay.batch
    each = float(n.rounds * n.lanes * lay.k.size * m.lanes)
    if skipping.law == "dot":
        each *= n.tile * m.tile / AT_ONCE
    rounds = min(work / (each * lay.batch.size), m.rounds)
    if rounds >= 1:
        return float(int(rounds)), float(batch.rounds)
    items = min(work / (each * batch.lanes * batch.tile), batch.rounds)
    return (1.0, float(int(items))) if items >= 1 else (max(items, 1 / m.tile), 1.0)


def _some(dealt: Dealt, rounds: float) -> Places:
    """Elements of so many rounds, spread evenly over a rank; of part of a round, elements spread over it."""
    whole = dealt.lanes * dealt.tile
    if rounds >= dealt.rounds:
        return np.arange(dealt.size)
    if rounds < 1:
        count = min(max(int(rounds * whole), dealt.lanes), dealt.size)
        return np.linspace(0, dealt.size - 1, count).astype(np.intp)
    starts = np.linspace(0, dealt.size // whole - 1, int(rounds)).astype(np.intp) * whole
    return np.asarray((starts[:, None] + np.arange(whole)).ravel())


def _part(dealt: Dealt, rounds: float, places: Places) -> float:
    """Share of a rank's time that the chosen elements stand for: lanes side by side take a round whole."""
    if rounds < 1 or dealt.lanes == 1:
        return len(places) / dealt.size
    return min(rounds / dealt.rounds, 1.0)


def _bits(gemm: Gemm, side: str, scatter: bool, skip: bool, items: Places, places: Places, depth: int) -> Bits:
    """The chosen rows of an operand. Of one too large to draw whole, what is drawn comes again, moved on by one each
    time so that it meets other lanes."""
    if not skip:
        return np.broadcast_to(np.True_, (len(items), len(places), depth))
    alike = getattr(gemm, side).pattern.shares_along(fiber_of(gemm, side, scatter)) is not None
    drawn = pool(gemm, side, scatter, ALIKE_ELEMENTS if alike else POOL_ELEMENTS)
    held, rows = drawn.shape[:2]
    if (len(items), len(places)) == (held, rows):
        return drawn
    return np.asarray(drawn[items % held][:, (places + places // rows) % rows])

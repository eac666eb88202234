"""Cycles of work of every lane in every round, from the bits of both operands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement
from zerocast.simulator.laws.lanes.dealing import Dealt, deal
from zerocast.simulator.laws.lanes.operands import Bits

Array = NDArray[np.float64]

MOST_ENTRIES = 8_000_000
"""Lane times held at once; longer products are worked through in parts along M."""


@dataclass(frozen=True, slots=True)
class Side:
    """One operand as its lanes hold it: [batch, rounds * lanes, K].

    nonzeros: elements that must be multiplied. words: those stored, padding included. cycles: vectors of the words.
    bare: vectors of the nonzeros alone.
    """

    nonzeros: Array
    words: Array
    cycles: Array
    bare: Array


@dataclass(frozen=True, slots=True)
class Layout:
    """How a product lies on the lanes: each rank dealt."""

    batch: Dealt
    m: Dealt
    n: Dealt
    k: Dealt


def layout(arrangement: Arrangement, batch: int, m: int, n: int, k: int, taps: int = 1) -> Layout:
    """Deal the ranks of a product; `taps` columns of weights stand for one output channel."""
    return Layout(
        deal(batch, arrangement.batch),
        deal(m, arrangement.m),
        deal(n, arrangement.n, taps),
        deal(k, arrangement.k),
    )


def side(bits: Bits, dealt: Dealt, vector: int, run_bits: int | None, skip: bool) -> Side:
    """Counts of an operand [batch, rows, K] over the lanes that share its rows.

    An operand that is not skipped on counts all its elements. A stored run of 2^run_bits zeros that a nonzero still
    follows takes a padding word (Han et al., ISCA 2016, section III-B).
    """
    if not skip:
        shares = dealt.shares.reshape(1, -1, 1).astype(np.float32)
        counts = np.broadcast_to(shares, (len(bits), shares.shape[1], bits.shape[-1]))
        cycles = np.ceil(counts / vector)
        return Side(counts, counts, cycles, cycles)  # type: ignore[arg-type]
    counts = np.asarray(dealt.sums(bits.astype(np.int32)), dtype=np.float32)
    bare = np.ceil(counts / vector)
    if run_bits is None:
        return Side(counts, counts, bare, bare)  # type: ignore[arg-type]
    words = counts + np.asarray(dealt.sums(_padding(bits, dealt, run_bits)), dtype=np.float32)
    return Side(counts, words, np.ceil(words / vector), bare)  # type: ignore[arg-type]


def _padding(bits: Bits, dealt: Dealt, run_bits: int) -> NDArray[np.int32]:
    """Padding words in front of each nonzero, [batch, rows, K]: its lane's sequence is in the order of the rows."""
    order = np.argsort(dealt.holders, kind="stable")
    holders = dealt.holders[order]
    first = np.searchsorted(holders, holders).astype(np.int32)  # place where the lane's own sequence starts
    place = np.arange(dealt.size, dtype=np.int32)
    ordered = bits[:, order, :]
    seen = np.where(ordered, place[:, None], -1)
    last = np.maximum.accumulate(seen, axis=1)
    before = np.concatenate([np.full_like(last[:, :1], -1), last[:, :-1]], axis=1)
    gap = place[:, None] - np.maximum(before, first[:, None] - 1) - 1
    padding = np.where(ordered, gap >> run_bits, 0).astype(np.int32)
    out = np.empty_like(padding)
    out[:, order, :] = padding
    return out


def cartesian_parts(a: Side, w: Side, lay: Layout, pace: float = 0.0) -> Iterator[tuple[slice, Array]]:
    """Lane times of a cartesian engine, part by part along M's rounds: rounds and
    [batch, m rounds, n rounds, k rounds, m lanes, n lanes, k lanes].

    pace: cycles that the accumulators take at least for each element of a that meets a vector of w.
    """
    places = lay.k.places().reshape(lay.k.rounds * lay.k.lanes, -1)
    busy = np.maximum(a.cycles, pace * a.words) if pace else a.cycles
    left, right = (_taken(cycles, places) for cycles in (busy, w.cycles))  # [batch, x, g, slots]
    for rows in _parts(lay, len(a.cycles)):
        lanes = slice(rows.start * lay.m.lanes, rows.stop * lay.m.lanes)
        times = np.einsum("bxgt,bygt->bgxy", left[:, lanes], right, optimize=True)
        yield rows, _lanes_last(times, lay)


def dot_parts(
    a: Bits, w: Bits, lay: Layout, chunk: int | None, width: int, skips: tuple[bool, bool], mask: Bits | None = None
) -> Iterator[tuple[slice, Array]]:
    """Lane times of an engine that walks matching pairs; the shape is that of `cartesian_parts`.

    Where neither the input nor the weight is skipped on, one row (or column) stands for all, unless some of the
    outputs alone are asked for (mask [batch, M, N]).
    """
    if mask is not None:
        a, w = (bits if skip else np.ones_like(bits) for bits, skip in zip((a, w), skips, strict=True))
        skips = (True, True)
    places = lay.k.places().reshape(lay.k.rounds * lay.k.lanes, -1)
    step = min(chunk or places.shape[1], places.shape[1])
    left = _taken((a if skips[0] else np.ones_like(a[:, :1])).astype(np.float32), places)
    right = _taken((w if skips[1] else np.ones_like(w[:, :1])).astype(np.float32), places)
    n_shares = lay.n.shares.reshape(-1)
    m_shares = lay.m.shares.reshape(-1)
    for rows in _parts(lay, len(a), fine=a.shape[1] * w.shape[1] * places.shape[0]):
        lanes = slice(rows.start * lay.m.lanes, rows.stop * lay.m.lanes)
        mine = np.flatnonzero((lay.m.holders >= lanes.start) & (lay.m.holders < lanes.stop))
        part = left[:, mine] if skips[0] else left
        total = np.zeros((len(a), len(places), lanes.stop - lanes.start, len(n_shares)), dtype=np.float32)
        for at in range(0, places.shape[1], step):
            matched = np.einsum("bxgt,bygt->bgxy", part[..., at : at + step], right[..., at : at + step], optimize=True)
            turns = np.ceil(matched / width)
            if mask is not None:
                turns = turns * mask[:, None, mine]
            turns = _summed(turns, lay.n, w.shape[1], skips[1], n_shares, 3)
            held = lay.m.holders[mine] - lanes.start
            total += _rows(turns, held, skips[0], m_shares[lanes])
        yield rows, _lanes_last(total, lay)


def _summed(turns: Array, dealt: Dealt, size: int, counted: bool, shares: NDArray[np.int64], axis: int) -> Array:
    """Sum over the elements of each lane along the last axis; a single one stands for all where none is skipped."""
    if not counted:
        return turns * shares
    return np.asarray(np.moveaxis(dealt.sums(np.moveaxis(turns, axis, -2)), -2, axis))


def _rows(turns: Array, held: NDArray[np.intp], counted: bool, shares: NDArray[np.int64]) -> Array:
    """The same along the rows of one part."""
    if not counted:
        return turns * shares[:, None]
    out = np.zeros((*turns.shape[:2], len(shares), turns.shape[3]), dtype=turns.dtype)
    np.add.at(out, (slice(None), slice(None), held), turns)  # type: ignore[arg-type]
    return out


def _taken(values: Array, places: NDArray[np.intp]) -> Array:
    """[batch, x, K] -> [batch, x, k rounds * lanes, slots], zero where a lane has no element."""
    padded = np.pad(values, [(0, 0), (0, 0), (0, 1)])
    return padded[:, :, places]


def _parts(lay: Layout, batch: int, fine: int = 0) -> Iterator[slice]:
    """Runs of M's rounds of which `MOST_ENTRIES` lane times are made at once."""
    each = batch * lay.m.lanes * lay.n.rounds * lay.n.lanes * lay.k.rounds * lay.k.lanes
    each = max(each, batch * fine // lay.m.rounds)
    step = max(MOST_ENTRIES // max(each, 1), 1)
    for start in range(0, lay.m.rounds, step):
        yield slice(start, min(start + step, lay.m.rounds))


def _lanes_last(times: Array, lay: Layout) -> Array:
    """[batch, k rounds * lanes, m rounds * lanes, n rounds * lanes] -> rounds first, lanes last."""
    batch = len(times)
    split = times.reshape(
        batch, lay.k.rounds, lay.k.lanes, -1, lay.m.lanes, lay.n.rounds, lay.n.lanes
    )  # fmt: skip
    return split.transpose(0, 3, 5, 1, 4, 6, 2)

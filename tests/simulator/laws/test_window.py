"""Windowed multiplexers against a slot-by-slot scheduler in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from zerocast.accelerators import load
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema import Window
from zerocast.simulator import plain_gemm
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.laws.lanes.times.window import scheduled_cycles
from zerocast.workloads.patterns import DENSE, Mask, Uniform


def cycles_of(group: NDArray[np.bool_], reach: list[tuple[int, int]]) -> int:
    """[rows, steps, slots]: each cycle every row schedules its slots move by move, then all rows advance together."""
    rows, steps, slots = group.shape
    depth = 1 + max(ahead for ahead, _ in reach)
    pending = {(r, s, slot) for r in range(rows) for s in range(steps) for slot in range(slots) if group[r, s, slot]}
    at = cycles = 0
    while at < steps:
        for row in range(rows):
            free = {slot for slot in range(slots) if (row, at, slot) not in pending}
            pending -= {(row, at, slot) for slot in range(slots)}
            for ahead, aside in reach:
                for slot in sorted(free):
                    target = (row, at + ahead, (slot + aside) % slots)
                    if target in pending:
                        pending.remove(target)
                        free.remove(slot)
        cycles += 1
        move = 0
        while move < depth and not any((r, at + move, slot) in pending for r in range(rows) for slot in range(slots)):
            move += 1
        at += move
    return cycles


REACHES: list[list[tuple[int, int]]] = [[(1, 0)], [(1, 0), (2, 0)], [(1, 0), (2, 0), (1, -1), (1, 1), (2, -2), (2, 2)]]


@pytest.mark.parametrize("reach", REACHES, ids=len)
@pytest.mark.parametrize("rows", [1, 3])
def test_schedule_is_that_of_a_plain_loop(reach: list[tuple[int, int]], rows: int) -> None:
    rng = np.random.default_rng(rows)
    for share in (0.05, 0.3, 0.6, 1.0):
        groups = rng.random((12, rows, 9, 8)) < share
        found = scheduled_cycles(groups.copy(), Window.model_validate({"reach": reach}))
        assert found.tolist() == [cycles_of(group, reach) for group in groups]


def test_speedup_ends_at_the_windows_depth() -> None:
    """Nothing to multiply still takes a cycle for every three steps; a dense input all. 4 levels of adders."""
    tensordash = load("tensordash")
    empty = Mask.of(np.zeros((64, 480), dtype=bool), ("m", "k"))
    for law, steps in ((empty, 10), (DENSE, 30)):
        gemm = plain_gemm(64, 8, 480, "fp16", 16, law)
        assert engine_cycles(gemm, tensordash, masks=True).cycles == 2 * steps + 4


def test_drawn_groups_stand_for_the_walk() -> None:
    gemm = plain_gemm(4096, 64, 576, "fp16", 16, Uniform(0.5))
    walked, drawn = (engine_cycles(gemm, load("tensordash"), masks) for masks in (True, False))
    assert drawn.cycles == pytest.approx(walked.cycles, rel=0.015)
    assert 1.4 < gemm.macs / 4096 / walked.cycles < 1.7


def test_moves_must_look_ahead() -> None:
    with pytest.raises(AcceleratorError, match="1 step ahead or more"):
        load("tensordash", {"skipping.window": {"reach": [[0, 1]]}})

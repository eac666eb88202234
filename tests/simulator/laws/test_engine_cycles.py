"""The cycle-by-cycle engine (`engine_cycles`) against cases worked out by hand and against counted products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cycles import Configuration, random_configuration, shares, simulate_cycles, stored_words
from numpy.typing import NDArray

from zerocast.accelerators.schema import Arrangement, Deal, Skipping, Vector
from zerocast.simulator.errors import SimulationError


def engine(arrangement: Arrangement, law: str = "cartesian", **fields: Any) -> Skipping:
    return Skipping.model_validate({"law": law, "arrangements": (arrangement,), **fields})


def lanes_with(work: list[list[int]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Arrangement]:
    """A product in which lane i has work[i][k] cycles in round k: so many nonzeros of its rows, times one column."""
    rows = max(max(lane) for lane in work)
    a = np.zeros((1, len(work) * rows, len(work[0])), dtype=bool)
    for lane, rounds in enumerate(work):
        for k, nonzeros in enumerate(rounds):
            a[0, lane * rows : lane * rows + nonzeros, k] = True
    arrangement = Arrangement(m=Deal(lanes=len(work), tile=rows), k=Deal(tile=1))
    return a, np.ones((1, len(work[0]), 1), dtype=bool), arrangement


def cycles_of(work: list[list[int]], **fields: Any) -> int | float:
    a, w, arrangement = lanes_with(work)
    return simulate_cycles(a, w, engine(arrangement, **fields), arrangement, True, True)


def bits(text: str) -> list[bool]:
    return [character == "1" for character in text]


# --- waiting -----------------------------------------------------------------------------------------------------


def test_lock_step_waits_for_the_slowest_in_each_round() -> None:
    work = [[3, 1, 2], [1, 3, 0]]
    assert cycles_of(work, wait="step") == 3 + 3 + 2
    assert cycles_of(work, wait="output") == 3 + 1 + 2  # the first lane's own rounds


@pytest.mark.parametrize(("queue", "cycles"), [(0, 10), (1, 9), (2, 8), (3, 7), (9, 7)])
def test_a_queue_lets_the_front_run_ahead(queue: int, cycles: int) -> None:
    # Lane 0: 1 1 1 4, lane 1: 4 1 1 1; lane 1 works on its first round in cycles 0 to 3.
    # queue 0: 4 + 1 + 1 + 4.
    # queue 1: rounds go out in cycles 0, 1 (lane 1 has two unfinished, wait), 4, 5: lane 0 works 5..8.
    # queue 2: 0, 1, 2 (wait), 4: lane 0 works 4..7. queue 3: 0, 1, 2, 3: lane 0 works 3..6, as without any wait.
    work = [[1, 1, 1, 4], [4, 1, 1, 1]]
    assert cycles_of(work, wait="step", queue=queue) == cycles


@pytest.mark.parametrize(("queue", "cycles"), [(0, 6), (1, 5), (2, 4)])
def test_rounds_without_work_wait_in_the_queue_too(queue: int, cycles: int) -> None:
    # Lane 0: 3 0 0 0 works in cycles 0..2, lane 1: 1 1 1 1.
    # queue 1: rounds go out in 0, 1; lane 0 holds [3, 0] and frees both at the end of 2; then 3, 4: ends at 5.
    # queue 2: 0, 1, 2; lane 0 frees all three at the end of 2; then 3: ends at 4.
    assert cycles_of([[3, 0, 0, 0], [1, 1, 1, 1]], wait="step", queue=queue) == cycles


def test_one_round_is_broadcast_per_cycle() -> None:
    work = [[1, 0, 1], [0, 1, 0]]
    assert cycles_of(work, wait="step", queue=5) == 3  # three broadcasts, though no lane works for more than 2
    assert cycles_of(work, wait="output") == 2


def test_rounds_without_any_work_vanish() -> None:
    assert cycles_of([[2, 0, 1], [0, 0, 1]], wait="step") == 2 + 1
    assert cycles_of([[0, 0], [0, 1]], wait="step", step_cycles=1, fill_cycles=10) == 1 + 1 + 10


@pytest.mark.parametrize(("wait", "queue", "cycles"), [("step", 3, 4), ("output", 0, 4), ("never", 0, 3)])
def test_all_wait_at_the_end_of_k(wait: str, queue: int, cycles: int) -> None:
    # Two rounds along M of one row-pair each; lane 0 works 2 then 1, lane 1 works 1 then 2.
    # Rows 0, 1 | 2, 3 are the first round (lane 0 | lane 1), rows 4, 5 | 6, 7 the second.
    a = np.array(bits("11101011"))[None, :, None]
    arrangement = Arrangement(m=Deal(lanes=2, tile=2))
    skipping = engine(arrangement, wait=wait, queue=queue, fill_cycles=5)
    fills = 5 if wait == "never" else 10  # one for each round along M
    assert simulate_cycles(a, np.ones((1, 1, 1), dtype=bool), skipping, arrangement, True, True) == cycles + fills


@pytest.mark.parametrize(("wait", "cycles"), [("step", 3 + 2), ("output", 2 + 2), ("never", 2 + 1)])
def test_step_cycles(wait: str, cycles: int) -> None:
    # Lane 0: 2 0 0, lane 1: 0 0 1: two rounds with work in the group, one in each lane.
    assert cycles_of([[2, 0, 0], [0, 0, 1]], wait=wait, step_cycles=1, fill_cycles=10) == cycles + 10


def test_step_cycles_lengthen_only_the_lane_that_works_where_none_waits() -> None:
    # Lane 0 has one round of 3, lane 1 three rounds of 1: 3 + 2 and 3 * (1 + 2).
    assert cycles_of([[3, 0, 0], [1, 1, 1]], wait="never", step_cycles=2) == 9


def test_groups_do_not_wait_for_one_another() -> None:
    # Pairs (3 1, 1 3) and (1 2, 2 1): 3 + 3 and 2 + 2 in lock step. All four: max 3 + max 3.
    # Alone: 4, 4, 3, 3. Neighbours in the other order: (3 1, 1 2) 5 and (1 3, 2 1) 5.
    assert cycles_of([[3, 1], [1, 3], [1, 2], [2, 1]], wait="step", sync_group=2) == 6
    assert cycles_of([[3, 1], [1, 2], [1, 3], [2, 1]], wait="step", sync_group=2) == 5
    assert cycles_of([[3, 1], [1, 2], [1, 3], [2, 1]], wait="step") == 6
    assert cycles_of([[3, 1], [1, 2], [1, 3], [2, 1]], wait="step", sync_group=1) == 4


@pytest.mark.parametrize("ranks", ["mn", "mk", "nk", "bk"])
def test_lanes_are_numbered_over_batch_m_n_k(ranks: str) -> None:
    # 2 x 2 lanes in groups of two: lanes along the second rank are together. All that is nonzero belongs to the first
    # lane along the first rank, which works 2 then 1 (rounds along K), its neighbour 1 then 2: 4 cycles together.
    # Were the lanes numbered the other way, the two would be in different groups: 3 cycles.
    a, w, deals = _two_by_two(ranks)
    arrangement = Arrangement(**deals)
    assert simulate_cycles(a, w, engine(arrangement, wait="step", sync_group=2), arrangement, True, True) == 4
    assert simulate_cycles(a, w, engine(arrangement, wait="step", sync_group=1), arrangement, True, True) == 3


def _two_by_two(ranks: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_], dict[str, Deal]]:
    one, two, step = Deal(lanes=2, tile=1), Deal(lanes=2, tile=2), Deal(tile=1)
    table = np.array([[2, 1], [1, 2]])  # [lane along the second rank, round along K]
    a, w = np.zeros((2, 4, 4), dtype=bool), np.zeros((2, 4, 2), dtype=bool)
    if ranks == "mn":  # one row in use, weights in columns of lane 0 (0, 1) and lane 1 (2, 3)
        w = np.zeros((1, 2, 4), dtype=bool)
        for lane, k in np.ndindex(2, 2):
            w[0, k, 2 * lane : 2 * lane + table[lane, k]] = True
        a = np.array([[[True, True], [False, False]]])
        return a, w, {"m": one, "n": two, "k": step}
    # K in lanes: round r of K holds k = 2r (lane 0) and 2r + 1 (lane 1); the count is of rows or of columns.
    for lane, k in np.ndindex(2, 2):
        count = table[lane, k]
        if ranks == "nk":
            a[0, :count, 2 * k + lane] = True
        else:
            w[0, 2 * k + lane, :count] = True
    if ranks == "nk":
        w[0, :, 0] = True
        return a, w, {"n": one, "k": one}
    a[0, 0, :] = True
    return a, w, {"m": two, "k": one} if ranks == "mk" else {"batch": one, "k": one}


@pytest.mark.parametrize(("wait", "cycles"), [("step", 5), ("output", 5), ("never", 3)])
def test_batch_lanes(wait: str, cycles: int) -> None:
    # Items of 1, 3 and 2 cycles over two lanes: the third follows the first, after the second if lanes wait.
    a = np.array([bits("100"), bits("111"), bits("110")])[:, :, None]
    arrangement = Arrangement(batch=Deal(lanes=2, tile=1))
    w = np.ones((3, 1, 1), dtype=bool)
    assert simulate_cycles(a, w, engine(arrangement, wait=wait), arrangement, True, True) == cycles


# --- dealing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deal", "rounds"),
    [
        (Deal(lanes=2, tile=3), [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9]]]),
        (Deal(lanes=2, tile=3, block=1), [[[0, 2, 4], [1, 3, 5]], [[6, 8], [7, 9]]]),
        (Deal(lanes=2, tile=4, block=2), [[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9], []]]),
        (Deal(lanes=3), [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]]),
        (Deal(lanes=3, block=1), [[[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]]),
        (Deal(tile=4), [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9]]]),
    ],
)
def test_ten_elements_are_dealt(deal: Deal, rounds: list[list[list[int]]]) -> None:
    assert shares(10, deal) == rounds


def test_blocks_balance_neighbours() -> None:
    # Rows 0..3 are full, 4..7 empty: whole tiles give lane 0 all four, blocks of one two to each lane.
    a = np.array(bits("11110000"))[None, :, None]
    w = np.ones((1, 1, 1), dtype=bool)
    for block, cycles in ((None, 4), (2, 2), (1, 2)):
        arrangement = Arrangement(m=Deal(lanes=2, block=block))
        assert simulate_cycles(a, w, engine(arrangement), arrangement, True, True) == cycles


# --- work of a lane ----------------------------------------------------------------------------------------------


def test_padding_of_long_runs() -> None:
    # The example of EIE (Han et al., ISCA 2016, section III-B): 0, 0, 1, 2, eighteen zeros, 3 is stored as 1, 2, 0, 3.
    column = bits("0011" + 18 * "0" + "1")
    assert stored_words(column, 4) == 4
    assert stored_words(column, None) == 3
    # 00-00-0 1 0 1 000: two words padded in at a run of 2, one at 4, none behind the last nonzero.
    assert [stored_words(bits("00000101000"), width) for width in (1, 2, 3)] == [4, 3, 2]


def test_padding_takes_cycles_for_the_operand_that_has_it() -> None:
    a, w = np.array(bits("00001"))[None, :, None], np.array(bits("001"))[None, None, :]
    arrangement = Arrangement()
    skipping = engine(arrangement)
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 1
    assert simulate_cycles(a, w, skipping, arrangement, True, True, weight_run_bits=1) == 2
    assert simulate_cycles(a, w, skipping, arrangement, True, True, input_run_bits=1) == 3
    assert simulate_cycles(a, w, skipping, arrangement, True, True, 1, 1) == 6
    assert simulate_cycles(a, w, skipping, arrangement, False, True, 1, 1) == 5 * 2  # dense a: no words added


@pytest.mark.parametrize(
    ("deal", "cycles"),
    [
        (Deal(), 3),  # 00-00-1: two words padded in
        (Deal(lanes=2), 1),  # 000 | 010: neither run is long enough
        (Deal(lanes=2, block=1), 2),  # 001 | 000: the lane's own elements in order
        (Deal(tile=4), 1),  # 0000, then 10: the run ends with the round
    ],
)
def test_runs_lie_along_the_share(deal: Deal, cycles: int) -> None:
    a, w = np.array(bits("000010"))[None, :, None], np.ones((1, 1, 1), dtype=bool)
    arrangement = Arrangement(m=deal)
    assert simulate_cycles(a, w, engine(arrangement), arrangement, True, True, input_run_bits=1) == cycles


def test_vectors_are_not_shared() -> None:
    # 5 nonzeros in vectors of 2 by 3 in vectors of 2: 3 * 2.
    arrangement = Arrangement()
    skipping = engine(arrangement, vector=Vector(input=2, weight=2))
    a, w = np.ones((1, 5, 2), dtype=bool), np.ones((1, 2, 3), dtype=bool)
    w[0, 1] = False  # the second k has no weight: no time
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 6
    assert simulate_cycles(a, w, skipping, arrangement, True, False) == 12


@pytest.mark.parametrize(("words", "cycles"), [(None, 4), (8, 4), (2, 8), (2.5, 6.4)])
def test_accumulators_hold_a_lane_up(words: float | None, cycles: float) -> None:
    # 4 by 3 elements in vectors of 2: 4 cycles; each of the 4 adds two vectors of 2 sums, the second half empty.
    arrangement = Arrangement()
    skipping = engine(arrangement, vector=Vector(input=2, weight=2), accumulate_words_per_cycle=words)
    a, w = np.ones((1, 4, 1), dtype=bool), np.ones((1, 1, 3), dtype=bool)
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == cycles


def test_fractions_of_a_cycle() -> None:
    # Two rounds along K of 5 sums at 2 a cycle: the second starts at 2.5, or at 3 where cycles begin.
    arrangement = Arrangement(k=Deal(tile=1))
    skipping = engine(arrangement, wait="step", vector=Vector(input=5), accumulate_words_per_cycle=2)
    a, w = np.ones((1, 5, 2), dtype=bool), np.ones((1, 2, 1), dtype=bool)
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 5
    assert simulate_cycles(a, w, skipping, arrangement, True, True, whole_cycles=True) == 5.5


def test_broadcasts_are_a_cycle_apart_where_work_is_fractional() -> None:
    # Lane 0: 2.5 0, lane 1: 0 2.5; with a queue the second round goes out at 1, not as soon as a lane could start.
    a, w, arrangement = lanes_with([[5, 0], [0, 5]])
    skipping = engine(arrangement, wait="step", queue=1, vector=Vector(input=5), accumulate_words_per_cycle=2)
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 1 + 2.5


@pytest.mark.parametrize(
    ("chunk", "skip_input", "skip_weight", "cycles"),
    [
        (3, True, True, 1 + 1),  # 110 | 011 are two pairs each, two a cycle
        (3, True, False, 1 + 2),  # 110 | 111
        (3, False, False, 2 + 2),
        (None, True, True, 2),  # four pairs
        (1, True, True, 4),
        (5, True, True, 2 + 1),  # 11001 | 1
    ],
)
def test_dot_walks_chunks(chunk: int | None, skip_input: bool, skip_weight: bool, cycles: int) -> None:
    arrangement = Arrangement()
    skipping = engine(arrangement, law="dot", chunk=chunk, vector=Vector(weight=2))
    a, w = np.array(bits("110111"))[None, None, :], np.array(bits("111011"))[None, :, None]
    assert simulate_cycles(a, w, skipping, arrangement, skip_input, skip_weight) == cycles


def test_dot_chunks_the_lanes_own_share() -> None:
    # Two lanes along K, dealt in turn: lane 0 has k = 0, 2, 4 (1 0 1), lane 1 has 1, 3, 5 (1 1 1); chunks of two.
    arrangement = Arrangement(k=Deal(lanes=2, block=1))
    skipping = engine(arrangement, law="dot", chunk=2, vector=Vector(weight=2))
    a, w = np.array(bits("110111"))[None, None, :], np.ones((1, 6, 1), dtype=bool)
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 2
    # Lane 0 alone: 10 | 1 is two cycles too, though it holds two pairs only.
    a[0, 0, 1::2] = False
    assert simulate_cycles(a, w, skipping, arrangement, True, True) == 2


def test_what_cannot_be_simulated_is_refused() -> None:
    arrangement = Arrangement(m=Deal(lanes=2, tile=3, block=2))
    a, w = np.ones((1, 4, 2), dtype=bool), np.ones((1, 2, 3), dtype=bool)
    with pytest.raises(SimulationError, match="block of 2 does not divide a tile of 3"):
        simulate_cycles(a, w, engine(arrangement), arrangement, True, True)
    with pytest.raises(SimulationError, match="do not fit"):
        simulate_cycles(a, w[:, :1], engine(Arrangement()), Arrangement(), True, True)
    packed = engine(Arrangement(), law="packed", chunk=2, load_words_per_cycle=1)
    with pytest.raises(SimulationError, match="packed"):
        simulate_cycles(a, w, packed, Arrangement(), True, True)


# --- random engines ----------------------------------------------------------------------------------------------


def _plain(case: Configuration, **fields: Any) -> Configuration:
    """The same case with other fields of `skipping`."""
    return case._replace(skipping=case.skipping.model_copy(update=fields))


@pytest.mark.parametrize("seed", range(20))
def test_one_lane_counts_the_products(seed: int) -> None:
    """One lane without vectors takes a cycle per pair of nonzeros, however the tiles are cut and whoever waits."""
    case = random_configuration(np.random.default_rng(seed))
    alone = Arrangement.model_validate(
        {name: {**deal, "lanes": 1, "block": None} for name, deal in case.arrangement.model_dump().items()}
    )
    fields = {"chunk": 1, "accumulate_words_per_cycle": None, "vector": Vector(), "step_cycles": 0, "fill_cycles": 0}
    case = _plain(case, **fields, sync_group=None)._replace(
        arrangement=alone, weight_run_bits=None, input_run_bits=None
    )
    a = case.a if case.skip_input else np.ones_like(case.a)
    w = case.w if case.skip_weight else np.ones_like(case.w)
    assert simulate_cycles(*case) == int((a.astype(int) @ w.astype(int)).sum())


@pytest.mark.parametrize("seed", range(20))
def test_less_waiting_is_never_slower(seed: int) -> None:
    case = _plain(random_configuration(np.random.default_rng(1000 + seed)), step_cycles=0, fill_cycles=0)
    order: list[dict[str, Any]] = [
        {"wait": "never"},
        {"wait": "output"},
        *({"wait": "step", "queue": ahead} for ahead in (99, 2, 1, 0)),
    ]
    cycles = [simulate_cycles(*_plain(case, **fields)) for fields in order]
    assert cycles == sorted(cycles)
    assert simulate_cycles(*_plain(case, **order[-1]), whole_cycles=True) >= cycles[-1]


def test_random_configurations_are_varied() -> None:
    cases = [random_configuration(np.random.default_rng(seed)) for seed in range(200)]
    seen = {(case.skipping.law, case.skipping.wait, case.skipping.queue) for case in cases}
    assert len(seen) == 2 * 3 * 4
    assert {case.arrangement.lanes for case in cases} == set(range(1, 9))
    assert any(case.weight_run_bits for case in cases)
    assert any(case.input_run_bits for case in cases)
    assert any(deal.block for case in cases for deal in (case.arrangement.m, case.arrangement.k))
    again = random_configuration(np.random.default_rng(7))
    assert np.array_equal(again.a, cases[7].a)
    assert again[2:] == cases[7][2:]

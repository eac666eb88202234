"""Cycles of the array against published formulas, and reduction steps against counting."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from zerocast.accelerators import load
from zerocast.simulator import SimulationError, best_mapping, plain_gemm
from zerocast.simulator.laws.array import Window, array_cycles, reduction_steps, skips
from zerocast.workloads.patterns import DENSE, NM, Mask, Pattern, Uniform

RNG = random.Random(11)
SHAPES = [tuple(int(2 ** RNG.uniform(0, 12)) for _ in range(3)) for _ in range(40)]


@pytest.mark.parametrize("shape", SHAPES[:20])
def test_tpu_like_array_is_the_minimum_over_the_stationary_operand(shape: tuple[int, int, int]) -> None:
    """ceil(D/128) ceil(K/128) folds of S + min(K, 128) + 128 cycles: D the stationary operand's own rank, S the
    streamed one (the count of the TPU-like baseline in the SIGMA comparison)."""
    m, n, k = shape
    accelerator = load("tpu-like-128", {"memories.global_buffer.port_bytes_per_cycle": None})

    def stationary(own: int, streamed: int) -> int:
        return math.ceil(own / 128) * math.ceil(k / 128) * (streamed + min(k, 128) + 128)

    cost = best_mapping(plain_gemm(m, n, k, "fp16", 16), accelerator, "cycles")
    assert float(cost.cycles) == min(stationary(m, n), stationary(n, m))


@pytest.mark.parametrize("shape", SHAPES[20:])
def test_folds_of_a_systolic_array(shape: tuple[int, int, int]) -> None:
    """SCALE-Sim 2 (ISPASS 2020, eq. 1-3) counts 2R + C + T - 2 cycles a fold where the stationary operand is
    loaded first; output-stationary streams and drains in R + C + T - 2."""
    m, n, k = shape
    rows, cols = 16, 8
    accelerator = load("systolic-16x8")

    def fold(down: int, across: int, stream: int, load: int) -> int:
        return math.ceil(down / rows) * math.ceil(across / cols) * (load + rows + cols + stream - 2)

    wanted = {
        "output_stationary": fold(m, n, k, 0),
        "weight_stationary": fold(k, n, m, rows),
        "input_stationary": fold(k, m, n, rows),
    }
    for dataflow, cycles in wanted.items():
        assert float(array_cycles(accelerator, "fp16", dataflow, m, n, k)) == cycles  # type: ignore[arg-type]


def test_interleaving_hides_the_adder_but_for_the_last_group() -> None:
    """Adder latency 8, 4 x 4 PEs, 16 steps. Alone a fold streams 128 cycles; 8 together as well; 9 take two turns."""
    paths = {"compute.rows": 4, "compute.cols": 4, "compute.fold.skew_rows": "array", "compute.fold.skew_cols": "array"}
    sat = load("sat-vcu1525", paths)
    skew = 4 + 4 - 2
    for folds, turns in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3)):
        assert float(array_cycles(sat, "fp16", "output_stationary", 4 * folds, 4, 16)) == turns * (128 + skew)
    alone = load("sat-vcu1525", paths | {"compute.interleave": False})
    assert float(array_cycles(alone, "fp16", "output_stationary", 4 * 9, 4, 16)) == 9 * (128 + skew)


def test_lanes_share_the_reduction() -> None:
    wide = load("systolic-4x4", {"compute.macs_per_pe": 4})
    assert float(array_cycles(wide, "fp16", "output_stationary", 4, 4, 17)) == 5 + 6
    double = load("systolic-4x4", {"compute.rates": {"int8": 2.0}})
    assert float(array_cycles(double, "int8", "output_stationary", 4, 4, 17)) == 9 + 6


def test_hidden_loads_show_only_in_short_folds() -> None:
    hidden = load("systolic-8x2", {"compute.fold.hidden_load": ["weight_stationary"], "compute.fold.pipelined": True})
    for m, per_fold in ((3, 8), (20, 20)):
        cycles = float(array_cycles(hidden, "fp16", "weight_stationary", m, 2, 32))
        assert cycles == 4 * per_fold + 8 + 2 - 2


def test_instructions_take_rows_of_one_line_and_have_a_least_length() -> None:
    """At most 16 rows of a line, 8 cycles at least; 7 rows of each of 3 lines are 3 x 8 cycles, 3 lines of 18 rows
    (16 + 8) each, 40 rows in one line 16 + 16 + 8."""
    timing = {"block_rows": 16, "block_cycles": 8, "hidden_load": ["weight_stationary"], "pipelined": True}
    cut = {f"compute.fold.{name}": value for name, value in timing.items()}
    array, skew = load("systolic-8x2", cut), 8 + 2 - 2
    for line, lines, cycles in ((7, 3, 24), (18, 3, 72), (40, 1, 40)):
        found = array_cycles(array, "fp16", "weight_stationary", line * lines, 2, 8, None, Window(line))
        assert float(found) == cycles + skew
    assert float(array_cycles(array, "fp16", "input_stationary", 2, 20, 8)) == 16 + 8 + 8 + skew  # its load shows


def test_kernel_positions_have_folds_of_their_own_where_rows_do_not_pack_them() -> None:
    """3 channels of 9 positions on 8 rows: 27 of them packed are 4 folds, else 9; 20 channels are 3 folds each."""
    apart, packed = (load("systolic-8x2", {"compute.packs_kernel": each}) for each in (False, True))
    fold = 10 + 8 + 8 + 2 - 2
    for array, channels, folds in ((packed, 3, 4), (apart, 3, 9), (apart, 20, 27)):
        found = array_cycles(array, "fp16", "weight_stationary", 10, 2, 9 * channels, None, Window(10, 9))
        assert float(found) == folds * fold


def test_unknown_arithmetic_names_what_there_is() -> None:
    with pytest.raises(SimulationError, match=r"sat-vcu1525 has no int8 arithmetic; compute.rates lists fp16"):
        best_mapping(plain_gemm(8, 8, 8, "int8", 8), load("sat-vcu1525"))


@pytest.mark.parametrize("pattern", [NM(2, 8, "k"), NM(1, 4, "k"), NM(3, 4, "k"), NM(2, 16, "k")])
def test_structured_steps_are_those_of_the_fullest_fiber(pattern: NM) -> None:
    """Groups filled from their start: the tile's first elements hold as many nonzeros as the law allows."""
    accelerator = load("sat-vcu1525")
    fiber = np.arange(64) % pattern.m < pattern.n
    for k in range(1, 65):
        gemm = plain_gemm(8, 8, k, "fp16", 16, DENSE, pattern)
        for dataflow in ("output_stationary", "weight_stationary"):
            assert float(reduction_steps(gemm, accelerator, dataflow, k)) == fiber[:k].sum()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("a", "b", "dataflow", "skipped"),
    [
        (DENSE, NM(2, 8, "k"), "output_stationary", "weight"),
        (NM(2, 8, "k"), DENSE, "output_stationary", "input"),
        (NM(1, 8, "k"), NM(2, 8, "k"), "output_stationary", "input"),
        (NM(2, 8, "k"), NM(1, 8, "k"), "output_stationary", "weight"),
        (NM(2, 8, "k"), DENSE, "weight_stationary", ""),
        (DENSE, NM(2, 32, "k"), "output_stationary", ""),
        (DENSE, NM(2, 8, "n"), "output_stationary", ""),
        (DENSE, Uniform(0.1), "output_stationary", ""),
    ],
)
def test_what_an_nm_array_skips(a: Pattern, b: Pattern, dataflow: str, skipped: str) -> None:
    gemm = plain_gemm(64, 64, 64, "fp16", 16, a, b)
    accelerator = load("sat-vcu1525")
    assert skips(gemm, accelerator, dataflow) == skipped  # type: ignore[arg-type]
    best = min((getattr(gemm, side).pattern.density for side in ([skipped] if skipped else [])), default=1.0)
    assert float(reduction_steps(gemm, accelerator, dataflow, 64)) == 64 * best  # type: ignore[arg-type]


def test_lock_step_waits_for_the_fullest_of_the_group() -> None:
    """A mask, one column at a time and eight together; the spread moves the steps, within 0 and k."""
    bits = np.random.default_rng(3).random((64, 128)) < 0.2
    gemm = plain_gemm(32, 64, 128, "fp16", 16, DENSE, Mask.of(bits, ("n", "k")))
    counts = bits.sum(axis=1)
    for lanes in (1, 8, 64):
        engine = load("systolic-8x8", {"sparsity.weight.mode": "skip", "sparsity.weight.sync_group": lanes})
        steps = float(reduction_steps(gemm, engine, "output_stationary", 128))
        assert steps == pytest.approx(counts.reshape(-1, lanes).max(axis=1).mean())
        assert float(reduction_steps(gemm, engine, "weight_stationary", 128)) == 128
        low, high = (float(reduction_steps(gemm, engine, "output_stationary", 128, spread)) for spread in (-1e9, 1e9))
        assert (low, high) == (0.0, 128.0)

"""The validation suites hold: published figures, recorded peer answers, ceilings, budget."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from zerocast.accelerators import load
from zerocast.analysis import validate
from zerocast.analysis.cli import main
from zerocast.analysis.validate import SUITES, run
from zerocast.analysis.validate.comparison import against, below, information, reference_rows
from zerocast.analysis.validate.record import known_misses
from zerocast.analysis.validate.suites.arrays import dense, sat
from zerocast.analysis.validate.suites.chips import area
from zerocast.simulator import SimulationError, best_mapping, plain_gemm
from zerocast.simulator.laws.array import array_cycles


def test_tpu_like_rows_are_exact() -> None:
    rows = dense.tpu_rows()
    assert len(rows) == 2
    assert all(row.predicted == row.reference for row in rows)


@pytest.mark.parametrize(("m", "n", "k"), [(128, 2048, 4096), (320, 3072, 4096), (35, 2560, 4096), (1024, 16, 500000)])
def test_tpu_like_cycles_are_the_minimum_over_the_stationary_operand(m: int, n: int, k: int) -> None:
    """ceil(D/128) ceil(K/128) (S + min(K,128) + 128), minimum over (D,S) = (M,N), (N,M)."""
    from zerocast.simulator import best_mapping, plain_gemm

    expected = min(-(-d // 128) * -(-k // 128) * (s + min(k, 128) + 128) for d, s in ((m, n), (n, m)))
    cost = best_mapping(plain_gemm(m, n, k, "bf16", 16), load("tpu-like-128"), "cycles")
    assert float(cost.cycles) == expected


def test_the_array_alone_matches_every_recorded_scalesim_run_to_the_cycle() -> None:
    """SCALE-Sim prints the number of the last cycle, counted from 0: one less than the cycles it takes."""
    table = reference_rows("scalesim3.csv")
    assert len(table) == 138
    for row in table:
        array = load(f"systolic-{row['rows']}x{row['cols']}")
        m, n, k = (int(row[name]) for name in "MNK")
        assert float(array_cycles(array, "fp16", dense.DATAFLOWS[row["dataflow"]], m, n, k)) == 1 + int(
            row["total_cycles"]
        )


def test_what_users_get_matches_every_scalesim_run() -> None:
    """Priced as `zerocast gemm --objective cycles` does, buffers of the template's size and all: to the cycle."""
    assert all(row.predicted == row.reference for row in dense.scalesim_rows())


@pytest.mark.parametrize(("m", "n", "k"), [(12544, 64, 147), (3136, 64, 576), (784, 128, 1152), (49, 512, 4608)])
def test_small_buffers_do_not_restart_the_array(m: int, n: int, k: int) -> None:
    """Weight-stationary on 32 x 32 with 64 KiB buffers: folds of 2 R + C + M - 2 cycles."""
    small = {f"memories.{side}_buffer.capacity_bytes": 65536 for side in ("input", "weight", "output")}
    array = load("systolic-32x32", {"compute.dataflows": ["weight_stationary"], **small})
    cost = best_mapping(plain_gemm(m, n, k, "fp16", 16), array, "cycles")
    assert float(cost.cycles) == -(-k // 32) * -(-n // 32) * (2 * 32 + 32 + m - 2)


def test_large_arrays_with_small_buffers_have_the_cycles_of_one_stream() -> None:
    """One fold of 4096 x 4096 streams 12,544 rows; sums of 128 x 128 live in the PEs, and leave complete."""
    small = {f"memories.{side}_buffer.capacity_bytes": 65536 for side in ("input", "weight", "output")}
    wide = load("systolic-4096x4096", {"compute.dataflows": ["weight_stationary"], **small})
    assert float(best_mapping(plain_gemm(12544, 64, 147, "fp16", 16), wide).cycles) == 24_830
    tight = {"compute.dataflows": ["output_stationary"], "memories.output_buffer.capacity_bytes": 65536}
    square = load("systolic-128x128", tight)
    assert float(best_mapping(plain_gemm(50176, 128, 128, "fp16", 16), square).cycles) == 149_744


def test_an_operand_that_fits_its_own_buffer_is_read_once() -> None:
    """512 x 4096 x 4096 in int8: 2.1 MB of inputs and 16.8 MB of weights."""
    sizes = {"input": 8 * 2**20, "weight": 64 * 2**10, "output": 2 * 2**20}
    array = load("systolic-64x64", {f"memories.{side}_buffer.capacity_bytes": size for side, size in sizes.items()})
    cost = best_mapping(plain_gemm(512, 4096, 4096, "int8", 8), array)
    assert float(cost.read_bytes) == pytest.approx(512 * 4096 + 4096 * 4096, rel=1e-12)


def test_the_scalesim_rows_are_what_the_command_prints(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("M,N,K\n49,512,4608\n")
    command = ["gemm", str(tmp_path / "s.csv"), "--accelerator", "systolic-32x32", "--out", str(tmp_path / "o.csv"),
               "--set", "compute.dataflows=[output_stationary]", "--objective", "cycles"]  # fmt: skip
    assert main(command) == 0
    with (tmp_path / "o.csv").open(newline="") as stream:
        (found,) = csv.DictReader(stream)
    (row,) = (row for row in dense.scalesim_rows() if row.what == "32x32 os 49x512x4608")
    assert float(found["cycles"]) == row.predicted


@pytest.mark.slow
def test_sat_average_is_near_the_published_one_and_below_the_mac_ceiling() -> None:
    average, *networks = sat.headline()
    assert average.reference == 1.75
    assert average.ok
    assert len(networks) == 5
    assert all(row.ok for row in networks)


def test_sat_fits_its_part_and_a_doubled_array_does_not() -> None:
    assert all(row.ok for row in sat.budget())
    from zerocast.simulator.size.size import over_budget

    assert over_budget(load("sat-vcu1525")) == {}
    assert "dsp" in over_budget(load("sat-vcu1525", {"compute.rows": 64, "compute.cols": 64}))


def test_less_hardware_is_not_faster() -> None:
    """Each mechanism taken away must not shorten a step."""
    from zerocast.simulator import simulate

    full = simulate(sat.step_of("resnet9", "bdwp:2:8", 8), load("sat-vcu1525")).latency_s
    for overrides in sat.MECHANISMS.values():
        step = simulate(sat.step_of("resnet9", "bdwp:2:8", 8), load("sat-vcu1525", overrides))
        assert step.latency_s >= full * (1 - 1e-9)


def test_comparisons_judge() -> None:
    assert against("s", "w", 1.1, 1.0, "x", 0.2, "src").ok is True
    assert against("s", "w", 1.3, 1.0, "x", 0.2, "src").ok is False
    assert below("s", "w", 2.1, 2.0, "x", "src").ok is False
    assert information("s", "w", 2.1, "x").ok is None


def test_unknown_suite_is_refused() -> None:
    with pytest.raises(SimulationError, match="unknown suite 'nope'"):
        validate.run("nope")


def test_areas_are_near_the_published_ones_but_for_the_known_misses() -> None:
    rows = {row.what: row for row in area.compare(lambda message: None, "published")}
    assert len(rows) == len(area.PREDICTED) == 29
    assert {what for what, row in rows.items() if row.ok is False} == {
        row for suite, row in known_misses() if suite == "area" and not row.startswith("feather")
    }
    assert abs(rows["cambricon-x, chip"].error or 1) < 0.05 and abs(rows["sigma, without buffers"].error or 1) < 0.05
    assert rows["hisparse-u280, uram"].predicted == 512
    assert rows["hisparse-u280, lut"].ok is None
    within = [what for what, row in rows.items() if row.error is not None and -0.75 < row.error < 1.6]
    assert len(within) == len(rows)


def test_the_suite_is_listed() -> None:
    assert "area" in SUITES and len(run("area")) == 29 + 12


def test_feather_grows_as_synthesis_says_but_for_one_power() -> None:
    """The power published for 32x32 is half as much per area as those of the six other sizes."""
    rows = area.feather_rows()
    missed = [row for row in rows if not row.ok]
    assert [row.what for row in missed] == ["feather 32x32, power over 16x16"]
    assert max(abs(row.error or 1.0) for row in rows if row not in missed) < 0.06

"""Two products fused over blocks of rows: counts by hand, what is refused, and the search of the block."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zerocast.accelerators.library import load
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel
from zerocast.analysis.cli import main
from zerocast.analysis.validate.suites.arrays import fused as suite
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.products.fused import fused_cost
from zerocast.simulator.products.gemm import Gemm, plain_gemm

CHIP = "fused-rtl-16x16"
M, L, K, N = 256, 128, 64, 32


def pair(rows: int | None = None, k: int | None = None, then_k: int | None = None, m: int = M) -> tuple[Gemm, Gemm]:
    """x[m, K] b[K, L], then times c[L, N], in int16; with tiles of whole columns where they are given."""
    first, second = plain_gemm(m, L, K, "int16", 16), plain_gemm(m, N, L, "int16", 16)
    if rows is None:
        return first, second
    one, two = (
        replace(gemm, given=Given(levels=(GivenLevel(tile=Extents(m=rows, n=gemm.n, k=depth)),)))
        for gemm, depth in ((first, k), (second, then_k))
    )
    return one, two


@pytest.mark.parametrize("rows", [16, 64, 96, 256])
def test_what_crosses_the_link(rows: int) -> None:
    """The weights of both for every block, the input and the result once, nothing of what is between."""
    cost = fused_cost(*pair(rows, 16, 32), load(CHIP))
    blocks = math.ceil(M / rows)
    assert cost.dram_read_bytes == 2 * (blocks * (K * L + L * N) + M * K)
    assert cost.dram_write_bytes == 2 * M * N
    assert cost.rows == rows


def test_an_array_that_is_busy_all_the_time_sets_the_time() -> None:
    """Folds of 16 x 16 weights take the block's rows and 14 cycles each (the template's source says why)."""
    chip = load(CHIP, {"memories.dram.bandwidth_bytes_per_s": 8e15, "memories.scratchpad.port_bytes_per_cycle": 1e9})
    cost = fused_cost(*pair(64, 16, 32), chip)
    folds = (K // 16) * (L // 16) + (L // 16) * (N // 16)
    assert cost.cycles == (M // 64) * folds * (64 + 14)
    assert cost.latency_s * 1e9 == pytest.approx(cost.cycles, rel=1e-5)
    assert cost.bound == "compute"


def test_a_link_that_is_busy_all_the_time_sets_the_time() -> None:
    chip = load(CHIP, {"memories.dram.bandwidth_bytes_per_s": 8e6})
    cost = fused_cost(*pair(16, 16, 32), chip)
    moved = cost.dram_read_bytes + cost.dram_write_bytes
    assert cost.latency_s == pytest.approx(moved / 8e6, rel=1e-3)
    assert cost.latency_s >= moved / 8e6
    assert cost.bound == "dram"


def test_energy_of_the_link_is_that_of_its_bytes() -> None:
    plain, dear = (
        fused_cost(*pair(64, 16, 32), load(CHIP, {"memories.dram.energy": None, "memories.dram.j_per_byte": j}))
        for j in (1e-11, 5e-11)
    )
    moved = plain.dram_read_bytes + plain.dram_write_bytes
    assert dear.energy_j - plain.energy_j == pytest.approx(moved * 4e-11, rel=1e-9)


def test_the_searched_block_is_at_least_as_good_as_any_given() -> None:
    chip = load(CHIP)
    best = fused_cost(*pair(), chip)
    for rows in (16, 48, 64, 128, 256):
        for first_k in (16, 64):
            for then_k in (16, 128):
                try:
                    given = fused_cost(*pair(rows, first_k, then_k), chip)
                except SimulationError:
                    continue
                assert best.latency_s <= given.latency_s * 1.02  # searched tiles have half of what is left each
    assert fused_cost(*pair(), chip, "energy").energy_j <= best.energy_j


def test_fused_moves_less_than_one_after_the_other() -> None:
    """What is between, 4,096 x 512 words, does not fit: alone it goes out and comes back."""
    first, second = plain_gemm(4096, 512, 64, "int16", 16), plain_gemm(4096, 64, 512, "int16", 16)
    cost, alone = fused_cost(first, second, load(CHIP)), [Pricer(load(CHIP)).gemm(each) for each in (first, second)]
    assert cost.dram_read_bytes + cost.dram_write_bytes < 0.6 * sum(
        row.dram_read_bytes + row.dram_write_bytes for row in alone
    )
    assert cost.latency_s < sum(row.latency_s for row in alone)


def test_batches_are_blocks_of_their_own() -> None:
    one, two = (replace(each, batch=3) for each in pair(64, 16, 32))
    many, single = fused_cost(one, two, load(CHIP)), fused_cost(*pair(64, 16, 32), load(CHIP))
    assert many.cycles == 3 * single.cycles and many.dram_read_bytes == 3 * single.dram_read_bytes


@pytest.mark.parametrize(
    "products, chip, overrides, words",
    [
        (pair(), "tpu-v1", {"memories.unified_buffer.takes_results": False}, "unified_buffer takes no results"),
        (pair(), "tpu-v4-like", {}, "one depth of memories"),
        (pair(), "nvidia-h100-sxm", {}, "one depth of memories"),
        ((pair()[0], pair(m=64)[1]), CHIP, {}, "not the 256 x 128 that the first makes"),
        ((pair(64, 16, 32)[0], pair(32, 16, 32)[1]), CHIP, {}, "tiles of 32 and 64 rows"),
        (pair(256, 64, 128), CHIP, {"memories.scratchpad.capacity_bytes": 280_000}, "it has 214,464 B"),
        (pair(256, 64, 128), CHIP, {"memories.scratchpad.capacity_bytes": 330_000}, "do not fit scratchpad"),
    ],
)
def test_what_cannot_be_fused_is_refused(
    products: tuple[Gemm, Gemm], chip: str, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(SimulationError, match=words):
        fused_cost(*products, load(chip, overrides))


def test_a_table_has_fused_pairs_and_their_tiles_can_be_given(tmp_path: Path) -> None:
    table, page, out = tmp_path / "t.csv", tmp_path / "m.yaml", tmp_path / "out.csv"
    table.write_text(f"layer,M,N,K,then_n\npair,{M},{L},{K},{N}\nalone,{M},{L},{K},\n")
    page.write_text("pair: [{levels: [{tile: {m: 64, n: 128, k: 16}}]}, {levels: [{tile: {m: 64, n: 32, k: 32}}]}]\n")
    assert main(["gemm", str(table), "--accelerator", CHIP, "--mapping", str(page), "--out", str(out)]) == 0
    with out.open() as stream:
        fused, alone = csv.DictReader(stream)
    cost = fused_cost(*pair(64, 16, 32), load(CHIP))
    assert float(fused["latency_s"]) == cost.latency_s and float(fused["energy_j"]) == cost.energy_j
    assert (fused["tile_m"], fused["tile_k"]) == ("64", "16")
    assert "fused in blocks of 64 rows; one after the other" in fused["note"] and "fused" not in alone["note"]
    assert float(alone["latency_s"]) == Pricer(load(CHIP)).gemm(pair()[0]).latency_s


def test_rtl_rows_are_met() -> None:
    rows = suite.compare(lambda message: None)
    assert len(rows) == 73 and all(row.ok for row in rows)
    assert rows[-1].predicted < 0.04

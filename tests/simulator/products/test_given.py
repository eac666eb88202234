"""Given mappings: what is fixed is kept, the rest is searched, and what was chosen given back gives the same bits."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from problems import kept
from small_workloads import step

from zerocast.accelerators import load
from zerocast.accelerators.schema.given import Extents, Given, GivenLevel
from zerocast.analysis.products.conv_columns import convolution
from zerocast.simulator import SimulationError, best_mapping, plain_gemm, simulate
from zerocast.simulator.einsum_cost import Pricer
from zerocast.simulator.products.gemm import Gemm
from zerocast.simulator.products.gemm_cost import gemm_cost
from zerocast.simulator.products.given import given_products, words
from zerocast.simulator.products.mapping import ORDERS, mapping_of
from zerocast.workloads import capture
from zerocast.workloads.zoo import build

ARRAYS = ("sat-vcu1525", "systolic-32x32", "scnn")


def given(order: Any = None, dataflow: Any = None, **tile: int) -> Given:
    return Given(dataflow=dataflow, levels=(GivenLevel(order=order, tile=Extents(**tile)),))


@pytest.mark.parametrize("training", [False, True])
def test_the_chosen_mapping_given_back_gives_the_same_bits(training: bool, tmp_path: Path) -> None:
    """Every column of every row; strided input gradients are several products of one op."""
    workload = capture(*build("resnet18", batch=2, image=64), training=training)
    for name in ARRAYS:
        chosen = simulate(workload, name)
        page = tmp_path / f"{name}.yaml"
        page.write_text(chosen.mapping)
        again = simulate(workload, name, mapping=page)
        assert again.rows == chosen.rows and again.latency_s == chosen.latency_s
        assert again.mapping == chosen.mapping
        several = [op for op, entry in yaml.safe_load(chosen.mapping).items() if isinstance(entry, list)]
        assert bool(several) == training


@pytest.mark.parametrize("objective", ["latency", "energy", "edp", "cycles"])
def test_what_is_left_out_is_the_best_of_a_full_enumeration(objective: Any) -> None:
    """Dataflow and m are given; the least objective over all orders and all tiles along n and k is found by hand."""
    machine = load("systolic-32x32", {"memories.input_buffer.capacity_bytes": 8192})
    gemm = replace(plain_gemm(100, 96, 96, "fp16", 16), given=given(dataflow="weight_stationary", m=33))
    found = best_mapping(gemm, machine, objective)
    assert (found.mapping.dataflow, float(found.mapping.m)) == ("weight_stationary", 33)
    tried = [
        mapping_of(gemm, "weight_stationary", order, 33, n, k)
        for order, n, k in itertools.product(ORDERS, (32, 64, 96), (32, 64, 96))
        if 2 * 2 * 33 * k <= 8192
    ]
    least = min(float(gemm_cost(gemm.free, machine, mapping).objective(objective)) for mapping in tried)
    assert float(found.objective(objective)) <= least * 1.0101  # of latency, one percent may go for energy


def test_a_whole_mapping_costs_what_it_costs() -> None:
    """A tile that no list has: not of whole units of the array."""
    machine = load("systolic-32x32")
    gemm = plain_gemm(100, 90, 80, "fp16", 16)
    fixed = replace(gemm, given=given("kmn", "input_stationary", m=7, n=50, k=33))
    mapping = mapping_of(gemm, "input_stationary", "kmn", 7, 50, 33)
    mapping = replace(mapping, held=kept(gemm, machine, mapping)[1])
    found, asked = best_mapping(fixed, machine), gemm_cost(gemm, machine, mapping)
    assert found.mapping.order == "kmn" and float(found.mapping.k) == 33
    assert float(found.latency_s) == float(asked.latency_s) and found.energy == asked.energy


def test_a_given_order_is_kept_where_the_objective_does_not_see_it() -> None:
    """Cycles of the array are the same in every order; the one that is given counts all the same."""
    gemm = plain_gemm(256, 256, 256, "fp16", 16)
    for order in ORDERS:
        for objective in ("cycles", "latency"):
            found = best_mapping(replace(gemm, given=given(order)), load("systolic-32x32"), objective)  # type: ignore[arg-type]
            assert found.mapping.order == order


def test_the_first_glob_counts() -> None:
    page = {"fc.WU": {"dataflow": "output_stationary"}, "fc*": {"dataflow": "weight_stationary"}}
    rows = {row.op: row.dataflow for row in simulate(step(), "systolic-32x32", mapping=page).rows if row.dataflow}
    assert rows == {"fc": "weight_stationary", "fc.WU": "output_stationary"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"fc.WQ": {}}, "'fc.WQ': matches no op that the array runs; did you mean fc.WU?"),
        ({"fc*": {}, "fc.WU": {}}, "'fc.WU': globs before it match all of its ops"),
        ({"fc": [{}, {}]}, "'fc' lists 2 mappings, the products of fc are 1;"),
        ({"fc": {"dataflow": "weight"}}, "dataflow: Input should be 'output_stationary'"),
        ({"fc": {"dataflow": "row_stationary"}}, "systolic-32x32 has no dataflow row_stationary"),
        ({"fc": {"dataflows": "weight_stationary"}}, "unknown key; did you mean 'dataflow'"),
        ({"fc": {"levels": [{"order": "mmk"}]}}, "levels.0.order: Input should be 'mnk'"),
        ({"fc": {"levels": [{"tile": {"q": 4}}]}}, "levels.0.tile.q: unknown key; allowed: m, n, k"),
        ({"fc": {"levels": [{"tile": {"m": 0}}]}}, "levels.0.tile.m: Input should be greater than 0; found 0"),
        ({"fc": {"levels": [{"tile": {"m": 65}}]}}, "the tile's m is 65, the product has 64"),
        ({"fc": {"levels": [{}, {}]}}, "2 levels are given, systolic-32x32 has 1 depth"),
        ({"fc": "weight_stationary"}, "must be a mapping"),
        ("absent.yaml", "'absent.yaml': there is no such file"),
    ],
)
def test_mistakes_are_one_clear_line(page: Any, words: str) -> None:
    with pytest.raises(SimulationError) as error:
        simulate(step(), "systolic-32x32", mapping=page)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_malformed_yaml_names_the_line(tmp_path: Path) -> None:
    page = tmp_path / "my.yaml"
    page.write_text("fc:\n  levels: [\n")
    with pytest.raises(SimulationError, match=r"my\.yaml: malformed YAML at line 3"):
        simulate(step(), "systolic-32x32", mapping=page)


def test_what_does_not_fit_names_memory_operand_and_bytes() -> None:
    """64 x 128 inputs of 2 bytes, twice: 32,768 B."""
    machine = load("systolic-32x32", {"memories.input_buffer.capacity_bytes": 32767})
    page = {"fc": {"levels": [{"tile": {"m": 64, "k": 128}}]}}
    with pytest.raises(SimulationError, match=r"input_buffer needs input 32,768 B for .*, it has 32,767 B"):
        simulate(step(), machine, mapping=page)
    enough = load("systolic-32x32", {"memories.input_buffer.capacity_bytes": 32768})
    assert simulate(step(), enough, mapping=page).rows


def test_passes_belong_to_row_stationary_arrays_and_levels_to_all_others() -> None:
    with pytest.raises(SimulationError, match="give pass instead of levels"):
        simulate(step(), "eyeriss-v1", mapping={"fc": {"levels": [{}]}})
    with pytest.raises(SimulationError, match="give levels instead of pass"):
        simulate(step(), "systolic-32x32", mapping={"fc": {"pass": {"m": 1}}})


def test_a_pass_that_was_written_gives_the_same_bits_back() -> None:
    chosen = simulate(step(), "eyeriss-v1")
    assert "pass: {m: " in chosen.mapping
    assert simulate(step(), "eyeriss-v1", mapping=yaml.safe_load(chosen.mapping)).rows == chosen.rows


def test_a_gpu_takes_no_mapping() -> None:
    with pytest.raises(SimulationError, match="nvidia-h100-sxm runs a library's kernels"):
        simulate(step(), "nvidia-h100-sxm", mapping={"fc": {}})


CONVOLUTION = convolution({"n": 1, "g": 1, "k": 32, "c": 16, "p": 12, "q": 12, "r": 3, "s": 3}, 1)


def bytes_of_int8(product: Gemm) -> Gemm:
    sides = {side: replace(getattr(product, side), bits=8) for side in ("input", "weight", "output")}
    return replace(product, dtype="int8", **sides)


def test_a_tile_given_by_rank_brings_in_the_box_that_its_windows_span() -> None:
    """4 x 6 positions of a 3x3 kernel span 6 x 8 of 16 channels; in parts of the kernel of 1 x 3, 4 x 8 each. Inputs
    come for every tile of outputs and of the reduction: 3 x 2 boxes, each for 2 tiles of channels."""
    machine = load("gemmini-16x16")
    for kernel_rows, box in ((3, 6 * 8), (1, 3 * 4 * 8)):
        tile = {"out_rows": 4, "out_cols": 6, "n": 16, "kernel_rows": kernel_rows}
        page = {"layer": {"levels": [{"order": "mnk", "tile": tile}]}}
        (product,) = given_products({"layer": (bytes_of_int8(CONVOLUTION),)}, page, machine)["layer"]
        row = Pricer(machine, "latency", "analytic").gemm(product)
        assert row.dram_input_bytes == 3 * 2 * 2 * box * 16
        assert (row.tile_m, row.tile_k) == (24, 16 * 3 * kernel_rows)
        again = Pricer(machine, "latency", "analytic").mapped([product])
        assert given_products({"layer": (product,)}, {"layer": words(again[0].given)}, machine)["layer"] == tuple(again)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ({"out_cols": 5}, "the tile's out_cols, 5, does not divide the product's 12; give a divisor"),
        ({"out_cols": 6, "m": 25}, "the tile's m is 25, its out_cols make 72; give one of the two"),
        ({"kernel_rows": 1}, "cuts the kernel; give its out_rows and out_cols too"),
    ],
)
def test_a_box_that_cannot_be_is_named(tile: dict[str, int], message: str) -> None:
    page = {"layer": {"levels": [{"tile": tile}]}}
    with pytest.raises(SimulationError, match=re.escape(message)):
        given_products({"layer": (bytes_of_int8(CONVOLUTION),)}, page, load("gemmini-16x16"))


def test_what_is_held_is_given_too() -> None:
    """96 x 64 x 32 in tiles of 32 x 32 x 32, loops m then n: each of two weight tiles of 2 KiB comes in for each of
    three along m, or once where all are held; inputs come in once."""
    machine, gemm = load("systolic-32x32"), plain_gemm(96, 64, 32, "fp16", 16)
    tile = Extents(m=32, n=32, k=32)
    read: dict[Any, float] = {}
    for held in (None, ("weight",), ()):
        page = Given(dataflow="output_stationary", levels=(GivenLevel(order="mnk", tile=tile, held=held),))
        pricer = Pricer(machine)
        read[held] = pricer.gemm(replace(gemm, given=page)).dram_read_bytes
        (mapped,) = pricer.mapped([replace(gemm, given=page)])
        again = words(mapped.given)["levels"][0]["held"] if mapped.given else None
        assert again == ([] if held == () else ["weight"])
        assert pricer.gemm(mapped).dram_read_bytes == read[held]
    weights, inputs = 2 * 2048, 3 * 2048
    assert read == {None: inputs + weights, ("weight",): inputs + weights, (): inputs + 3 * weights}


def test_what_cannot_be_held_is_refused() -> None:
    """Two weight tiles of 2 KiB, each twice where further items of the batch bring theirs in."""
    tile = {"m": 32, "n": 32, "k": 32}
    page = {"*": {"levels": [{"order": "mnk", "tile": tile, "held": ["weight"]}]}}
    products = {"fc": (replace(plain_gemm(96, 64, 32, "fp16", 16), batch=2),)}
    small = load("systolic-32x32", {"memories.weight_buffer.capacity_bytes": 6000})
    (asked,) = given_products(products, page, small)["fc"]
    with pytest.raises(
        SimulationError, match=r"weight_buffer needs weight 8,192 B .* with all of weight held, it has 6"
    ):
        Pricer(small).gemm(asked)
    with pytest.raises(SimulationError, match="held: on several depths tiles stay by the order of loops alone"):
        given_products(products, page, load("simba-like"))

"""Area: closed forms on tiny designs, what must grow with what, nodes, and what cannot be priced."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_workloads import forward

from zerocast.accelerators import Accelerator, load
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.tables import area_table, node_scaling
from zerocast.analysis.validate.comparison import reference_rows
from zerocast.analysis.validate.suites.chips.area import feather
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.simulation import simulate
from zerocast.simulator.size.area import area, flip_flops, idle_power_w, operand_select_change_um2
from zerocast.simulator.size.area_match import (
    benes_um2,
    crossbar_um2,
    leading_nonzero_um2,
    operand_select_um2,
    prefix_sum_um2,
)

TABLE = area_table("area-45nm")
NANGATE = [(row["circuit"], int(row["size"]), float(row["area_um2"])) for row in reference_rows("area/area_cells.csv")]


def total(accelerator: Accelerator) -> float:
    found = area(accelerator)
    assert found is not None
    return found.total_mm2


def of(name: str, changes: dict[str, Any] | None = None) -> float:
    return total(load(name, changes))


def test_a_tiny_array_by_hand() -> None:
    """2x3 INT8 PEs at the table's node: each an 8-bit multiplier (282), a 32-bit adder (32 x 4.28), two operand
    registers and a sum; a lane of one operation, half a multiply-add and three sums' registers; 10 % of control;
    70 % of the area filled. Three buffers of 9,984 bytes at 0.569 um2 a bit, 85 % filled."""
    found = area(load("systolic-2x3", {
        "compute.rates": {"int8": 1.0}, "units.vector_unit.lanes": 1, "units.vector_unit.flops_per_lane": 1,
        **{f"memories.{name}_buffer.capacity_bytes": 9984 for name in ("input", "weight", "output")},
    }))  # fmt: skip
    assert found is not None
    mac = 282 + 32 * 4.28
    registers = (8 + 8 + 32) * 4.522
    unit = mac / 2 + 3 * 32 * 4.522
    assert found.multipliers_mm2 == pytest.approx(6 * mac / 0.7 * 1e-6)
    assert found.registers_mm2 == pytest.approx(6 * registers / 0.7 * 1e-6)
    assert found.units_mm2 == pytest.approx(unit / 0.7 * 1e-6)
    assert found.control_mm2 == pytest.approx(0.1 * (6 * (mac + registers) + unit) / 0.7 * 1e-6)
    assert found.buffers_mm2 == pytest.approx(3 * 9984 * 8 * 0.569 / 0.85 * 1e-6)
    assert found.match_mm2 == found.network_mm2 == found.pads_mm2 == found.die_mm2 == 0
    assert found.total_mm2 == pytest.approx(sum(found.parts().values()))


def test_a_choice_of_four_by_hand() -> None:
    """2:4 weights: three 2:1 choices of 8 bits, 2 bits of offset, three further values to choose from."""
    change = {"compute.rates": {"int8": 1.0}}
    sparse = {**change, "sparsity.weight": {"mode": "structured_skip", "max_group": 4, "match": "nm_mux"}}
    dense, choosing = area(load("systolic-2x3", change)), area(load("systolic-2x3", sparse))
    assert dense is not None and choosing is not None
    assert choosing.match_mm2 == pytest.approx(6 * (3 * 8 * 1.862 + 2 * 4.522) / 0.7 * 1e-6)
    assert choosing.registers_mm2 - dense.registers_mm2 == pytest.approx(6 * 3 * 8 * 4.522 / 0.7 * 1e-6)
    pe = (dense.multipliers_mm2 + dense.registers_mm2) / 6
    assert 0.08 < choosing.match_mm2 / 6 / pe < 0.14  # synthesis of whole PEs over three open cell libraries


@pytest.mark.parametrize(("circuit", "size", "synthesised"), NANGATE)
def test_the_table_agrees_with_synthesis(circuit: str, size: int, synthesised: float) -> None:
    """Selection logic within 5 %; NanGate's cells hold no compound adders, so that arithmetic on them is larger."""
    if circuit in ("multiplier", "adder"):
        add = TABLE.adder_um2("int8", size)
        known = add if circuit == "adder" else TABLE.multiply_um2.get(f"int{size}", 3495.0)
        assert 1.2 < synthesised / known < 2.3
        return
    predicted = {
        "multiplexer": lambda: (size - 1) * 8 * TABLE.mux2_um2_per_bit,
        "encoder": lambda: size * TABLE.leading_nonzero_um2_per_bit,
        "prefix": lambda: prefix_sum_um2(TABLE, size),
        "crossbar": lambda: size * (size - 1) * 16 * TABLE.mux2_um2_per_bit,
    }[circuit]()
    assert predicted == pytest.approx(synthesised, rel=0.11 if circuit == "crossbar" else 0.08)


def test_circuits_by_hand() -> None:
    assert operand_select_um2(TABLE, 1, 16) == 0
    assert operand_select_um2(TABLE, 16, 16) > 4 * operand_select_um2(TABLE, 4, 16) > 0
    # 8 bits: three levels of 4 adders of 1, 2 and 3 bits
    assert prefix_sum_um2(TABLE, 8) == pytest.approx(4 * (1 + 2 + 3) * TABLE.prefix_um2_per_adder_bit)
    # 4 ports: 3 stages of 2 switches of 2 choices; registers at half of the stages
    assert benes_um2(TABLE, 4, 10) == pytest.approx(3 * 2 * 2 * 10 * (1.862 + 4.522 / 2))
    assert benes_um2(TABLE, 1, 10) == 0
    assert crossbar_um2(TABLE, 4, 6, 10) == pytest.approx(6 * 3 * 10 * 1.862 + 24 * TABLE.leading_nonzero_um2_per_bit)
    one = leading_nonzero_um2(TABLE, 1, 16)
    assert one == pytest.approx(16 * 0.798 + TABLE.leading_nonzero_um2_per_bit)


def test_memories_grow_and_small_ones_are_less_dense() -> None:
    sizes = np.array([1.0, 8, 24, 80, 288, 1024, 9984, 2**17, 2**20, 2**25])
    areas = TABLE.memory_um2(sizes)
    assert np.all(np.diff(areas) > 0) and np.all(np.diff(areas / sizes) <= 0)
    assert areas[6] == pytest.approx(9984 * 8 * 0.569)
    assert areas[0] == pytest.approx(8 * TABLE.register_um2_per_bit)


SCALING = node_scaling("stillmaker-2017")


def test_nodes_of_the_paper() -> None:
    assert SCALING.logic_factor(45, 45) == 1.0
    assert SCALING.logic_factor(45, 65) == pytest.approx(1.5) and SCALING.logic_factor(45, 16) == pytest.approx(0.19)
    assert SCALING.memory_factor(45, 28) == pytest.approx(0.127 / 0.299)


@given(nodes=st.lists(st.floats(4, 130), min_size=3, max_size=3))
def test_nodes_chain_and_shrink(nodes: list[float]) -> None:
    a, b, c = nodes
    for factor in (SCALING.logic_factor, SCALING.memory_factor):
        assert factor(a, b) * factor(b, c) == pytest.approx(factor(a, c))
        assert (factor(a, b) <= 1 + 1e-12) == (b <= a) or factor(a, b) == pytest.approx(1)


def test_a_design_scales_with_its_node() -> None:
    here, there = (area(load("systolic-8x8", {"technology.node_nm": node})) for node in (45, 28))
    assert here is not None and there is not None
    assert there.logic_mm2 / here.logic_mm2 == pytest.approx(SCALING.logic_factor(45, 28))
    assert there.buffers_mm2 / here.buffers_mm2 == pytest.approx(SCALING.memory_factor(45, 28))
    assert of("systolic-8x8", {"technology.area_scale": 2.0}) == pytest.approx(2 * here.total_mm2)


CHANGES: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "compute.rows": ("systolic-32x32", st.integers(1, 256)),
    "compute.cols": ("systolic-32x32", st.integers(1, 256)),
    "compute.accumulators_per_pe": ("systolic-32x32", st.integers(1, 32)),
    "compute.accumulate_bits": ("cambricon-x", st.integers(16, 64)),
    "memories.input_buffer.capacity_bytes": ("systolic-32x32", st.integers(64, 2**25)),
    "memories.input_buffer.instances": ("systolic-32x32", st.integers(1, 512)),
    "memories.input_buffer.port_bytes_per_cycle": ("systolic-32x32", st.integers(1, 4096)),
    "sparsity.weight.max_group": ("s2ta", st.integers(1, 64)),
    "skipping.queue": ("eie", st.integers(0, 64)),
    "skipping.banks.banks": ("scnn", st.integers(1, 128)),
    "skipping.banks.queue": ("scnn", st.integers(0, 32)),
    "skipping.chunk": ("sparten", st.integers(2, 512)),
    "row_stationary.filter_spad_bytes": ("eyeriss-v1", st.integers(16, 2048)),
    "units.vector_unit.lanes": ("nullhop", st.integers(1, 512)),
}


@settings(max_examples=120, deadline=None)
@given(path=st.sampled_from(list(CHANGES)), data=st.data())
def test_more_is_larger(path: str, data: st.DataObject) -> None:
    """Each parameter alone. Banks hold the same sums in smaller memories, each less dense."""
    name, values = CHANGES[path]
    low, high = sorted((data.draw(values), data.draw(values)))
    assume(low < high)
    smaller, larger = (of(name, {path: value}) for value in (low, high))
    assert smaller <= larger * (1 + 1e-12)
    if path not in ("skipping.chunk", "memories.input_buffer.port_bytes_per_cycle"):
        assert smaller < larger


def test_skipping_costs_more_than_not_skipping() -> None:
    for name in ("eie", "sparten", "tensordash", "cambricon-x", "scnn", "eyeriss-v2", "s2ta", "sigma"):
        accelerator = load(name)
        sides = [s for s in ("input", "weight") if getattr(accelerator.sparsity, s).mode != "none"]
        assert of(name, {f"sparsity.{side}.mode": "none" for side in sides}) < of(name), name


def test_storage_says_what_is_built() -> None:
    """Half the bytes in the same number of memories, and the same bytes in more of them."""
    plain = area(load("eie", {"technology.storage": {}}))
    half = area(load("eie", {"technology.storage": {"weight_buffer": {"share": 0.5}}}))
    many = area(load("eie", {"technology.storage": {"weight_buffer": {"macros": 640}}}))
    assert plain is not None and half is not None and many is not None
    assert plain.buffers_mm2 / 2 < half.buffers_mm2 < plain.buffers_mm2 < many.buffers_mm2
    with pytest.raises(SimulationError, match=r"technology\.storage: no buffer 'weights'; there are activation_buffer"):
        of("eie", {"technology.storage": {"weights": {"share": 0.5}}})


def test_dies_are_what_is_published_and_multiplexers_what_differs() -> None:
    card = load("nvidia-h100-sxm")
    assert total(card) == 814.0
    eight = load("nvidia-h100-sxm", {"sparsity.weight.max_group": 8})
    dense = load("nvidia-h100-sxm", {"sparsity.weight.mode": "none"})
    macs = 132 * 4 * 512
    assert operand_select_change_um2(eight, TABLE) == pytest.approx(macs * (4 * 16 * 1.862 + 4.522))
    assert operand_select_change_um2(dense, TABLE) == pytest.approx(-macs * (3 * 16 * 1.862 + 2 * 4.522))
    assert total(dense) < 814.0 < total(eight) < 830.0
    assert total(load("nvidia-h100-sxm", {"technology.area_table": None})) == 814.0


def test_designs_without_an_area() -> None:
    assert area(load("sat-vcu1525")) is None and area(load("mcbbs-arria10")) is None
    assert area(load("systolic-8x8", {"technology.area_table": None})) is None
    die = area(load("systolic-8x8", {"technology.die_mm2": 5.0}))
    assert die is not None and die.total_mm2 == die.die_mm2 == 5.0


def test_what_cannot_be_priced_is_named() -> None:
    with pytest.raises(SimulationError, match=r"technology\.area_table: no table 'cmos-45nm'; there are area-45nm"):
        of("systolic-8x8", {"technology.area_table": "cmos-45nm"})
    with pytest.raises(SimulationError, match=r"stillmaker-2017 spans 4 to 130 nm, not 3 nm; set another node"):
        of("systolic-8x8", {"technology.node_nm": 3})
    with pytest.raises(AcceleratorError, match="multiply_um2 has no 'int12'; it has int8"):
        TABLE.multiplier_um2("int12")
    with pytest.raises(AcceleratorError, match="no table 'stillmaker'; there are stillmaker-2017"):
        node_scaling("stillmaker")


def test_every_entry_of_the_table_has_a_source() -> None:
    assert all(len(source) > 8 for source in TABLE.sources.values())
    assert {"memory_um2_per_bit", "multiply_um2.int8", "control_share", "scaling.logic"} <= set(TABLE.sources)


def test_results_carry_the_area() -> None:
    machine = load("systolic-8x8")
    found, size = simulate(forward(), machine), area(machine)
    assert size is not None
    assert found.area == size.parts() and found.area_mm2 == pytest.approx(size.total_mm2)
    bare = simulate(forward(), load("systolic-8x8", {"technology.area_table": None}))
    assert bare.area == {} and bare.area_mm2 is None


@pytest.mark.parametrize(("rows", "cols", "stages"), [(4, 4, 3), (16, 32, 9)])
def test_flip_flops_of_an_array_with_local_weights_and_a_reduction_network(rows: int, cols: int, stages: int) -> None:
    """Counted by hand: a PE keeps both operands, R weights twice, its pipeline and a sum; a column 2 + 2 + 4 banks of 4
    bytes and three operations on sums; half of the network's stages end in a register of each sum."""
    design = feather(f"{rows}x{cols}")
    pe = 8 + 8 + 2 * rows * 8 + 101 + 32
    column = 8 * 4 * (2 + 2 + 4) + 3 * 3 * 32 + stages * 32 / 2
    assert flip_flops(design) == rows * cols * pe + cols * column
    assert idle_power_w(design) == pytest.approx(flip_flops(design) * 2.9e-15 * 1e9)


def test_a_buffer_of_flip_flops_takes_their_area_and_no_macro() -> None:
    table, plain = area_table("area-45nm"), load("systolic-8x8")
    built = load("systolic-8x8", {"technology.storage": {"input_buffer": {"cells": "registers"}}})
    before, after = area(plain), area(built)
    assert before is not None and after is not None
    bit = table.register_um2_per_bit + table.mux2_um2_per_bit
    assert after.registers_mm2 - before.registers_mm2 == pytest.approx(
        8 * 524288 * bit / table.logic_utilisation * 1e-6
    )
    assert after.buffers_mm2 == pytest.approx(before.buffers_mm2 * 2 / 3)
    assert flip_flops(built) - flip_flops(plain) == 8 * 524288


def test_power_of_clocks_that_nothing_stops_counts_for_as_long_as_the_run_takes() -> None:
    clocked = load("systolic-8x8", {"technology.flip_flop_clock_j": 1e-15, "technology.static_power_w": 0.5})
    result = simulate(forward(), clocked)
    assert result.static_j == pytest.approx((0.5 + flip_flops(clocked) * 1e-15 * 1e9) * result.latency_s)

"""FPGA resources: counted by hand, from vendors' block sizes, and moving the right way."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zerocast.accelerators import Accelerator, load
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.size.resources import fpga_resources, operand_select
from zerocast.simulator.size.size import over_budget

SAT = load("sat-vcu1525")


def changed(**fields: object) -> Accelerator:
    """The FPGA array with one side's zeros skipped and values set, dots written as double underscores."""
    return load("sat-vcu1525", {name.replace("__", "."): value for name, value in fields.items()})


def test_resources_by_hand() -> None:
    """1,024 PEs with a multiply-add and, for either operand, a choice of 16 values of 16 bits: 4 LUTs a bit, 15 further
    values and 4 bits of offset to keep. 8 sums of 32 bits in LUT memory of 14 bits per 8 LUTs. 3 units of 32 lanes, the
    fixed part. Three 2 MiB buffers: ports of 512 bytes take 64 UltraRAMs side by side, of 4,096 rows each, that of 256
    bytes 32 twice as deep."""
    used = fpga_resources(SAT)
    sums = math.ceil(32 * 8 / 14)
    assert used["lut"] == 1024 * (30 + 248 + 2 * 16 * 4 + sums) + 32 * (700 + 1800 + 1800) + 60000
    assert used["ff"] == 1024 * (60 + 291 + 2 * (15 * 16 + 4)) + 32 * (900 + 2600 + 2600) + 90000
    assert used["dsp"] == 1024 * 3 + 32 * (12 + 12)
    assert used["uram"] == 3 * 64 and used["bram36"] == 0
    assert over_budget(SAT) == {}
    assert fpga_resources(load("tpu-like-128")) == {} and over_budget(load("tpu-like-128")) == {}


@pytest.mark.parametrize(("group", "luts_per_bit"), [(1, 0), (2, 0.5), (4, 1), (8, 2), (16, 4), (32, 8)])
def test_multiplexers_grow_with_the_group(group: int, luts_per_bit: float) -> None:
    """LUTs a bit of a multiplexer of M: AMD UG474 and UG974."""
    cost = operand_select(changed(sparsity__input__mode="none", sparsity__weight__max_group=group))
    assert cost.lut == 16 * luts_per_bit
    assert cost.ff == (16 * (group - 1) + math.log2(group))


def test_the_type_decides_on_dsps() -> None:
    dsps = {dtype: fpga_resources(changed(compute__rates={dtype: 1.0}))["dsp"] for dtype in ("int8", "fp16", "fp32")}
    assert dsps == {"int8": 1024 + 768, "fp16": 3 * 1024 + 768, "fp32": 5 * 1024 + 768}
    with pytest.raises(SimulationError, match=r"resources\.multiply_add: no cost of 'fp8'.*fp16, bf16"):
        fpga_resources(changed(compute__rates={"fp8": 1.0}))


def test_sums_in_flight_take_lut_memory() -> None:
    one, two, many = (fpga_resources(changed(compute__accumulators_per_pe=n))["lut"] for n in (1, 2, 33))
    assert two - one == 1024 * 19
    assert many - one == 1024 * 37


def test_small_buffers_are_block_rams_and_wide_ports_cost() -> None:
    small = fpga_resources(changed(memories__output_buffer__capacity_bytes=16384))
    assert small["bram36"] == 256 / 8 and small["uram"] == 128
    wide = fpga_resources(changed(memories__output_buffer__port_bytes_per_cycle=1024))
    assert wide["uram"] == 64 + 64 + 128


def test_banks_are_rounded_up_one_by_one() -> None:
    """HiSparse: 128 banks of 32 KiB, words of 4 bytes, 8,192 rows: two UltraRAMs each, for the vector and for the sums;
    128 queues of 64 x 8 bytes take a block RAM each. That is what the paper reports: 512 and 128."""
    used = fpga_resources(load("hisparse-u280"))
    assert used["uram"] == 512 and used["bram36"] == 128


def test_too_large_an_array_is_over_budget() -> None:
    over = over_budget(changed(compute__rows=64, compute__cols=64))
    assert set(over) == {"lut", "ff", "dsp"}
    assert over["dsp"] == (64 * 64 * 3 + 32 * 24, 5847.0)


def test_storage_of_no_buffer_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"technology\.storage: no buffer 'cache'; there are input_buffer"):
        fpga_resources(changed(technology__storage={"cache": {"macros": 2}}))


CAPACITY = st.integers(1024, 2**24)
SWEPT = {
    "compute__rows": st.integers(1, 128),
    "compute__cols": st.integers(1, 128),
    "compute__accumulators_per_pe": st.integers(1, 100),
    "sparsity__weight__max_group": st.integers(1, 64),
    "units__vector_unit__lanes": st.integers(1, 256),
}


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(list(SWEPT)), data=st.data())
def test_logic_never_shrinks_with_more(name: str, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(SWEPT[name], SWEPT[name])))
    less, more = (fpga_resources(changed(**{name: value})) for value in (low, high))
    assert all(less[kind] <= more[kind] for kind in less)


@settings(max_examples=60, deadline=None)
@given(sizes=st.tuples(CAPACITY, CAPACITY), port=st.integers(1, 2048), banks=st.integers(1, 64))
def test_blocks_hold_the_bytes_and_grow_with_them(sizes: tuple[int, int], port: int, banks: int) -> None:
    """All of one kind, so that no buffer changes from block RAM to the larger UltraRAM between the two."""
    counts = []
    for size in sorted(sizes):
        used = fpga_resources(changed(
            memories__input_buffer__capacity_bytes=size, memories__input_buffer__port_bytes_per_cycle=port,
            memories__input_buffer__instances=banks, resources__uram_from_bytes=1.0,
        ))  # fmt: skip
        assert used["bram36"] == 0
        counts.append(used["uram"] - 128)
        assert counts[-1] * 32768 >= size and counts[-1] * 8 >= port
    assert counts[0] <= counts[1]

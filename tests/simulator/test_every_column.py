"""Every column of the result on every shipped accelerator, each held against a count made here.

Four ops: a product, a ReLU that takes its output, an N:M selection and a copy. What a column must be follows from the
sizes of the tensors, from the accelerator's own figures, and for tiled arrays from the plain loops of `loop_nest`. A
new column has to be added to one of the groups below, so that none goes unchecked.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cache
from itertools import product

import pytest
from loop_nest import Count, interpret
from problems import kept

from zerocast.accelerators import Accelerator, energy_table, load, templates
from zerocast.simulator import OpRow, Result, plain_gemm, simulate
from zerocast.simulator.cost import RESIDENT
from zerocast.simulator.products.mapping import mapping_of
from zerocast.workloads import Einsum, Index, Op, Tensor, Transfer, Vector, Workload
from zerocast.workloads.ir import BITS

M, N, K = 40, 24, 48
NAMES = [*templates(), "systolic-8x16", "systolic-64x32"]
LABELS = {
    "op",
    "layer",
    "phase",
    "kind",
    "function",
    "resource",
    "bound",
    "costed",
    "fallback",
    "skipped",
    "dataflow",
    "order",
    "memories",
    "note",
}
SIZES = {
    "m",
    "n",
    "k",
    "batch",
    "tile_m",
    "tile_n",
    "tile_k",
    "input_density",
    "weight_density",
    "output_density",
    "output_computed",
}
WORK = {"macs", "effectual_macs", "flops", "cycles", "expected_cycles", "ideal_cycles", "utilisation"}
TIMES = {"latency_s", "spread_s", "low_s", "high_s", "dense_kernel_s", "sparse_kernel_s", "start_s", "end_s"}
LOST = {field.name for field in fields(OpRow) if field.name.startswith("lost_")}
BYTES = {"dram_read_bytes", "dram_write_bytes", "dram_input_bytes", "dram_weight_bytes", "dram_output_bytes",
         "buffer_read_bytes", "buffer_write_bytes", "register_bytes"}  # fmt: skip
JOULES = {"mac_j", "register_j", "buffer_j", "dram_j", "vector_j", "energy_j"}


def workload(dtype: str) -> Workload:
    """The four ops, in one type."""
    shapes = {"x": (M, K), "w": (N, K), "y": (M, N), "z": (M, N), "s": (M, N), "t": (M, N)}
    roles = {"x": "input", "w": "weight"}
    tensors = {name: Tensor(name, shape, dtype, roles.get(name, "activation")) for name, shape in shapes.items()}  # type: ignore[arg-type]
    index = tuple(tuple(((rank, 1),) for rank in ranks) for ranks in ("mk", "nk", "mn"))
    ops: tuple[Op, ...] = (
        Einsum("fc", "fc", "FF", ("x", "w"), ("y",), {"m": M, "n": N, "k": K}, index, {}, "linear"),
        Vector("relu", "act", "FF", ("y",), ("z",), "relu", M * N, 1.0, elementwise=True),
        Index("select", "pick", "FF", ("z",), ("s",), "nm_select", M * N, 8),
        Transfer("copy", "move", "FF", ("s",), ("t",), "copy", M * N),
    )
    return Workload("columns", tensors, ops)


@cache
def simulated(name: str) -> tuple[Accelerator, Result, dict[str, OpRow], str]:
    accelerator = load(name, {"schedule.residency": "none"})  # what stays on chip is counted in test_residency.py
    dtype = accelerator.compute.native_type
    result = simulate(workload(dtype), accelerator)
    return accelerator, result, {row.op: row for row in result.rows}, dtype


UNTILED = {"row_stationary", "zero_skipping", "unrolled"}
"""Dataflows that the loop nest does not walk; test_unrolled.py walks that of unrolled arrays."""


def tiled(accelerator: Accelerator) -> bool:
    """Whether the loop nest walks it; test_nests.py and test_nests_counts.py walk those of several depths."""
    untiled = accelerator.gpu is not None or accelerator.nested
    return not (untiled or UNTILED & set(accelerator.compute.dataflows))


def streamed(accelerator: Accelerator) -> bool:
    """Whether the ReLU takes the product's output on its way out, so that neither moves it off chip."""
    unit = accelerator.unit_for("relu")
    return unit is not None and unit.streams


def counted(name: str) -> Count:
    """The product under the mapping of its row, loop by loop."""
    accelerator, _, rows, dtype = simulated(name)
    row = rows["fc"]
    gemm = plain_gemm(M, N, K, dtype, BITS[dtype])
    if streamed(accelerator):
        gemm = replace(gemm, output=replace(gemm.output, on_chip=True))
    mapping = mapping_of(gemm, row.dataflow, row.order, row.tile_m, row.tile_n, row.tile_k)  # type: ignore[arg-type]
    return interpret(gemm, accelerator, replace(mapping, held=kept(gemm, accelerator, mapping)[1]))


def test_no_column_goes_unchecked() -> None:
    assert {field.name for field in fields(OpRow)} == LABELS | SIZES | WORK | TIMES | LOST | BYTES | JOULES | {
        *RESIDENT
    }


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_saved_where_nothing_stays(name: str) -> None:
    """What is saved elsewhere is counted in test_residency.py."""
    _, result, _, _ = simulated(name)
    assert all(result.total(column) == 0 for column in RESIDENT)


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_sizes(name: str) -> None:
    accelerator, _, rows, _ = simulated(name)
    assert list(rows) == ["fc", "relu", "select", "copy"]
    kinds = {"fc": ("einsum", "linear", "fc"), "relu": ("vector", "relu", "act"),
             "select": ("index", "nm_select", "pick"), "copy": ("transfer", "copy", "move")}  # fmt: skip
    for op, row in rows.items():
        assert (row.kind, row.function, row.layer) == kinds[op] and row.phase == "FF"
        assert row.bound in {"compute", "fill", "port", "dram", "unit", "launch", "uncosted"}
        unit = accelerator.unit_for(row.function)
        if op != "fc":
            assert row.resource == ("none" if unit is None else unit.name)
    row = rows["fc"]
    assert (row.m, row.n, row.k, row.batch) == (M, N, K, 1) and row.resource == "array"
    assert row.input_density == row.weight_density == row.output_density == row.output_computed == 1.0
    if tiled(accelerator):
        assert row.skipped == "" and row.dataflow in accelerator.compute.dataflows and sorted(row.order) == list("kmn")
        assert 1 <= row.tile_m <= M and 1 <= row.tile_n <= N and 1 <= row.tile_k <= K


@pytest.mark.parametrize("name", NAMES)
def test_work(name: str) -> None:
    """Multiplications are counted one by one; cycles by the loops, or by what is left and lost of them."""
    accelerator, _, rows, dtype = simulated(name)
    row, clock = rows["fc"], accelerator.technology.clock_hz
    alone = (row.latency_s - accelerator.host.launch_overhead_s) * clock
    macs = sum(1 for _ in product(range(M), range(N), range(K)))
    assert row.macs == macs and row.effectual_macs == pytest.approx(macs) and row.flops == pytest.approx(2 * macs)
    assert row.utilisation == pytest.approx(min(row.ideal_cycles / alone, 1.0), rel=1e-6)
    if accelerator.gpu is None:
        peak = accelerator.peak_macs_per_s / clock * accelerator.compute.rates[dtype]
        peak /= accelerator.compute.rates[accelerator.compute.native_type]
        assert row.ideal_cycles == pytest.approx(macs / peak, rel=1e-9)
    if tiled(accelerator):
        count = counted(name)
        assert row.cycles == pytest.approx(max(count.cycles, count.port_cycles), rel=1e-9)
    for op, work in (("relu", 1.0), ("select", 8.0), ("copy", 1.0)):
        unit = accelerator.unit_for(rows[op].function)
        elements = M * N
        flops = {"relu": elements, "select": elements * 8, "copy": 0}[op]
        if unit is None:
            assert rows[op].cycles == rows[op].flops == 0
            continue
        if op == "select" and "nm_select" in unit.functions:
            flops, cycles = elements, math.ceil(elements / (unit.lanes * 8)) * 8
        else:
            cycles = math.ceil(elements / unit.lanes) * max(math.ceil(work / unit.flops_per_lane), 1)
        assert rows[op].flops == flops and rows[op].cycles == rows[op].ideal_cycles == cycles
        assert rows[op].macs == rows[op].effectual_macs == 0


@pytest.mark.parametrize("name", NAMES)
def test_times(name: str) -> None:
    accelerator, result, rows, _ = simulated(name)
    row, clock = rows["fc"], accelerator.technology.clock_hz
    launch = accelerator.host.launch_overhead_s
    assert all(each.spread_s == 0 for each in rows.values())
    if tiled(accelerator):
        assert row.latency_s == pytest.approx(counted(name).latency_s + launch, rel=1e-9)
    for op in ("relu", "select", "copy"):
        if rows[op].bound == "uncosted":
            continue
        moved = (rows[op].dram_read_bytes + rows[op].dram_write_bytes) / accelerator.dram_bytes_per_s
        started = 0.0 if op == "relu" and streamed(accelerator) else launch  # what flows out of another op runs with it
        if accelerator.gpu is None:
            assert rows[op].latency_s == pytest.approx(max(rows[op].cycles / clock, moved) + started, rel=1e-9)
    assert rows["fc"].start_s == 0.0 and result.latency_s == max(each.end_s for each in rows.values())
    for before, after in (("relu", "select"), ("select", "copy")):
        assert rows[after].start_s >= rows[before].end_s - 1e-15
    for each in rows.values():
        assert each.end_s >= each.start_s


@pytest.mark.parametrize("name", NAMES)
def test_lost_cycles(name: str) -> None:
    """Ideal and lost cycles add up to the latency, but of a systolic array, whose fill and edges have no column."""
    accelerator, _, rows, _ = simulated(name)
    row, clock = rows["fc"], accelerator.technology.clock_hz
    launch = accelerator.host.launch_overhead_s
    lost = sum(getattr(row, column) for column in LOST)
    assert all(getattr(row, column) >= -1e-9 * row.cycles for column in LOST)
    spent = (row.latency_s - launch) * clock
    if accelerator.gpu is None and not accelerator.nested and not tiled(accelerator):
        assert row.ideal_cycles + lost == pytest.approx(spent, rel=1e-6)
    elif accelerator.gpu is None:
        assert lost == row.lost_memory_cycles == pytest.approx(max(spent - row.cycles, 0.0), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_bytes(name: str) -> None:
    """What is read off chip is written into a buffer, what is written off chip is read from one."""
    accelerator, _, rows, dtype = simulated(name)
    row, word = rows["fc"], BITS[dtype] / 8
    assert row.dram_read_bytes + row.dram_write_bytes == pytest.approx(
        row.dram_input_bytes + row.dram_weight_bytes + row.dram_output_bytes
    )
    if tiled(accelerator):
        count = counted(name)
        assert row.dram_read_bytes == pytest.approx(count.read_bytes)
        assert row.dram_write_bytes == pytest.approx(count.output_store)
        assert row.dram_input_bytes == pytest.approx(count.input_load)
        assert row.dram_weight_bytes == pytest.approx(count.weight_load)
        assert row.dram_output_bytes == pytest.approx(count.output_load + count.output_store)
        ports = count.input_port + count.weight_port + count.output_port_read
        assert row.buffer_read_bytes == pytest.approx(ports + count.output_store)
        assert row.buffer_write_bytes == pytest.approx(count.output_port_write + count.read_bytes)
    held = [side for side in ("input", "weight") if side in accelerator.dram.holds]
    least = sum({"input": M * K, "weight": N * K}[side] for side in held) * word
    assert row.dram_read_bytes >= least * (1 - 1e-9)
    if accelerator.gpu is None:
        wide = accelerator.compute.accumulate_bits / 8
        assert row.register_bytes == pytest.approx(M * N * K * (2 * word + 2 * wide))
    for op in ("relu", "select", "copy"):
        if rows[op].bound == "uncosted":
            continue
        reads = 0 if op == "relu" and streamed(accelerator) else M * N * word
        for side, moved, plain in (("input", rows[op].dram_read_bytes, reads),
                                   ("output", rows[op].dram_write_bytes, M * N * word)):  # fmt: skip
            if "uncompressed" in accelerator.dram.formats.get(side, ("uncompressed",)):
                assert moved == plain
            else:  # a memory that knows compressed formats alone stores their metadata too (see test_formats)
                assert plain <= moved <= 2 * plain
        others = BYTES - {"dram_read_bytes", "dram_write_bytes"}
        assert all(getattr(rows[op], column) == 0 for column in others)


@pytest.mark.parametrize("name", NAMES)
def test_joules(name: str) -> None:
    accelerator, _, rows, dtype = simulated(name)
    row, technology = rows["fc"], accelerator.technology
    for each in rows.values():
        parts = each.mac_j + each.register_j + each.buffer_j + each.dram_j + each.vector_j
        assert each.energy_j == pytest.approx(parts)
    table = energy_table(technology.energy_table)
    dram = accelerator.dram.energy.removeprefix("dram.")
    off_chip = 8 * table.dram_pj_per_bit[dram] * 1e-12
    scale = technology.energy_scale
    if accelerator.gpu is not None:  # whose L2 holds what small kernels move; its voltage follows its clock
        power = accelerator.gpu.power
        beyond = max(technology.clock_hz / power.max_clock_hz - power.knee, 0) / (1 - power.knee)
        scale *= (power.least_voltage + (1 - power.least_voltage) * beyond) ** 2
    for op, each in rows.items():
        held = accelerator.gpu is not None
        moved = 0 if held and op != "fc" else each.dram_read_bytes * (not held) + each.dram_write_bytes
        moved += each.dram_weight_bytes if held else 0
        assert each.dram_j == pytest.approx(moved * off_chip)
    for op in ("relu", "select", "copy"):
        assert rows[op].mac_j == rows[op].register_j == rows[op].buffer_j == 0
        flop = table.flop_j(dtype if dtype in table.flop_pj else "fp32")
        way = (rows[op].dram_read_bytes + rows[op].dram_write_bytes) * 8 * table.streamed_pj_per_bit * 1e-12
        assert rows[op].vector_j == pytest.approx((rows[op].flops * flop + way) * scale)
    if accelerator.gpu is not None:
        return
    assert row.mac_j == pytest.approx(M * N * K * table.mac_pj[dtype] * 1e-12 * technology.energy_scale)
    if "row_stationary" in accelerator.compute.dataflows:
        return  # spads, hops and the PEs' clock are in its registers: see test_row_stationary
    bit = table.register_j_per_bit * technology.energy_scale
    assert row.register_j == pytest.approx(row.register_bytes * 8 * bit)
    if not tiled(accelerator):
        return
    count = counted(name)

    def each_byte(side: str) -> float:
        memory = next(memory for memory in accelerator.memories[1:] if side in memory.holds)
        assert memory.capacity_bytes is not None
        size = memory.capacity_bytes / memory.instances
        return 8 * float(table.sram_j_per_bit(size)) * technology.energy_scale

    # a byte of the link is priced at the dearest of the buffers, since its own is not told apart
    link = (count.read_bytes + count.output_store) * max(each_byte(side) for side in ("input", "weight", "output"))
    sums = (count.output_port_read + count.output_port_write) * each_byte("output")
    ports = count.input_port * each_byte("input") + count.weight_port * each_byte("weight") + sums
    assert row.buffer_j == pytest.approx(ports + link)


def test_the_dearest_buffer_is_not_the_cheapest() -> None:
    """The tiled templates must tell the two apart, or the check above proves little."""
    unequal = [name for name in NAMES if tiled(load(name))
               and len({memory.capacity_bytes for memory in load(name).memories[1:]}) > 1]  # fmt: skip
    assert unequal

"""Ops beside the array and memory that a workload needs: counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from small_workloads import forward, step

from zerocast.accelerators import load
from zerocast.simulator import SimulationError, simulate
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.storage import Storage, stored_bytes
from zerocast.simulator.unit_cost import moved_bytes, selection_cycles, unit_cost, unit_cycles
from zerocast.workloads import Index, Tensor, Transfer, Vector
from zerocast.workloads.patterns import NM

SAT = load("sat-vcu1525")

OFFSETS = Storage(("uncompressed", "nm_offsets"))


@pytest.mark.parametrize(
    ("elements", "work", "lanes", "depth", "cycles"),
    [(64, 1, 32, 8, 2), (65, 1, 32, 8, 3), (64, 8, 32, 8, 2), (64, 9, 32, 8, 4), (64, 0, 32, 8, 2), (0, 5, 32, 8, 0)],
)
def test_elements_go_through_lanes(elements: int, work: int, lanes: int, depth: int, cycles: int) -> None:
    assert float(unit_cycles(elements, work, lanes, depth)) == cycles


def test_selector_takes_a_group_per_lane_at_one_element_a_cycle() -> None:
    """Walked cycle by cycle: 32 lanes each swallow one element of their own group of 8 a cycle."""
    for elements in (1, 8, 256, 257, 4096):
        groups = math.ceil(elements / 8)
        cycles = 0
        while groups > 0:
            groups -= 32
            cycles += 8
        assert float(selection_cycles(elements, 8, 32)) == cycles


def test_vector_op_overlaps_compute_and_bytes() -> None:
    unit = SAT.unit_for("relu")
    assert unit is not None and unit.name == "vector_unit"
    op = Vector("relu", "", "FF", ("y",), ("z",), "relu", 6400, 1.0)
    slow, quick = (unit_cost(op, SAT, unit, size, "fp16") for size in (0.0, 76e9))
    assert slow.cycles == 200 and slow.latency_s == pytest.approx(200 / 200e6)
    assert quick.latency_s == pytest.approx(1.0) and quick.dram_s == pytest.approx(1.0)
    assert slow.flops == 6400 and slow.vector_j == pytest.approx(6400 * 0.75e-12)
    assert quick.dram_j == pytest.approx(76e9 * 8 * 4.5e-12)


def test_selection_runs_on_the_bank_and_costs_more_without_one() -> None:
    op = Index("s", "", "FF", ("w",), ("c",), "nm_select", 4096, 8)
    bank, general = SAT.unit_for("nm_select"), load("systolic-32x32").unit_for("nm_select")
    assert bank is not None and bank.name == "reduction_engine" and general is not None
    assert unit_cost(op, SAT, bank, 0.0, "fp16").cycles == 4096 / 32
    compared = unit_cost(op, load("systolic-32x32"), general, 0.0, "fp16")
    assert compared.cycles == 4096 / 32 and compared.flops == 4096 * 8  # eight comparisons deep, as the lanes are


def test_what_ops_move() -> None:
    tensors = {
        "table": Tensor("table", (1000, 64), "fp16", "weight"), "ids": Tensor("ids", (10,), "int64", "index"),
        "rows": Tensor("rows", (10, 64), "fp16", "activation"),
    }  # fmt: skip
    gather = Index("g", "", "FF", ("table", "ids"), ("rows",), "gather", 640)
    assert moved_bytes(gather, tensors) == (640 * 2 + 80, 1280)
    assert moved_bytes(gather, tensors, {"rows"}) == (1360, 0)
    view = Transfer("v", "", "FF", ("rows",), ("rows",), "view", 0)
    assert moved_bytes(view, tensors) == (0, 0)


def test_stored_bytes_of_nm() -> None:
    """2:8 fp16: a quarter of the words with 3 bits of offset each."""
    dense = Tensor("w", (32, 128), "fp16", "weight")
    sparse = Tensor("w", (32, 128), "fp16", "weight", NM(2, 8, "k"))
    assert stored_bytes(dense) == 8192
    assert stored_bytes(sparse) == 4096 * (16 + 3) // 4 // 8


def test_footprint_by_hand() -> None:
    """x 16 KiB, w and v fp32 16 KiB each, w@FF 2:8 live on; y and dy 4 KiB, dw 8 KiB; y dies when dy is born."""
    memory = footprint(step())
    lasting = 64 * 128 * 2 + 2 * 32 * 128 * 4 + 4096 * 19 // 32
    assert memory.weight_bytes == memory.optimizer_bytes == 32 * 128 * 4
    assert memory.gradient_bytes == 32 * 128 * 2
    assert memory.saved_activation_bytes == 64 * 32 * 2
    assert memory.peak_bytes == lasting + 4096 + 8192
    inference = footprint(forward())
    assert inference.peak_bytes == 16384 + 8192 + 2 * 4096
    assert inference.saved_activation_bytes == inference.optimizer_bytes == inference.gradient_bytes == 0


def test_ops_without_a_unit_are_named_and_free() -> None:
    result = simulate(forward(), load("systolic-8x8").model_copy(update={"units": ()}))
    assert result.uncosted == ("relu", "softmax")
    assert any("2 ops have no unit" in note for note in result.notes)
    assert result.latency_s == pytest.approx(next(row.latency_s for row in result.rows if row.op == "fc"))


def test_simulation_is_repeatable_and_adds_up() -> None:
    for fidelity in ("analytic", "tile"):
        one, two = (simulate(step(), SAT, fidelity=fidelity) for _ in range(2))  # type: ignore[arg-type]
        assert one == two
        assert one.latency_s == max(row.end_s for row in one.rows)
        assert one.energy_j == pytest.approx(sum(row.energy_j for row in one.rows) + one.static_j)
        assert one.total("macs") == 2 * 64 * 32 * 128
    overhead = simulate(step(), load("sat-vcu1525", {"host.launch_overhead_s": 1e-3}))
    assert overhead.latency_s > 4e-3


def test_what_flows_is_not_launched() -> None:
    """fc, and the softmax behind it; the ReLU takes the sums on their way out and is part of the first."""
    free, paid = (simulate(forward(), load("systolic-8x8", {"host.launch_overhead_s": s})) for s in (0.0, 1e-3))
    assert paid.latency_s - free.latency_s == pytest.approx(2e-3, rel=1e-6)
    more = [paid_.latency_s - free_.latency_s for paid_, free_ in zip(paid.rows, free.rows, strict=True)]
    assert more == pytest.approx([1e-3, 0.0, 1e-3])


def test_weights_that_stay_compressed_take_less_memory() -> None:
    """2:4 in fp16 with 2-bit offsets: 9 bits a weight, if the memory keeps offsets and every reader sees the zeros."""
    plain = forward()
    (fc,) = plain.einsums
    pruned = plain.with_ops(tuple(replace(fc, patterns={1: NM(2, 4, "k")}) if op is fc else op for op in plain.ops))
    assert footprint(pruned).weight_bytes == 32 * 128 * 2
    assert footprint(pruned, OFFSETS).weight_bytes == 32 * 128 * 9 // 8
    assert footprint(pruned).peak_bytes - footprint(pruned, OFFSETS).peak_bytes == 32 * 128 * 7 // 8
    assert footprint(plain, OFFSETS) == footprint(plain)


def test_batch_statistics_take_a_pass_of_their_own() -> None:
    tensors = {name: Tensor(name, shape, "fp16", "activation") for name, shape in
               (("x", (8, 4, 10)), ("y", (8, 4, 10)), ("scale", (4,)))}  # fmt: skip
    norm = Vector("bn", "bn", "FF", ("x", "scale"), ("y",), "batch_norm", 320, 7.0)
    assert moved_bytes(norm, tensors) == (2 * 640 + 8, 640)
    assert moved_bytes(replace(norm, function="batch_norm_eval"), tensors) == (640 + 8, 640)


def test_arguments_in_the_wrong_order_are_named() -> None:
    with pytest.raises(SimulationError, match="a workload and an accelerator, in this order; got str and Workload"):
        simulate("sat-vcu1525", forward())  # type: ignore[arg-type]
    assert simulate(forward(), "sat-vcu1525") == simulate(forward(), load("sat-vcu1525"))


def test_what_is_done_in_place_moves_its_part() -> None:
    """10 rows of 64 put among 1,000: read and written once, with their places; sums read the old rows too."""
    tensors = {
        "table": Tensor("table", (1000, 64), "fp16", "input"), "ids": Tensor("ids", (10,), "int64", "index"),
        "rows": Tensor("rows", (10, 64), "fp16", "activation"), "out": Tensor("out", (1000, 64), "fp16", "activation"),
    }  # fmt: skip
    part = 10 * 64 * 2
    for function, old in (("scatter", 0), ("scatter_add", part)):
        put = Index("put", "", "FF", ("table", "ids", "rows"), ("out",), function, 640, in_place=True)
        assert moved_bytes(put, tensors) == (part + 80 + old, part)
    assert moved_bytes(replace(put, in_place=False), tensors)[1] == 1000 * 64 * 2

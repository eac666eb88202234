"""What a controller changes about the op list, and what that is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_workloads import attention, forward, step

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.simulator.rewrite import plan
from zerocast.workloads import Vector


def names(accelerator: str, **switches: bool) -> list[str]:
    overrides = {f"schedule.{name}": value for name, value in switches.items()}
    return [op.name for op in plan(step(), load(accelerator, overrides)).workload.ops]


def test_pregeneration_moves_the_selection_behind_the_update() -> None:
    assert names("sat-vcu1525", pregenerate=False) == ["select", "fc", "loss", "fc.WU", "update"]
    assert names("sat-vcu1525", pregenerate=True) == ["fc", "loss", "fc.WU", "update", "select"]
    planned = plan(step(), load("sat-vcu1525"))
    assert planned.on_chip["select"] == {"w"} and planned.along["select"] == ("update",)
    (moved,) = [op for op in planned.workload.ops if op.name == "select"]
    assert moved.phase == "UPDATE"


def test_pregeneration_keeps_everything_but_the_weights_second_trip() -> None:
    """The selector takes the weights from the update engine: their bytes are read once less, and no time is lost."""
    late, early = (simulate(step(), load("sat-vcu1525", {"schedule.pregenerate": on})) for on in (False, True))
    assert late.total("macs") == early.total("macs")
    saved = late.total("dram_read_bytes") - early.total("dram_read_bytes")
    assert saved == 32 * 128 * 4
    assert late.total("dram_write_bytes") == early.total("dram_write_bytes")
    assert early.latency_s < late.latency_s
    rows = {row.op: row for row in early.rows}
    assert rows["select"].start_s >= rows["update"].start_s and rows["select"].end_s >= rows["update"].end_s
    assert rows["fc"].start_s == 0.0


def test_streaming_keeps_the_tensor_between_on_chip() -> None:
    planned = plan(forward(), load("systolic-8x8"))
    assert planned.on_chip == {"fc": {"y"}, "relu": {"y"}} and planned.along == {"relu": ("fc",)}
    apart = load("systolic-8x8").model_copy(update={"units": ()})
    assert plan(forward(), apart).on_chip == {}
    streamed = simulate(forward(), load("systolic-8x8"))
    unit = load("systolic-8x8").units[0].model_copy(update={"streams": False})
    fetched = simulate(forward(), load("systolic-8x8").model_copy(update={"units": (unit,)}))
    size = 64 * 32 * 2
    assert fetched.total("dram_write_bytes") - streamed.total("dram_write_bytes") == pytest.approx(size)
    assert fetched.total("dram_read_bytes") - streamed.total("dram_read_bytes") == pytest.approx(size)
    assert streamed.latency_s < fetched.latency_s


def test_a_tensor_that_others_read_is_not_streamed() -> None:
    workload = forward()
    softmax = replace(workload.ops[2], inputs=("y",))
    assert plan(workload.with_ops((*workload.ops[:2], softmax)), load("systolic-8x8")).on_chip == {}


def test_only_elementwise_work_is_streamed() -> None:
    workload = forward()
    relu = workload.ops[1]
    assert isinstance(relu, Vector)
    whole = replace(relu, elementwise=False)
    assert plan(workload.with_ops((workload.ops[0], whole, workload.ops[2])), load("systolic-8x8")).along == {}


def test_one_op_streams_out_of_each_source() -> None:
    """A product's result passes through the ReLU; what follows fetches the ReLU's result unless it streams too."""
    workload = forward()
    scale = Vector("scale", "act", "FF", ("z",), ("s",), "mul", 64 * 32, 1.0, elementwise=True)
    planned = plan(workload.with_ops((*workload.ops[:2], scale)), load("systolic-8x8"))
    assert planned.along == {"relu": ("fc",), "scale": ("relu",)}
    assert planned.on_chip == {"fc": {"y"}, "relu": {"y", "z"}, "scale": {"z"}}


def test_attention_is_one_kernel_on_a_gpu() -> None:
    """Scores and probabilities stay on chip: what moves is q, k, v and the output, and one kernel is launched."""
    card = load("nvidia-h100-sxm", {"host.launch_overhead_s": 1e-3})
    result = simulate(attention(), card)
    rows = {row.op: row for row in result.rows}
    one = 4 * 64 * 32 * 2
    assert [rows[name].dram_read_bytes for name in ("qk", "softmax", "pv")] == [2 * one, 0, one]
    assert [rows[name].dram_write_bytes for name in ("qk", "softmax", "pv")] == [0, 0, one]
    assert rows["qk"].latency_s > 1e-3 > rows["softmax"].latency_s + rows["pv"].latency_s


def test_probabilities_that_are_read_again_are_stored() -> None:
    rows = {row.op: row for row in simulate(attention(saved=True), "nvidia-h100-sxm").rows}
    assert rows["softmax"].dram_write_bytes == rows["qk"].dram_write_bytes == 4 * 64 * 64 * 2


def test_arrays_do_not_fuse_attention() -> None:
    rows = {row.op: row for row in simulate(attention(), "tpu-like-128").rows}
    assert rows["qk"].dram_write_bytes == 4 * 64 * 64 * 2


def test_a_chain_of_streamed_ops_is_one_pass_of_its_unit() -> None:
    """fc -> relu -> tanh: the unit applies both to each element, so that the second costs lanes, not a wait."""
    machine = load("systolic-8x8")
    base = forward()
    tensors = {**base.tensors, "t": replace(base.tensors["z"], name="t")}
    tanh = Vector("tanh", "act", "FF", ("z",), ("t",), "tanh", 64 * 32, 1.0, elementwise=True)
    one = base.with_ops(base.ops[:2])
    two = replace(base, tensors=tensors, ops=(*base.ops[:2], tanh))
    assert plan(two, machine).along == {"relu": ("fc",), "tanh": ("relu",)}
    short, long = simulate(one, machine), simulate(two, machine)
    assert long.latency_s == pytest.approx(short.latency_s, rel=1e-9)  # the array is the longer of the two
    rows = {row.op: row for row in long.rows}
    assert (rows["tanh"].start_s, rows["tanh"].end_s) == (rows["relu"].start_s, rows["relu"].end_s)
    slow = load("systolic-8x8", {"units.vector_unit.lanes": 1, "technology.clock_hz": 1e7})
    long = simulate(two, slow)
    assert long.latency_s >= sum(row.latency_s for row in long.rows[1:]) == pytest.approx(2 * 64 * 32 / 1e7)


def test_an_op_that_waits_for_something_later_has_no_host() -> None:
    """s = relu(fc) + softmax(other): the sum needs what is made behind its source, and starts when that is there."""
    base = forward()
    late = replace(base.ops[2], name="late", inputs=("w",), outputs=("s",))
    tensors = {**base.tensors, "t": replace(base.tensors["z"], name="t")}
    add = Vector("add", "", "FF", ("z", "s"), ("t",), "add", 64 * 32, 1.0, elementwise=True)
    workload = replace(base, tensors=tensors, ops=(*base.ops[:2], late, add))
    rows = {row.op: row for row in simulate(workload, load("systolic-8x8")).rows}
    assert rows["add"].start_s >= rows["late"].end_s > rows["relu"].start_s


def test_a_result_of_the_network_is_stored() -> None:
    """y is handed back, so that the ReLU behind it does not keep it on chip; a training step hands nothing back."""
    workload = replace(forward(), meta={"outputs": "y,s"})
    assert plan(workload, load("systolic-8x8")).on_chip == {}
    training = replace(forward(), meta={"outputs": "y,s", "training": True})
    assert plan(training, load("systolic-8x8")).on_chip == plan(forward(), load("systolic-8x8")).on_chip != {}

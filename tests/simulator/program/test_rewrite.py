"""What a controller changes about the op list, and what that is worth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_workloads import attention, forward, linear, step
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.simulator.program.rewrite import plan
from zerocast.workloads import Vector, Workload, capture, prune


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


class Beside(nn.Module):
    """Two convolutions whose outputs lie behind each other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 16, 1), nn.Conv2d(8, 24, 1)
        self.c = nn.Conv2d(40, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.cat([self.a(x), self.b(x)], 1))


def test_a_concatenation_in_place_moves_nothing() -> None:
    """Both parts are read and the whole is written once less; the whole is still fetched by its reader."""
    workload = capture(Beside().half(), (torch.zeros(1, 8, 10, 10, dtype=torch.half),))
    apart, joined = (simulate(workload, load("systolic-8x8", {"schedule.joins_in_place": on})) for on in (False, True))
    size = 40 * 100 * 2
    assert apart.total("dram_read_bytes") - joined.total("dram_read_bytes") == size
    assert apart.total("dram_write_bytes") - joined.total("dram_write_bytes") == size
    assert apart.total("macs") == joined.total("macs")
    assert joined.latency_s < apart.latency_s


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


def joined(late: bool) -> Workload:
    """t = relu(fc) + side(x): the other product comes behind the first chain, or (late false) before it."""
    base = forward()
    fc, relu = base.ops[:2]
    side = linear("side", "FF", ("x", "w"), "s")
    add = Vector("add", "", "FF", ("z", "s"), ("t",), "add", 64 * 32, 1.0, elementwise=True)
    tensors = {**base.tensors, "t": replace(base.tensors["z"], name="t")}
    return replace(base, tensors=tensors, ops=(fc, relu, side, add) if late else (side, fc, relu, add))


@pytest.mark.parametrize("late", [True, False])
def test_of_two_operands_the_last_made_flows(late: bool) -> None:
    """The array is done with the other one long before: it goes off chip and comes back, 4096 bytes each way."""
    workload, machine = joined(late), load("systolic-8x8")
    planned = plan(workload, machine)
    assert planned.along["add"] == (("side",) if late else ("relu",))
    rows = {row.op: row for row in simulate(workload, machine).rows}
    kept, flows = ("relu", "side") if late else ("side", "relu")
    assert (rows[kept].dram_write_bytes, rows[flows].dram_write_bytes) == (4096, 0)
    assert (rows["add"].dram_read_bytes, rows["add"].dram_write_bytes) == (4096, 4096)


def test_what_flows_is_taken_while_it_is_made() -> None:
    """Nothing lies between taker and source. The second product could run while a slow unit works on the first, but has
    nowhere to put its sums."""
    machine = load("systolic-8x8", {"units.vector_unit.lanes": 1, "units.vector_unit.flops_per_lane": 1})
    given = joined(late=True)
    heavy = tuple(replace(op, flops_per_element=8.0) if isinstance(op, Vector) else op for op in given.ops)
    workload = given.with_ops(heavy)
    rows = {row.op: row for row in simulate(workload, machine).rows}
    for taker, (source,) in plan(workload, machine).along.items():
        assert (rows[taker].start_s, rows[taker].end_s) == (rows[source].start_s, rows[source].end_s)
    assert rows["side"].start_s == rows["relu"].end_s == pytest.approx(8 * 64 * 32 / 1e9)


def test_nothing_flows_into_an_op_that_waits_for_something_later() -> None:
    """t = relu(fc) + softmax(other): no operand can flow; both are fetched, and the sum starts when they are there."""
    base = forward()
    late = replace(base.ops[2], name="late", inputs=("w",), outputs=("s",))
    tensors = {**base.tensors, "t": replace(base.tensors["z"], name="t")}
    add = Vector("add", "", "FF", ("z", "s"), ("t",), "add", 64 * 32, 1.0, elementwise=True)
    workload = replace(base, tensors=tensors, ops=(*base.ops[:2], late, add))
    machine = load("systolic-8x8")
    assert plan(workload, machine).along == {"relu": ("fc",)}
    rows = {row.op: row for row in simulate(workload, machine).rows}
    assert rows["add"].start_s >= rows["late"].end_s and rows["add"].dram_read_bytes == 2 * 4096
    assert rows["relu"].dram_write_bytes == 4096


def test_bytes_of_a_bdwp_update_by_hand() -> None:
    """64 to 128 features, 8,192 weights. The update reads an fp16 gradient, fp32 master and momentum, and writes the
    fp16 weight and both back. 2:8 of the forward pass is selected as the weights come out; that of the backward pass,
    along the other rank, fetches them, 2 bytes each. Each copy keeps 2,048 words of 16 bits, and offsets of 3."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
    model, pruning = prune(model, "bdwp:2:8")
    workload = capture(model, torch.zeros(32, 16), training=True, pruning=pruning)
    rows = {row.op: row for row in simulate(workload, "sat-vcu1525").rows}
    moved = {name: (rows[name].dram_read_bytes, rows[name].dram_write_bytes)
             for name in ("2.weight.UPDATE", "2.weight@FF.select", "2.weight@BP.select")}  # fmt: skip
    copy = 2048 * 19 // 8
    assert moved["2.weight.UPDATE"] == (8192 * (2 + 4 + 4), 8192 * (2 + 4 + 4))
    assert moved["2.weight@FF.select"] == (0, copy)
    assert moved["2.weight@BP.select"] == (8192 * 2, copy)
    update, first, second = (rows[name] for name in moved)
    assert (first.start_s, first.end_s) == (update.start_s, update.end_s)
    assert second.start_s >= update.end_s


def test_a_result_of_the_network_is_stored() -> None:
    """y is handed back, so that the ReLU behind it does not keep it on chip; a training step hands nothing back."""
    workload = replace(forward(), meta={"outputs": ("y", "s")})
    assert plan(workload, load("systolic-8x8")).on_chip == {}
    training = replace(forward(), meta={"outputs": ("y", "s"), "training": True})
    assert plan(training, load("systolic-8x8")).on_chip == plan(forward(), load("systolic-8x8")).on_chip != {}

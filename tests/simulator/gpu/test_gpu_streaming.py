"""Kernels that only stream on a GPU: depthwise convolutions in every pass, elementwise work, views. Counted by hand."""

from __future__ import annotations

import pytest

from zerocast.accelerators import Accelerator, load
from zerocast.simulator import simulate
from zerocast.simulator.gpu.convolution import is_depthwise
from zerocast.simulator.gpu.fit.calibration import calibration_of
from zerocast.workloads import Einsum, Tensor, Transfer, Vector, Workload
from zerocast.workloads.ir import Affine

A100 = load("nvidia-a100-sxm-80g")
STREAMING = calibration_of("ampere").streaming
FLOOR_S = calibration_of("ampere").of("dense_16bit").constants.floor_s
LETTERS = {rank: rank for rank in "ngckpqrs"}


def convolution(groups: int, c: int, k: int, stride: int, names: dict[str, str] = LETTERS) -> Workload:
    """Forward, input and weight gradient of a 3 x 3 convolution: 64 images of 56 x 56, `c` and `k` channels a group."""
    out = 56 // stride

    def plain(*ranks: str) -> tuple[Affine, ...]:
        return tuple(((names[rank], 1),) for rank in ranks)

    def channel(rank: str, size: int) -> Affine:
        return ((names["g"], size), (names[rank], 1))

    x = (*plain("n"), channel("c", c), ((names["p"], stride), (names["r"], 1)), ((names["q"], stride), (names["s"], 1)))
    w = (channel("k", k), *plain("c", "r", "s"))
    y = (*plain("n"), channel("k", k), *plain("p", "q"))
    lengths = {"n": 64, "g": groups, "k": k, "c": c, "p": out, "q": out, "r": 3, "s": 3}
    sizes = {names[rank]: size for rank, size in lengths.items()}
    shapes = {"x": (64, groups * c, 56, 56), "w": (groups * k, c, 3, 3), "y": (64, groups * k, out, out)}
    tensors = {
        prefix + name: Tensor(prefix + name, shape, "bf16", role)  # type: ignore[arg-type]
        for prefix, role in (("", "activation"), ("d", "gradient")) for name, shape in shapes.items()
    }  # fmt: skip
    ops = (
        Einsum("ff", "conv", "FF", ("x", "w"), ("y",), sizes, (x, w, y)),
        Einsum("bp", "conv", "BP", ("dy", "w"), ("dx",), sizes, (y, w, x)),
        Einsum("wu", "conv", "WU", ("dy", "x"), ("dw",), sizes, (y, x, w)),
    )
    return Workload("conv", tensors, ops)


def streamed_by_hand(moved: float) -> float:
    """36 % of 40 MB come from the L2 at 11 bytes a cycle for each of 108 SMs, the rest at 86 % of 2,039 GB/s."""
    found = min(0.36 * 40e6, moved)
    return (moved - found) / (0.77 * 2039e9) + found / max(11 * 108 * 1.41e9, 0.77 * 2039e9)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_is_one_roofline_in_every_pass(stride: int) -> None:
    """96 channels of 56 x 56, batch 64: both maps and 864 taps once, whatever the pass and the stride; the launch is
    the class's."""
    image, output = 64 * 96 * 56 * 56, 64 * 96 * (56 // stride) ** 2
    moved = 2 * (image + output + 96 * 9)
    work_s = 2 * output * 9 / (6912 * 2 * 1.41e9)
    for row in simulate(convolution(96, 1, 1, stride), A100).rows:
        assert row.order == "direct" and row.macs == output * 9
        assert row.dram_read_bytes + row.dram_write_bytes == moved
        slower = 1 if row.phase == "FF" else STREAMING.backward
        busy_s = max(streamed_by_hand(moved) / slower, work_s)
        assert row.latency_s == pytest.approx(busy_s + FLOOR_S, rel=1e-6)  # floor less gap, and the gap again


def test_what_is_depthwise() -> None:
    """By the ranks' part in the three tensors: letters, pass and a multiplier of channels make no difference."""
    turned = dict(zip("ngckpqrs", "xphcknwy", strict=True))
    for names in (LETTERS, turned):
        for depthwise in (convolution(96, 1, 1, 2, names), convolution(32, 1, 4, 1, names), convolution(8, 4, 1, 1)):
            assert all(is_depthwise(op) for op in depthwise.ops if isinstance(op, Einsum))
        for other in (convolution(1, 1, 1, 1, names), convolution(32, 4, 4, 1, names), convolution(1, 96, 1, 1, names)):
            assert not any(is_depthwise(op) for op in other.ops if isinstance(op, Einsum))
    rows = tuple(((rank, 1),) for rank in "bm"), tuple(((rank, 1),) for rank in "bk")
    batched = Einsum("e", "", "FF", ("a", "b"), ("y",), {"b": 8, "m": 1, "k": 64}, (*rows, ((("b", 1),),)))
    assert not is_depthwise(batched)


def test_vector_kernels_reach_their_share_of_the_bandwidth() -> None:
    """Two times 268 MB through 2,039 GB/s, what fits from the L2; a view after it is not launched."""
    elements = 1 << 27
    tensors = {name: Tensor(name, (elements,), "bf16", "activation") for name in ("x", "y", "z")}
    relu = Vector("relu", "act", "FF", ("x",), ("y",), "relu", elements, 1.0)
    view = Transfer("view", "act", "FF", ("y",), ("z",), "view", 0)
    card = load("nvidia-a100-sxm-80g", {"gpu.tdp_w": 2000.0})  # at its own limit it would lower its clock
    rows = simulate(Workload("relu", tensors, (relu, view)), card).rows
    launch_s = A100.host.launch_overhead_s
    assert rows[0].bound == "dram"
    assert rows[0].latency_s == pytest.approx(streamed_by_hand(4 * elements) + STREAMING.floor_s + launch_s, rel=1e-6)
    assert rows[1].latency_s == 0


@pytest.mark.parametrize("card", ["nvidia-a100-sxm-80g", "nvidia-h100-pcie", "sat-vcu1525"])
def test_views_cost_nothing_and_copies_a_launch(card: str) -> None:
    accelerator: Accelerator = load(card)
    tensors = {name: Tensor(name, (64,), "fp16", "activation") for name in "xyz"}
    ops = (Transfer("v", "", "FF", ("x",), ("y",), "view", 0), Transfer("c", "", "FF", ("y",), ("z",), "copy", 64))
    rows = simulate(Workload("views", tensors, ops), accelerator).rows
    assert rows[0].latency_s == rows[0].energy_j == 0
    assert rows[1].latency_s > accelerator.host.launch_overhead_s

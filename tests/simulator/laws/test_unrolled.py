"""Arrays that unroll ranks by what they do: channels, pixels, kernel positions."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zerocast.accelerators import load
from zerocast.accelerators.errors import AcceleratorError
from zerocast.accelerators.schema import Accelerator, Role
from zerocast.simulator import simulate
from zerocast.simulator.cost import OpRow
from zerocast.workloads import capture


def _array(rows: int, cols: int, unroll: dict[Role, int], **changes: object) -> Accelerator:
    return load(f"systolic-{rows}x{cols}", {"compute.dataflows": ["unrolled"], "compute.unroll": unroll, **changes})


def _row(module: nn.Module, x: torch.Tensor, accelerator: Accelerator) -> OpRow:
    rows = simulate(capture(module.half(), x.half(), name="layer"), accelerator, objective="cycles").rows
    return next(row for row in rows if row.kind == "einsum")


PIXELS: dict[Role, int] = {"out_channels": 8, "in_channels": 8, "out_rows": 4, "out_cols": 4}


@pytest.mark.parametrize(
    ("layer", "size", "cycles"),
    [
        (nn.Conv2d(3, 64, 7, 2, 3), 224, 8 * 28 * 28 * 49),
        (nn.Conv2d(256, 384, 3, 1, 1), 13, 32 * 48 * 4 * 4 * 9),
        (nn.Conv2d(512, 512, 3, 1, 1, groups=512), 14, 512 * 4 * 4 * 9),
    ],
)
def test_first_small_and_depthwise_layers_leave_their_ranks_idle(layer: nn.Conv2d, size: int, cycles: int) -> None:
    """8 x 8 channels x 4 x 4 pixels: 307,328, 221,184 and 73,728 cycles by hand, three of them with a rank that the
    array cannot fill."""
    row = _row(layer, torch.zeros(1, layer.in_channels, size, size), _array(32, 32, PIXELS))
    assert row.cycles == cycles
    assert row.lost_edge_cycles == pytest.approx(cycles - row.ideal_cycles)


def test_an_array_of_channels_runs_one_pixel_a_cycle() -> None:
    """64 output x 4 input channels, 3 to 32 on 112 x 112 with 3 x 3: 112,896 cycles."""
    layer = nn.Conv2d(3, 32, 3, 2, 1)
    unroll: dict[Role, int] = {"out_channels": 64, "in_channels": 4}
    assert _row(layer, torch.zeros(1, 3, 224, 224), _array(16, 16, unroll)).cycles == 112 * 112 * 9


BOARD: dict[Role, int] = {"out_cols": 8, "in_channels": 16, "out_channels": 16}
LANES: dict[Role, int] = {"out_cols": 4, "groups": 16}


@pytest.mark.parametrize(
    ("layer", "size", "cycles"),
    [
        (nn.Conv2d(32, 32, 3, 1, 1, groups=32), 112, 2 * 112 * 28 * 9),
        (nn.Conv2d(3, 24, 7, 2, 3, groups=3), 224, 8 * 112 * 28 * 49),
        (nn.Conv2d(64, 64, 3, 1, 1, groups=32), 16, 32 * 16 * 2 * 9),
        (nn.Conv2d(1, 16, 3, 1, 1), 16, 16 * 2 * 9),
    ],
)
def test_depthwise_convolutions_run_on_lanes_of_their_own(layer: nn.Conv2d, size: int, cycles: int) -> None:
    """4 pixels x 16 groups a cycle, several filters of a channel in turn; groups of two channels, and one channel that
    is no group, stay on the array."""
    array = _array(32, 64, BOARD, **{"compute.depthwise": LANES})
    assert _row(layer, torch.zeros(1, layer.in_channels, size, size), array).cycles == cycles


@pytest.mark.parametrize(
    ("channels", "kernel", "steps"), [(3, 7, 7 * 2), (3, 3, 3), (8, 5, 5 * 3), (9, 3, 9), (16, 3, 9), (1, 7, 7)]
)
def test_few_input_channels_take_kernel_columns_along(channels: int, kernel: int, steps: int) -> None:
    """16 lanes take as many whole kernel columns of all channels as fit."""
    layer = nn.Conv2d(channels, 64, kernel, 2, kernel // 2)
    array = _array(32, 64, BOARD, **{"compute.packs_kernel_cols": True})
    assert _row(layer, torch.zeros(1, channels, 224, 224), array).cycles == 4 * 112 * 14 * steps


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 9), filters=st.integers(1, 9), size=st.integers(3, 9), kernel=st.sampled_from([1, 3]),
    batch=st.integers(1, 3),
    unroll=st.dictionaries(
        st.sampled_from(get_args(Role)),
        st.integers(1, 4), min_size=1,
    ),
)  # fmt: skip
def test_cycles_are_the_blocks_of_the_loop_nest(
    channels: int, filters: int, size: int, kernel: int, batch: int, unroll: dict[Role, int]
) -> None:
    """One cycle for each distinct block of indices that the multipliers take at once, counted one by one."""
    layer = nn.Conv2d(channels, filters, kernel)
    row = _row(layer, torch.zeros(batch, channels, size, size), _array(1, math.prod(unroll.values()), unroll))
    out = size - kernel + 1
    sizes = dict(zip(get_args(Role), (1, batch, out, out, filters, channels, kernel, kernel), strict=True))
    blocks = {
        tuple(place // unroll.get(role, 1) for place, role in zip(point, sizes, strict=True))  # type: ignore[call-overload]
        for point in itertools.product(*(range(extent) for extent in sizes.values()))
    }
    assert row.cycles == len(blocks)


def test_small_buffers_change_the_traffic_and_not_the_cycles() -> None:
    layer, x = nn.Conv2d(64, 64, 3, 1, 1), torch.zeros(1, 64, 30, 30)
    small = _array(32, 32, PIXELS, **{f"memories.{side}_buffer.capacity_bytes": 16384 for side in ("input", "weight")})
    large, tight = _row(layer, x, _array(32, 32, PIXELS)), _row(layer, x, small)
    assert tight.cycles == large.cycles == 8 * 8 * 8 * 8 * 9
    assert tight.dram_read_bytes > large.dram_read_bytes


@pytest.mark.parametrize(
    ("unroll", "message"),
    [
        ({"out_channels": 8}, "takes 8 multipliers, the array has 16"),
        ({}, "belong together"),
        ({"channels": 16}, "unroll"),
    ],
)
def test_what_does_not_unroll_the_array_is_refused(unroll: dict[str, int], message: str) -> None:
    with pytest.raises(AcceleratorError, match=message):
        load("systolic-4x4", {"compute.dataflows": ["unrolled"], "compute.unroll": unroll})


@pytest.mark.parametrize("name", ["depthwise", "packs_kernel_cols"])
def test_lanes_of_an_array_that_is_not_unrolled_are_refused(name: str) -> None:
    value = {"depthwise": LANES, "packs_kernel_cols": True}[name]
    with pytest.raises(AcceleratorError, match=f"{name}: belongs to dataflow unrolled"):
        load("systolic-4x4", {f"compute.{name}": value})

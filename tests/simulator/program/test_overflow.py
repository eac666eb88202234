"""A workload that needs more memory than there is: refused with what fits, by hand and by capturing it again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_workloads import attention, forward, step
from torch import nn

from zerocast.accelerators import Accelerator, load
from zerocast.simulator import DoesNotFit, SimulationError, simulate
from zerocast.simulator.program.fit import largest_batch
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.program import program
from zerocast.workloads import Workload, capture
from zerocast.workloads.ir import Tensor, Transfer


def card(capacity: float, **more: Any) -> Accelerator:
    return load("nvidia-a100-sxm-80g", {"memories.hbm.capacity_bytes": capacity, "gpu.regime": "eager", **more})


def network(batch: int, training: bool = False) -> Workload:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 32))
    return capture(model, torch.zeros(batch, 64), training=training, optimizer="adamw", name="mlp", dtype="bf16")


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    """Linear 64 x 128 by 128 x 32 in fp16: x 16 KiB, w 8 KiB, y and z 4 KiB each at the peak."""
    peak = 16384 + 8192 + 2 * 4096
    assert simulate(forward(), card(peak)).notes == simulate(forward(), card(1e9)).notes
    with pytest.raises(SimulationError) as caught:
        simulate(forward(), card(peak - 1))
    text = str(caught.value)
    assert "\n" not in text and "needs 0.0 GB at its peak" in text and "--" not in text
    allowed = simulate(forward(), card(peak - 1), allow_overflow=True)
    assert allowed.latency_s == simulate(forward(), card(peak)).latency_s
    assert any("needs 0.0 GB at its peak" in note for note in allowed.notes)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch", [64, 1000])
def test_the_batch_that_is_named_fits_and_one_more_does_not(training: bool, batch: int) -> None:
    """The message's batch against captures at that batch and the next."""
    capacity = program(network(37, training), card(1e9)).footprint.peak_bytes + 100
    with pytest.raises(SimulationError, match=rf"a batch of 37 in place of {batch} fits"):
        simulate(network(batch, training), card(capacity))
    simulate(network(37, training), card(capacity))
    with pytest.raises(SimulationError):
        simulate(network(38, training), card(capacity))


def test_weights_alone_name_a_card_that_holds_them() -> None:
    """64 x 2^30 elements in fp16 are 137 GB: an A100 has 80, an H200 141, nothing of the family 200."""
    big = {**forward().tensors, "w": Tensor("w", (2**30, 64), "fp16", "weight")}
    workload = replace(forward(), tensors=big, meta={"batch": 64})
    with pytest.raises(SimulationError, match=r"needs 137.4 GB .* has 80.0 GB; 137.4 GB .*; nvidia-h200-sxm fits it"):
        simulate(workload, "nvidia-a100-sxm-80g")
    huge = replace(workload, tensors={**big, "w": Tensor("w", (2**32, 64), "fp16", "weight")})
    with pytest.raises(SimulationError, match="one of its layers alone is too large"):
        simulate(huge, "nvidia-a100-sxm-80g")


def test_only_the_designs_that_are_too_small_fail() -> None:
    fits, small = (card(16384 + 8192 + 2 * 4096 - less) for less in (0, 1))
    one, two, three = simulate(forward(), [small, fits, card(1e9)])
    assert isinstance(one, DoesNotFit)
    assert two == three != one
    assert simulate(forward(), [small], allow_overflow=True) == [two]


def test_a_weight_gradient_does_not_grow_with_the_batch() -> None:
    """x and y grow; w, v and the offsets stay, and dw, written by a pass WU: 64 samples, capacity for 32."""
    planned = program(replace(step(), meta={"batch": 64}), load("sat-vcu1525"))
    fixed = 2 * 32 * 128 * 4 + 4096 * 19 // 32 + 32 * 128 * 2  # w, v, w@FF, dw
    per_sample = 128 * 2 + 32 * 2  # x, dy
    for samples in (32, 33):
        found = largest_batch(planned.plan.workload, planned.lives(), fixed + per_sample * samples)
        assert found == samples


def test_what_stays_on_chip_takes_no_memory() -> None:
    """Attention of 4 heads, 64 tokens, width 32 as one kernel: no scores, at its end the values and the output."""
    workload = attention()
    assert footprint(workload).peak_bytes == 2 * 4 * 64 * 64 * 2
    assert program(workload, load("nvidia-h100-sxm")).footprint.peak_bytes == 2 * 4 * 64 * 32 * 2


def test_a_tensor_lives_as_long_as_a_part_of_it() -> None:
    """y is cut in two after it is made; its 4 KiB stay while a part is read, beside the 4 KiB of the sum."""
    base = forward()
    tensors = {name: t for name, t in base.tensors.items() if name != "z"}
    tensors |= {name: Tensor(name, (32, 32), "fp16", "activation") for name in ("first", "second")}
    cut = Transfer("cut", "", "FF", ("y",), ("first", "second"), "split", 0)
    relu = replace(base.ops[1], inputs=("second",), outputs=("s",))
    workload = replace(base, tensors=tensors, ops=(base.ops[0], cut, relu))
    assert footprint(workload).peak_bytes == 16384 + 8192 + 4096 + 4096


def test_a_cache_that_grows_takes_what_it_grows_by() -> None:
    tensors = {name: Tensor(name, (4, rows, 8), "fp16", role) for name, rows, role in
               (("cache", 16, "input"), ("new", 1, "activation"), ("longer", 17, "activation"))}  # type: ignore[arg-type]  # fmt: skip
    make = Transfer("make", "", "FF", ("cache",), ("new",), "copy", 32)
    grow = Transfer("grow", "", "FF", ("cache", "new"), ("longer",), "cat", 32, in_place=True)
    assert footprint(Workload("decode", tensors, (make, grow))).peak_bytes == (16 + 1 + 1) * 32 * 2

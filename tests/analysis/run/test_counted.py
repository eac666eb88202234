"""Operations by pass: closed forms of a small network, and conventions of published tables."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerocast.analysis.cli import main
from zerocast.analysis.run.counted import Count, counted, published_step, size_bytes
from zerocast.workloads import build, capture, prune


class Mixer(nn.Module):
    """Two layers with weights and a product of two activations: x W1 -> s = h h^T -> (s h) W2."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16, bias=False), nn.Linear(16, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        return self.last((h @ h.transpose(1, 2)) @ h)


FIRST, SCORES, MIXED, LAST = 2 * 4 * 8 * 16, 2 * 4 * 4 * 16, 2 * 4 * 4 * 16, 2 * 4 * 16 * 32
"""Multiply-accumulates of two samples of four rows."""


def test_passes_of_a_small_network() -> None:
    model, pruning = prune(Mixer().to("meta"), "static:0.25", first_and_last_dense=False)
    step = capture(model, torch.zeros(2, 4, 8), training=True, pruning=pruning)
    found = counted(step)
    pairs = SCORES + MIXED
    assert found["FF"].macs == FIRST + pairs + LAST
    assert found["FF"].effectual_macs == 0.25 * (FIRST + LAST) + pairs
    assert (found["BP"].macs, found["BP"].effectual_macs) == (2 * pairs + LAST, 2 * pairs + 0.25 * LAST)
    assert (found["WU"].macs, found["WU"].effectual_macs) == (FIRST + LAST, 0.25 * (FIRST + LAST))
    assert found["FF"].bit_operations == 16 * 16 * found["FF"].effectual_macs
    assert found["UPDATE"] == Count(other_flops=6.0 * (8 * 16 + 16 * 32))
    published = published_step(step)
    assert (published.macs, published.effectual_macs) == (3 * found["FF"].macs, 3 * found["FF"].effectual_macs)
    assert found["FF"].flops == 2 * found["FF"].macs
    # a quarter of 640 words of 4 bytes, and a bit for each
    assert size_bytes(step) == 640 * (0.25 * 4 + 1 / 8)


def test_a_dense_gradient_every_dt_steps_counts_as_in_rigl() -> None:
    model, pruning = prune(Mixer().to("meta"), "rigl:0.25:uniform:DT=9", first_and_last_dense=False)
    step = capture(model, torch.zeros(2, 4, 8), training=True, pruning=pruning)
    f_d, pairs = FIRST + LAST, SCORES + MIXED
    f_s = 0.25 * f_d
    assert published_step(step).effectual_macs == pytest.approx((3 * f_s * 9 + 2 * f_s + f_d) / 10 + 3 * pairs)


@pytest.mark.parametrize(
    ("recipe", "dense", "mflop", "mega_bytes"),
    [("static:0.25:erk", 1141.544, 599.144, 4.888), ("static:0.1:erk", 1141.544, 334.134, 2.392)],
)
def test_mobilenet_as_rigl_counts_it(recipe: str, dense: float, mflop: float, mega_bytes: float) -> None:
    """Its notebook adds the same 4.06 MFLOP and biases to the dense network and the sparse one."""
    model, inputs = build("mobilenet_v1", batch=1)
    model = model.to("meta")
    whole = counted(capture(model, inputs))["FF"].flops / 1e6
    pruned, pruning = prune(model, recipe)
    workload = capture(pruned, inputs, pruning=pruning)
    assert counted(workload)["FF"].effectual_flops / 1e6 + dense - whole == pytest.approx(mflop, rel=2e-4)
    assert size_bytes(workload) / 1e6 == pytest.approx(mega_bytes, rel=0.03)


def test_the_table_is_printed_by_lower(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lower", "resnet18_tiny", "--prune", "rigl:0.1:erk", "--training", "--batch", "2", "--flops"]) == 0
    text = capsys.readouterr().out
    for words in ("effectual MACs", "FF", "WU", "UPDATE", "as published", "MB as 4 bytes each"):
        assert words in text

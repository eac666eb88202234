"""Layers of which a part is trained: the same network, and gradients of that part alone."""

from __future__ import annotations

import torch
from small_models import mlp

from zerocast.workloads import capture
from zerocast.workloads.recipes import prune
from zerocast.workloads.transforms import merge, partial


def test_a_part_is_trained_and_the_network_is_the_same() -> None:
    torch.manual_seed(0)
    model, x = mlp(16, 32, 24, 8), torch.randn(4, 16)
    changed = partial(model, 0.25, layers=["1"])
    torch.testing.assert_close(changed.module(x), model(x))
    torch.testing.assert_close(merge(changed.module).module(x), model(x))
    assert {name for name, each in changed.module.named_parameters() if each.requires_grad} == {"1.trained"}
    both, pruning = prune(model, "partial:0.25@1+partial:0.5@2", x)
    step = capture(both, x, pruning=pruning, training=True, optimizer="adam")
    sizes = {op.name: op.macs for op in step.einsums if op.phase == "WU"}
    assert sorted(sizes.values()) == [4 * 8 * 12, 4 * 24 * 8]  # of 8 of 32 inputs, and of 12 of 24
    assert {op.outputs[0] for op in step.ops if op.phase == "UPDATE"} == {"1.trained", "2.trained"}

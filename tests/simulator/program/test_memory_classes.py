"""Peak memory by class: a network worked by hand, and what must hold for any."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator.program.footprint import footprint
from zerocast.simulator.program.program import program
from zerocast.simulator.program.storage import stored
from zerocast.workloads import Tensor, Workload, capture
from zerocast.workloads.patterns import NM, Uniform

BATCH, A, B, C, D = 4, 12, 20, 30, 8
"""Three linear layers A -> B -> C -> D, tanh between them."""


def net() -> nn.Module:
    layers: list[nn.Module] = []
    for into, out in ((A, B), (B, C), (C, D)):
        layers += [nn.Linear(into, out, bias=False), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class Blocks(nn.Module):
    """Four blocks that are nine times as wide inside, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(A, 9 * A), nn.Tanh(), nn.Linear(9 * A, A), nn.Tanh())
                                    for _ in range(4))  # fmt: skip
        self.head = nn.Linear(A, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def blocks(batch: int = BATCH, **options: object) -> Workload:
    return capture(Blocks(), torch.zeros(batch, A), training=True, dtype="bf16", **options)  # type: ignore[arg-type]


def step(**options: object) -> Workload:
    return capture(net(), torch.zeros(BATCH, A), training=True, dtype="bf16", **options)  # type: ignore[arg-type]


def test_three_layers_by_hand() -> None:
    """2 B of each of the weights, 4 of its states, 2 of its gradient. The peak is at the first layer's weight gradient,
    the last one: all gradients are there, and that of the layer's output. (At the second's, 2 A B less of gradients and
    what two activations and a gradient take more: 400 for 480.)"""
    weights = 2 * (A * B + B * C + C * D)
    inputs = 2 * BATCH * A + 8 * BATCH  # x and the labels
    memory = footprint(step(optimizer="adamw:bf16"))
    h1, h2, y = (2 * BATCH * width for width in (B, C, D))
    assert memory.peak == {
        "weights": weights, "optimizer state": 2 * weights, "gradients": weights, "transient": h1, "inputs": inputs,
    }  # fmt: skip
    assert memory.peak_bytes == 4 * weights + h1 + inputs
    assert (memory.weight_bytes, memory.optimizer_bytes, memory.gradient_bytes) == (weights, 2 * weights, weights)
    assert memory.saved_activation_bytes == h1 + h2 + y  # y: the log probabilities of the loss


def test_per_layer_by_hand() -> None:
    """The largest gradient alone, with what lives at its einsum: h1, kept, the gradients of z2 and of h1."""
    weights = 2 * (A * B + B * C + C * D)
    memory = footprint(step(optimizer="adamw:bf16", per_layer=True))
    fixed = 3 * weights + 2 * BATCH * A + 8 * BATCH
    assert memory.peak_bytes == fixed + 2 * B * C + 2 * BATCH * (B + C + B)


RULES = ("sgd", "adamw", "adamw:bf16", "adam8bit", "galore8bit:4")


@pytest.mark.parametrize("optimizer", RULES)
@pytest.mark.parametrize("batch", [1, 2000])
@pytest.mark.parametrize("checkpoints", [(), ("blocks.*",)])
def test_classes_add_up_and_what_is_freed_early_never_costs(
    optimizer: str, batch: int, checkpoints: tuple[str, ...]
) -> None:
    whole = footprint(blocks(batch, optimizer=optimizer, checkpoints=checkpoints))
    early = footprint(blocks(batch, optimizer=optimizer, checkpoints=checkpoints, per_layer=True))
    for memory in (whole, early):
        assert sum(memory.peak.values()) == memory.peak_bytes
        assert max(sum(each) for each in zip(*memory.over_time.values(), strict=True)) == memory.peak_bytes
    assert early.peak_bytes <= whole.peak_bytes


def test_a_checkpoint_keeps_its_input_alone() -> None:
    plain, again = (footprint(blocks(2000, optimizer="sgd", checkpoints=each)) for each in ((), ("blocks.*",)))
    assert again.saved_activation_bytes == 2 * 2000 * (4 * A + D)  # inputs of blocks and head; the loss keeps D
    assert plain.saved_activation_bytes == again.saved_activation_bytes + 4 * 2 * 2000 * 9 * A
    assert again.peak_bytes < plain.peak_bytes


def test_a_gpu_keeps_an_intermediate_of_all_weights_it_updates_at_once() -> None:
    card = load("nvidia-a100-sxm-80g")
    weights = 2 * (A * B + B * C + C * D)
    memory = program(step(optimizer="adamw:bf16"), card).footprint
    assert memory.peak_bytes == 5 * weights + 2 * BATCH * A + 8 * BATCH
    assert program(step(optimizer="adamw:bf16", per_layer=True), card).footprint.peak_bytes < memory.peak_bytes


def test_formats_of_zeros_by_hand() -> None:
    """A tenth of 1,000 x 1,000 fp16 weights: 200 kB of values; a bit for each place, or 10 for each column index and
    20 for each of 1,001 pointers."""
    weight = Tensor("w", (1000, 1000), "fp16", "weight")
    tenth = Uniform(0.1)
    assert stored(weight, tenth, ("bitmask",)).indices == 125_000
    assert stored(weight, tenth, ("csr",)).indices == (100_000 * 10 + 1001 * 20) // 8 + 1
    assert stored(weight, tenth, ("uncompressed", "bitmask", "csr")).bytes == 200_000 + 125_000
    assert stored(weight, tenth, ("uncompressed", "nm_offsets")).bytes == 2_000_000
    assert stored(weight, NM(2, 4, "k"), ("nm_offsets",)).indices == 1_000_000 * 2 // 2 // 8


def test_a_pruned_network_takes_less_where_its_zeros_are_left_out() -> None:
    """sigma keeps bit maps; an array that stores plain words needs what it needs for the dense network."""
    from zerocast.workloads import build, prune

    with torch.device("meta"):
        model, inputs = build("bert_base", batch=1, tokens=32)
    dense = capture(model, inputs)
    _, pruning = prune(model, "magnitude:0.1")
    pruned = capture(model, inputs, pruning=pruning)
    whole, less = (program(each, load("sigma")).footprint for each in (dense, pruned))
    assert less.peak_bytes < 0.45 * whole.peak_bytes
    assert less.peak["indices"] > 0
    plain, same = (program(each, load("systolic-32x32")).footprint for each in (dense, pruned))
    assert plain.peak_bytes == same.peak_bytes

"""Modules of many kinds lower, with PyTorch's own count of multiply-accumulates.

Operators without a rule are taken apart into what PyTorch composes them of (recurrent cells, three-operand
einsums, outer products, writes into part of a tensor).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zerocast.simulator.unit_cost import moved_bytes
from zerocast.workloads import Vector, WorkloadError, capture


class Call(nn.Module):
    """A module made of a function and the layers it uses."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(self.layers, *inputs)


def _write(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    y = layers[0](x).clone()
    y[:, 0] = 1.0
    return y


def _unet(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    fine = layers[0](x)
    coarse = F.interpolate(F.max_pool2d(fine, 2), scale_factor=2, mode="bilinear")
    return layers[1](torch.cat([fine, coarse], 1))


R = torch.randn
LINEAR = nn.Linear(4, 4)

MODULES: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]] = {
    "transformer": (nn.Transformer(32, 4, 1, 1, 64, batch_first=True), (R(2, 8, 32), R(2, 6, 32))),
    "attention that returns weights": (
        Call(lambda m, x: m[0](x, x, x)[1], nn.MultiheadAttention(32, 4)),
        (R(8, 2, 32),),
    ),
    "LSTM cell": (Call(lambda m, x: m[0](x)[0], nn.LSTMCell(8, 16)), (R(2, 8),)),
    "GRU cell": (Call(lambda m, x: m[0](x), nn.GRUCell(8, 16)), (R(2, 8),)),
    "two-way GRU": (Call(lambda m, x: m[0](x)[0], nn.GRU(8, 16, 2, bidirectional=True)), (R(5, 2, 8),)),
    "U-net": (Call(_unet, nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)), (R(1, 3, 16, 16),)),
    "grouped transposed convolution": (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 4, 4, 2, 1, groups=2)),
        (R(1, 3, 16, 16),),
    ),
    "instance norm": (
        nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.PReLU(), nn.PixelShuffle(2), nn.ReflectionPad2d(1)
        ),
        (R(1, 3, 16, 16),),
    ),
    "3-D convolution": (
        nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2)),
        (R(1, 3, 6, 6, 6),),
    ),
    "three-operand einsum": (
        Call(lambda m, a, b: torch.einsum("ij,jk,kl->il", m[0](a), b, b), LINEAR),
        (R(2, 4), R(4, 4)),
    ),
    "einsum with ellipsis": (
        Call(lambda m, a, b: torch.einsum("...ij,...jk->...ik", m[0](a), b), LINEAR),
        (R(7, 2, 4), R(7, 4, 4)),
    ),
    "outer product": (Call(lambda m, a, b: torch.outer(m[0](a), b), LINEAR), (R(4), R(5))),
    "write into a part": (Call(_write, LINEAR), (R(2, 4),)),
    "in place": (
        Call(lambda m, x: F.dropout(F.relu_(m[0](x)), 0.1, m.training, True).add_(1).mul_(2), LINEAR),
        (R(2, 4),),
    ),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (R(2, 4),)),
    "creators": (
        Call(lambda m, x: torch.where(m[0](x) > 0, m[0](x), torch.zeros_like(x)) + x.new_ones(4), LINEAR),
        (R(4, 4),),
    ),
    "statistics": (
        Call(lambda m, x: m[0](x) / torch.std(x, -1, keepdim=True) + torch.cumsum(x, 1).movedim(0, 1), LINEAR),
        (R(4, 4),),
    ),
    "activations": (
        nn.Sequential(
            nn.Linear(4, 8),
            nn.GLU(),
            nn.LogSigmoid(),
            nn.Softsign(),
            nn.SELU(),
            nn.CELU(),
            nn.Hardshrink(),
            nn.Tanhshrink(),
        ),
        (R(2, 4),),
    ),
    "loss inside": (Call(lambda m, x, y: F.binary_cross_entropy_with_logits(m[0](x), y), LINEAR), (R(4, 4), R(4, 4))),
}


@pytest.mark.parametrize("name", MODULES)
def test_macs_equal_those_of_pytorch(name: str) -> None:
    module, inputs = MODULES[name]
    module.eval()
    # with gradients on: without them PyTorch runs whole transformer layers as one kernel that it does not count
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*(x.clone() for x in inputs))
    workload = capture(module, inputs, name="m")
    # outer products are an elementwise multiply to PyTorch's counter, and to us
    assert workload.macs == counter.get_total_flops() // 2
    assert not workload.unknown
    assert workload.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_a_training_step_updates_every_parameter_once(name: str) -> None:
    module, inputs = MODULES[name]
    step = capture(module, inputs, name="m", training=True)
    updated = [op.outputs[0] for op in step.ops if op.phase == "UPDATE" and isinstance(op, Vector)]
    unused = {"layers.0.out_proj.weight", "layers.0.out_proj.bias"} if "returns weights" in name else set()
    assert sorted(updated) == sorted({name for name, _ in module.named_parameters()} - unused)


def test_an_operator_that_has_no_parts_is_refused_or_priced_by_its_bytes() -> None:
    module = Call(lambda m, x: torch.special.i0(m[0](x)), LINEAR)
    with pytest.raises(WorkloadError, match=r"i0.*--allow-unknown"):
        capture(module, (R(6, 4),))
    (unknown,) = capture(module, (R(6, 4),), allow_unknown=True).unknown
    assert unknown.flops == 0
    assert unknown.elements == 24


def test_bags_read_the_rows_that_they_look_up() -> None:
    """3 bags of 5 rows of 16: 240 elements of the table of 16,000 are read; training adds as many to its gradient."""
    bag, ids = nn.EmbeddingBag(1000, 16, mode="mean"), torch.zeros(3, 5, dtype=torch.long)
    (op,) = capture(bag, ids).ops
    assert (op.function, op.elements) == ("gather", 3 * 5 * 16)  # type: ignore[union-attr]
    read, written = moved_bytes(op, capture(bag, ids).tensors)
    assert (read, written) == (240 * 2 + 8 * (3 * 5 + 3), 3 * 16 * 2)  # fp16 rows, int64 indices and offsets
    added = [each for each in capture(bag, ids, training=True).ops if each.phase == "WU"]
    assert [each.elements for each in added] == [240]  # type: ignore[union-attr]


def test_quantisation_of_activations_is_elementwise_work() -> None:
    def quantised(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m[0](torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127))

    workload = capture(Call(quantised, nn.Linear(16, 4)), R(2, 16))
    (fake,) = (op for op in workload.ops if isinstance(op, Vector))
    assert (fake.function, fake.elements, fake.flops_per_element) == ("fake_quantize", 32, 6)

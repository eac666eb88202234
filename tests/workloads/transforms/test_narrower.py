"""Narrower networks: the smaller network must compute what the large one did without the silent channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_models import Residual, copies, mlp, unchanged
from torch import nn

from zerocast.workloads import build
from zerocast.workloads.errors import WorkloadError
from zerocast.workloads.recipes import prune


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def silence(model: Residual) -> None:
    """Make every second channel contribute nothing, in every tensor that holds it."""
    with torch.no_grad():
        for layer in (model.stem, model.norm, model.conv1, model.conv2, model.depthwise):
            layer.weight[1::2] = 0
            assert layer.bias is not None
            layer.bias[1::2] = 0
        for layer in (model.conv1, model.conv2, model.fc):
            layer.weight[:, 1::2] = 0


def test_channel_removes_coupled_channels_and_nothing_that_matters() -> None:
    """Half of the channels are silent: without them the network must compute the same."""
    model = Residual().train()
    silence(model)
    model.stem.weight.requires_grad_(False)
    before = copies(model)
    x = torch.randn(2, 3, 8, 8)
    smaller, pruning = prune(model, "channel:0.5", x)
    assert unchanged(model, before)
    shapes = {name: tuple(p.shape) for name, p in smaller.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "stem.weight": (8, 3, 3, 3), "norm.weight": (8,), "conv1.weight": (16, 8, 3, 3),
        "conv2.weight": (8, 16, 1, 1), "depthwise.weight": (8, 1, 3, 3), "fc.weight": (10, 8),
    }  # fmt: skip
    assert smaller.training
    assert not smaller.stem.weight.requires_grad
    assert smaller.fc.weight.requires_grad
    assert torch.equal(smaller.norm.running_mean, torch.zeros(8))
    torch.testing.assert_close(smaller.eval()(x), model.eval()(x))
    assert pruning.pruned == {f"{name}.weight" for name in ("stem", "conv1", "conv2", "depthwise", "fc")}
    assert not any(layer.weight for layer in pruning.layers.values())


def test_inner_channels_leave_those_that_a_shortcut_adds_to() -> None:
    """Every block of ResNet-18 gets narrower inside, and the trunk between blocks keeps all of its channels."""
    model, inputs = build("resnet18", image=32)
    smaller, _ = prune(model, "channel:0.5:inner", inputs)
    for stage, width in ((smaller.layer1, 64), (smaller.layer2, 128), (smaller.layer4, 512)):
        for block in stage:
            assert (block.conv1.out_channels, block.conv2.out_channels) == (width // 2, width)
    assert smaller.conv1.out_channels == 64
    assert smaller.layer2[0].downsample[0].out_channels == 128


def test_channel_twice_gives_the_same_network() -> None:
    """Nothing is kept between calls."""
    x = torch.randn(1, 3, 8, 8)
    first, second = (prune(Residual(), "channel:0.5", x)[0] for _ in range(2))
    assert [p.shape for p in first.parameters()] == [p.shape for p in second.parameters()]


@pytest.mark.parametrize(("width", "recipe", "left"), [
    (64, "0.15", 10), (64, "0.7", 45), (10, "0.05", 1), (12, "0.5", 6), (64, "24", 24),
    (64, "0.15:round=8", 8), (64, "0.7:round=8", 48), (64, "0.1:round=8", 6), (12, "0.6:round=8", 7),
])  # fmt: skip
def test_widths_are_those_that_were_asked_for(width: int, recipe: str, left: int) -> None:
    """The nearest whole number; where that is asked for, multiples of 8 stay so while 8 are left."""
    model = mlp(16, width, 4)
    smaller, _ = prune(model, f"channel:{recipe}", torch.randn(1, 16))
    assert smaller[0].out_features == smaller[1].in_features == left
    assert smaller[1].out_features == 4


def test_channel_respects_dense_layers() -> None:
    smaller, pruning = prune(mlp(16, 32, 32, 4), "channel:0.5", torch.randn(1, 16), dense=["1"])
    assert [(layer.in_features, layer.out_features) for layer in smaller] == [(16, 16), (16, 32), (32, 4)]
    assert pruning.kept_dense == {"2.weight": "classifier"}


class Literal(nn.Module):
    """Its code has a width as a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(32, 32)
        self.fc = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.up(x).reshape(-1, 2, 32)).flatten(0, 1)


def test_channel_says_why_it_cannot() -> None:
    with pytest.raises(WorkloadError, match="give example_inputs"):
        prune(mlp(16, 32, 4), "channel:0.5")
    with pytest.raises(WorkloadError, match=r"Literal does not run with fewer channels \(.*; write its reshapes"):
        prune(Literal(), "channel:0.5", torch.randn(6, 32))
    with pytest.raises(WorkloadError, match="finds no channel to remove"):
        prune(mlp(16, 32, 4), "channel:1.0", torch.randn(1, 16))


class Tied(nn.Module):
    """Channels in and out of a grouped convolution stay in their groups."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 3), nn.Conv2d(12, 18, 3, groups=6), nn.Conv2d(18, 10, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_every_group_of_a_convolution_keeps_as_many_channels() -> None:
    smaller, _ = prune(Tied(), "channel:0.5", torch.zeros(1, 3, 9, 9))
    assert [tuple(layer.weight.shape[:2]) for layer in smaller.layers] == [(6, 3), (12, 1), (10, 12)]
    assert smaller(torch.zeros(1, 3, 9, 9)).shape == (1, 10, 3, 3)


@pytest.mark.parametrize(
    ("make", "recipe", "why"),
    [
        (lambda: (nn.Linear(4, 4), torch.zeros(1, 4)), "channel:0.5", "all are tied to the network's inputs, its"),
        (lambda: (mlp(4, 1, 4, 2), torch.zeros(1, 4)), "channel:0.9", "keeps all of its few channels; lower the"),
        (lambda: (mlp(4, 8, 2), torch.zeros(1, 4)), "heads:0.5", "of what may go the network has ffn alone"),
        (lambda: (mlp(4, 8, 2), torch.zeros(1, 4)), "ffn:9", "'0' has 8 channels, of which 9 cannot stay"),
        (lambda: (mlp(4, 8, 2), torch.zeros(1, 4)), "ffn:0.5@7", "@7 matches no layer that makes ffn which may go"),
        (lambda: (nn.Sequential(nn.Linear(4, 8), nn.Linear(7, 2)), torch.zeros(1, 4)), "channel:0.5",
         "does not run on example_inputs"),
    ],
)  # fmt: skip
def test_advice_fits_the_network(make: Callable, recipe: str, why: str) -> None:
    model, inputs = make()
    with pytest.raises(WorkloadError, match=why):
        prune(model, recipe, inputs)

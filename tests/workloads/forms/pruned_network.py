"""One pruned network, two linear layers, and the weights from which the forms of it are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

X = torch.zeros(8, 64)


def two_of_four(weight: Tensor) -> Tensor:
    """The mask that keeps the two largest of each four along the inputs."""
    groups = weight.abs().reshape(-1, 4)
    return torch.zeros_like(groups).scatter_(1, groups.topk(2, dim=1).indices, 1.0).reshape(weight.shape)


def _largest(weight: Tensor, count: int) -> Tensor:
    kept = weight.abs().flatten().topk(count).indices
    return torch.zeros(weight.numel()).scatter_(0, kept, 1.0).reshape(weight.shape)


_draw = torch.Generator().manual_seed(0)
DENSE = tuple(torch.randn(rows, 64, generator=_draw) for rows in (64, 32))
MASKS = (two_of_four(DENSE[0]), _largest(DENSE[1], 32 * 64 // 4))
PRUNED = tuple(weight * mask for weight, mask in zip(DENSE, MASKS, strict=True))
FOUND = {"2:4 along c; 50.0% nonzero", "no structure, 25.0% nonzero"}
"""What is said of the zeros of the two layers."""


class Net(nn.Module):
    """64 -> 64 -> 32 without bias."""

    def __init__(self, weights: tuple[Tensor, ...] = PRUNED) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(64, 64, bias=False), nn.Linear(64, 32, bias=False)
        with torch.no_grad():
            self.up.weight.copy_(weights[0])
            self.down.weight.copy_(weights[1])
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


class Layer(nn.Module):
    """A layer whose forward is a function of itself and its input; tensors become buffers, parameters stay."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **held: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def layers(function: Callable[[Any, Tensor], Tensor], **held: Callable[[Tensor, Tensor, Tensor], Any]) -> nn.Module:
    """The network of two such layers; each thing that they hold is made of dense weight, mask and pruned weight."""
    made = [
        Layer(function, **{name: make(*each) for name, make in held.items()})
        for each in zip(DENSE, MASKS, PRUNED, strict=True)
    ]
    return nn.Sequential(made[0], nn.ReLU(), made[1]).eval()


def parameter(dense: Tensor, mask: Tensor, pruned: Tensor) -> nn.Parameter:
    return nn.Parameter(dense.clone())


def mask_of(dense: Tensor, mask: Tensor, pruned: Tensor) -> Tensor:
    return mask


def pruned_parameter(dense: Tensor, mask: Tensor, pruned: Tensor) -> nn.Parameter:
    return nn.Parameter(pruned.clone())


def quantised(largest: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Whole numbers up to `largest`; what is not zero stays so."""

    def make(dense: Tensor, mask: Tensor, pruned: Tensor) -> Tensor:
        whole = (pruned * largest / pruned.abs().max()).round()
        return torch.where((mask > 0) & (whole == 0), 1.0, whole).to(torch.int8)

    return make


def with_weights(change: Callable[[Tensor], Any]) -> Net:
    """The network with other tensors in place of its weights."""
    net = Net()
    for layer in (net.up, net.down):
        layer.weight = nn.Parameter(change(layer.weight.detach()), requires_grad=False)
    return net

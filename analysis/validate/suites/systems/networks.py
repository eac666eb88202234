"""Networks of the systems that no library has, as a user would write them; without data, as zeros are laws here.

Each is a factory: `zerocast run analysis/validate/suites/systems/networks.py:edsr ...`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Built = tuple[nn.Module, Tensor]


def _without_data(make: Callable[[], nn.Module], *shape: int) -> Built:
    with torch.device("meta"):
        return make().eval(), torch.zeros(*shape)


# --- predefined architectures (Li et al., 2017, table 1; Liu et al., 2019) ------------------------------------------


def vgg16(batch: int = 1, pruned: bool = False) -> Built:
    """VGG-16 for CIFAR-10 with one hidden layer of 512; pruned: half of the first and of the last six layers."""
    first, last = (32, 256) if pruned else (64, 512)
    widths = (first, 64, "M", 128, 128, "M", 256, 256, 256, "M", last, last, last, "M", last, last, last, "M")

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        channels = 3
        for width in widths:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 512), nn.ReLU(), nn.Linear(512, 10))

    return _without_data(make, batch, 3, 32, 32)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut that pads new channels with zeros, or projects."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs
        shrinks = projects and (stride > 1 or self.more)
        self.project = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if shrinks else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.project is not None:
            return F.relu(out + self.project(x))
        if self.more:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(out + x)


class _ResNet(nn.Module):
    def __init__(
        self, stem: nn.Module, widths: Iterable[int], blocks: Iterable[int], removed: Iterable[float],
        whole: Iterable[int], projects: bool, classes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stem, channels, layer = stem, next(iter(widths)), 2  # convolutions are counted from 1
        body: list[nn.Module] = []
        for stage, (width, count, share) in enumerate(zip(widths, blocks, removed, strict=True)):
            for place in range(count):
                inner = width if layer in whole else int(width * (1 - share))
                body.append(_Block(channels, inner, width, 2 if stage and not place else 1, projects))
                channels, layer = width, layer + 2
        self.body, self.fc = nn.Sequential(*body), nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


_CIFAR: dict[str, dict[str, Any]] = {
    "resnet56": {"blocks": (9, 9, 9), "removed": (0.0, 0.0, 0.0), "whole": ()},
    "resnet56-a": {"blocks": (9, 9, 9), "removed": (0.1, 0.1, 0.1), "whole": (16, 20, 38, 54)},
    "resnet56-b": {"blocks": (9, 9, 9), "removed": (0.6, 0.3, 0.1), "whole": (16, 18, 20, 34, 38, 54)},
    "resnet110": {"blocks": (18, 18, 18), "removed": (0.0, 0.0, 0.0), "whole": ()},
    "resnet110-a": {"blocks": (18, 18, 18), "removed": (0.5, 0.0, 0.0), "whole": (36,)},
}
"""First convolutions of the blocks lose a share in each stage, but for those of the layers named whole."""


def resnet_cifar(batch: int = 1, variant: str = "resnet56") -> Built:
    """ResNets for CIFAR-10, whole and as Li et al. pruned them."""

    def make() -> nn.Module:
        stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        return _ResNet(stem, (16, 32, 64), **_CIFAR[variant], projects=False, classes=10)

    return _without_data(make, batch, 3, 32, 32)


def resnet34(batch: int = 1, pruned: bool = False) -> Built:
    """ResNet-34 for ImageNet; pruned: 30 % of the first convolutions of three stages, but for sensitive layers."""
    removed = (0.3, 0.3, 0.3, 0.0) if pruned else (0.0,) * 4

    def make() -> nn.Module:
        stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        whole = (2, 8, 14, 16, 26, 28, 30, 32)
        return _ResNet(stem, (64, 128, 256, 512), (3, 4, 6, 3), removed, whole, projects=False, classes=1000)

    return _without_data(make, batch, 3, 224, 224)


# --- super-resolution, dynamics, neurons that are deleted -------------------------------------------------------------


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.conv2(F.relu(self.conv1(x)))


class _Edsr(nn.Module):
    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(_Residual(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        twice = (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        again = (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))
        self.tail = nn.Sequential(*twice, *again, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return self.tail(x + self.body(x))


def edsr(batch: int = 1, width: int = 256, blocks: int = 32, image: int = 48) -> Built:
    """EDSR, enlarging four times (Lim et al., 2017)."""
    return _without_data(lambda: _Edsr(width, blocks), batch, 3, image, image)


def dynamics(batch: int = 512, states: int = 64, hidden: int = 256, kept: int = 32) -> Built:
    """A learned dynamics model of which few ReLU neurons are left; the other ones became the identity, which is one
    matrix beside them."""

    class Dynamics(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(states, kept), nn.Linear(kept, states)
            self.linear = nn.Linear(states, states) if kept < hidden else None

        def forward(self, x: Tensor) -> Tensor:
            out = self.down(F.relu(self.up(x)))
            return out if self.linear is None else out + self.linear(x)

    return _without_data(Dynamics, batch, states)


def ablated(batch: int = 1, channels: int = 8) -> Built:
    """A real small network in which some neurons of each layer are deleted: their weights are zero."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 64), (64, 64), (64, 128)):
        layer = nn.Conv2d(inputs, outputs, 3, padding=1)
        with torch.no_grad():
            layer.weight[:channels] = 0
        layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 10)).eval(), torch.zeros(batch, 3, 32, 32)


# --- small networks on which it is tried what the program can do ------------------------------------------------------


def encoder(batch: int = 1, tokens: int = 16, width: int = 32, depth: int = 2) -> Built:
    """Layers of a transformer."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x: Tensor) -> Tensor:
            rows = self.norm(x)
            heads = [each(rows).unflatten(-1, (4, -1)).transpose(1, 2) for each in (self.q, self.k, self.v)]
            x = x + self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.last_norm(x))))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(width, width), nn.Linear(width, width)
            self.blocks = nn.ModuleList(Layer() for _ in range(depth))

        def forward(self, x: Tensor) -> Tensor:
            x = self.embed(x)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    return _without_data(Encoder, batch, tokens, width)


def half_of_each(group: object) -> float:
    """Of every group of coupled channels a half stays: a plan as a function."""
    del group
    return 0.5

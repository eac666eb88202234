"""Zero-skipping engines against published figures whose rows are matrix products, or networks of them.

Shapes, densities and builds are read from `references/zeroskip.csv`, so that a row of a known kind needs no code.
Zeros count as uniformly random wherever only their number is published.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from accelerators import Accelerator, load
from analysis.validate.comparison import Comparison, against, below, reference_rows
from simulator import simulate
from simulator.einsum_cost import Pricer
from simulator.engine import engine_cycles
from simulator.errors import SimulationError
from simulator.gemm import Gemm, plain_gemm
from workloads import build, capture
from workloads.formats import storage_bits
from workloads.ir import Workload
from workloads.patterns import DENSE, NM, Mask, Pattern, Uniform
from workloads.pruning import LayerPruning, Pruning, apply_pruning

SUITE = "zeroskip"
Bits = NDArray[np.bool_]
Row = dict[str, str]


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the engines whose rows are products."""
    rows: list[Comparison] = []
    for what, part in (("SIGMA", sigma), ("EIE", eie), ("DSTC", dstc), ("HiSparse", hisparse),
                       ("Eyeriss v2 PE", eyeriss_pe), ("MCBBS", mcbbs)):  # fmt: skip
        say(f"{what} against its published figures")
        rows += part()
    return rows


def rows_of(system: str, metric: str) -> list[Row]:
    """Reference rows of one system and metric."""
    rows = reference_rows("zeroskip.csv")
    return [row for row in rows if row["system"] == system and row["metric"] == metric]


def fact(row: Row, name: str) -> str:
    """Value of `name=value` in a row's conditions. Raises `SimulationError` where the row does not say it."""
    for part in row["conditions"].split("; "):
        key, _, value = part.partition("=")
        if key == name and value:
            return value
    raise SimulationError(
        f"{row['system']} {row['workload']}: its conditions lack {name!r}; write '{name}=value' into zeroskip.csv"
    )


def numbers(row: Row, text: str, form: str) -> tuple[int, ...]:
    """Whole numbers above zero in `text`, which must have the form M1-N1-K1 (a letter or separator each, digits
    anywhere). Raises `SimulationError` for anything else."""
    found = re.fullmatch(re.sub(r"\d+", r"(\\d+)", form), text)
    values = tuple(map(int, found.groups())) if found else ()
    if not values or min(values) < 1:
        raise SimulationError(f"{row['system']} {row['workload']}: {text!r} is not a shape of the form {form}")
    return values


def product_of(row: Row, dtype: str, bits: int, most: int | None = None) -> Gemm:
    """The product M-N-K of a row under its uniform densities; extents cut to `most`."""
    m, n, k = (min(size, most or size) for size in numbers(row, row["workload"], "M1-N1-K1"))
    a, b = (_zeros(float(fact(row, f"{side} density"))) for side in "AB")
    return plain_gemm(m, n, k, dtype, bits, a, b)


def _zeros(density: float) -> Pattern:
    return DENSE if density >= 1 else Uniform(density)


def shown(
    what: str, predicted: float, reference: float, unit: str, source: str, note: str, ok: bool | None = None
) -> Comparison:
    """A figure beside a published one to which it is not held within a tolerance."""
    return Comparison(SUITE, what, predicted, reference, unit, predicted / reference - 1, None, ok, source, note)


# SIGMA


def sigma(tolerance: float = 0.03) -> list[Comparison]:
    """Cycles of every SIGMA row.

    A product that loads its stationary nonzeros for longer than it streams columns is shown only: the start-up of the
    networks on chip and the traffic are not in the model, and such a product has too few columns to hide them.
    """
    accelerator, rows = load("sigma"), []
    for row in rows_of("SIGMA", "cycles"):
        cost = engine_cycles(product_of(row, "bf16", 16), accelerator)
        what, reference, source = f"sigma {row['workload']}", float(row["value"]), row["source"]
        if cost.ramp > cost.cycles - cost.ramp:
            rows.append(shown(what, cost.cycles, reference, "cycles", source,
                              f"{cost.ramp:.0f} cycles load nonzeros: too few columns to hide start-up and traffic, "
                              "which are not in the model"))  # fmt: skip
        else:
            rows.append(against(SUITE, what, cost.cycles, reference, "cycles", tolerance, source))
    return rows


# EIE

EIE_LAYERS: dict[str, tuple[int, int, float]] = {
    "Alex-6": (9216, 4096, 0.351),
    "Alex-7": (4096, 4096, 0.353),
    "Alex-8": (4096, 1000, 0.375),
    "VGG-6": (25088, 4096, 0.183),
    "VGG-7": (4096, 4096, 0.375),
    "VGG-8": (4096, 1000, 0.411),
    "NT-We": (4096, 600, 1.0),
    "NT-Wd": (600, 8791, 1.0),
    "NT-LSTM": (1201, 2400, 1.0),
}
"""Inputs, outputs and share of nonzero activations of EIE's layers: recalled from table III of the paper, not read.
The density of the weights is not needed: the published theoretical time states the work."""

HALF_LOST = (1.4, 2.8)
"""Time with queues of 1 over time with queues of 8 that counts as "about half is lost": assumption, from a separate
simulation with uniformly random zeros."""


def eie_with(depth: int) -> Accelerator:
    """EIE with activation queues of `depth` entries.

    The PE works on the entry at the head of its queue, so that depth - 1 wait beside it: that is what the schema's
    `queue` counts. Depth 1 is then lock step. Were the one worked on counted apart, depth 1 would lose an eighth, not
    half.
    """
    return load("eie", {"skipping.queue": depth - 1})


def eie(tolerance: float = 0.15) -> list[Comparison]:
    """Actual time of every EIE layer with queues of 8, from drawn masks and in expectation, and what queues of 1
    lose."""
    deep, shallow = eie_with(8), eie_with(1)
    theoretical = {row["workload"]: float(row["value"]) for row in rows_of("EIE", "theoretical_time")}
    rows, ratios = [], []
    for row in rows_of("EIE", "actual_time"):
        name, actual = row["workload"], float(row["value"])
        if name not in theoretical:
            raise SimulationError(f"EIE {name}: zeroskip.csv lacks its theoretical_time, which states the work")
        gemm = eie_product(name, theoretical[name])
        walked, expected, slow = (
            engine_cycles(gemm, accelerator, masks).cycles / accelerator.technology.clock_hz * 1e6
            for accelerator, masks in ((deep, True), (deep, False), (shallow, True))
        )
        density = f"weight density {gemm.weight.pattern.density:.4f} from the theoretical time"
        rows.append(against(SUITE, f"eie {name}, masks", walked, actual, "us", tolerance, row["source"], density))
        rows.append(shown(f"eie {name}, expectation", expected, actual, "us", row["source"],
                          f"{expected / walked - 1:+.1%} of the walk over masks"))  # fmt: skip
        ratios.append(slow / walked)
        rows.append(shown(f"eie {name}, queue 1 over queue 8", ratios[-1], 2.0, "x", "notes on fig. 8 of the EIE paper",
                          f"about half the time is lost: between {HALF_LOST[0]} and {HALF_LOST[1]}",
                          HALF_LOST[0] <= ratios[-1] <= HALF_LOST[1]))  # fmt: skip
    rows.append(against(SUITE, "eie queue 1 over queue 8, median", median(ratios), 2.0, "x", tolerance,
                        "notes on fig. 8 of the EIE paper", "about half the time is lost"))  # fmt: skip
    return rows


def eie_product(name: str, theoretical_us: float) -> Gemm:
    """The matrix-vector product of a layer, its weights as dense as the theoretical time asks for.

    theoretical_us: stored nonzeros (padding included) times broadcasts, over 64 PEs at 800 MHz. Raises
    `SimulationError` for an unknown layer, and for a time in which every weight could be multiplied.
    """
    if name not in EIE_LAYERS:
        raise SimulationError(f"EIE has no layer {name!r} here; choose {', '.join(EIE_LAYERS)} or add its shape")
    inputs, outputs, activations = EIE_LAYERS[name]
    accelerator = load("eie")
    lanes = accelerator.skipping.lanes if accelerator.skipping is not None else 1
    words = theoretical_us * 1e-6 * accelerator.technology.clock_hz * lanes / (inputs * activations)
    if words > outputs:
        raise SimulationError(f"EIE {name}: {theoretical_us} us hold more than its {outputs} x {inputs} weights")
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if stored_words(accelerator, outputs, middle) < words else (low, middle)
    return plain_gemm(1, outputs, inputs, "int16", 16, _zeros(activations), Uniform(high))


def stored_words(accelerator: Accelerator, outputs: int, density: float) -> float:
    """Words that the PEs store together for one column of weights, padding included, rows dealt to them in turn."""
    assert accelerator.skipping is not None
    (form,) = accelerator.buffer_of("weight").formats["weight"]
    lanes = accelerator.skipping.lanes
    more, fewer = -(-outputs // lanes), outputs // lanes
    law = Uniform(density)
    held = {more: outputs - fewer * lanes or lanes, fewer: lanes - outputs % lanes} if more > fewer else {more: lanes}
    return sum(
        count * float(storage_bits(form, law, {"n": size}, 1.0).value_bits) for size, count in held.items() if size
    )


# DSTC


def dstc(tolerance: float = 0.08, most: int = 1024) -> list[Comparison]:
    """Latency of every DSTC row over that of the dense product, walked with drawn masks.

    Products are cut to `most` along each rank: the single core takes tiles of 32 x 32 one after another, so that its
    time is a sum over tiles and indices of K that are all alike, and ratios do not depend on how many there are.
    """
    accelerator, rows = load("dstc"), []
    for row in rows_of("DSTC", "latency_normalised"):
        gemm = product_of(row, "fp16", 16, most)
        dense = engine_cycles(plain_gemm(gemm.m, gemm.n, gemm.k, "fp16", 16), accelerator, masks=True)
        ratio = engine_cycles(gemm, accelerator, masks=True).cycles / dense.cycles
        what = f"dstc {row['workload']}, densities {fact(row, 'A density')} and {fact(row, 'B density')}"
        rows.append(against(SUITE, what, ratio, float(row["value"]), "of dense", tolerance, row["source"],
                            "digitised from a figure by others"))  # fmt: skip
    return rows


# HiSparse


def hisparse(tolerance: float = 0.15) -> list[Comparison]:
    """Run time of one matrix-vector product of every HiSparse row, launch overhead included.

    The published throughput counts two operations for each nonzero. Graphs are shown only: their zeros follow the
    vertices' degrees, so that streams are unequal and padded to the longest, which the published size and density do
    not tell; and their many sums leave through one channel after the last product, which the model spreads over all.
    """
    accelerator, rows = load("hisparse-u280"), []
    pricer = Pricer(accelerator)
    for row in rows_of("HiSparse", "throughput_fixed"):
        height, width = numbers(row, row["workload"], "1x1")
        density, kind = float(fact(row, "density")), fact(row, "zeros")
        gemm = plain_gemm(1, height, width, "fp32", 32, DENSE, Uniform(density))
        measured = 2 * height * width * density / float(row["value"]) / 1e3
        time = (pricer.gemm(gemm).latency_s + accelerator.host.launch_overhead_s) * 1e6
        what = f"hisparse {fact(row, 'matrix')} {row['workload']}"
        if kind == "pruned layer":
            rows.append(against(SUITE, what, time, measured, "us", tolerance, row["source"],
                                "the launch overhead is calibrated on the three Transformer matrices"))  # fmt: skip
        else:
            rows.append(shown(what, time, measured, "us", row["source"],
                              f"zeros of a {kind}: uneven streams and the drain are not in the model"))  # fmt: skip
    return rows


# Eyeriss v2, one PE

ONE_MAC = {
    "compute.rows": 1,
    "compute.cols": 1,
    "compute.macs_per_pe": 1,
    "skipping": {"law": "cartesian", "wait": "never", "arrangements": [{"m": {"lanes": 1}}]},
    "memories.input_buffer.formats": {"input": ["bitmask"]},
    "memories.weight_spads.formats": {"weight": ["bitmask"]},
}
"""Eyeriss v2 as the reference counts it: one lane, one product a cycle, no stall, no padding word."""


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A 1x1 convolution with its densities: channels in and out, output positions."""

    channels: int
    filters: int
    positions: int
    input_density: float
    weight_density: float

    @classmethod
    def of(cls, row: Row) -> Pointwise:
        """The layer of a row that says `C,M,E,F=..` and both densities."""
        c, m, e, f = numbers(row, fact(row, "C,M,E,F"), "1,1,1,1")
        return cls(c, m, e * f, float(fact(row, "input density")), float(fact(row, "weight density")))

    def gemm(self, inputs: Pattern, weights: Pattern) -> Gemm:
        """The layer as a product under two patterns."""
        return plain_gemm(self.positions, self.filters, self.channels, "int8", 8, inputs, weights)

    def masks(self, seed: int) -> tuple[Bits, Bits]:
        """Random masks of the layer's densities: inputs [positions, channels], weights [filters, channels]."""
        rng = np.random.default_rng(seed)
        inputs = rng.random((self.positions, self.channels)) < self.input_density
        return inputs, rng.random((self.filters, self.channels)) < self.weight_density


def eyeriss_pe(worst: float = 0.07, middle: float = 0.03, seed: int = 0) -> list[Comparison]:
    """Cycles of pointwise layers on one PE: with uniform densities against the ground truth of the real masks, and
    with random masks exactly."""
    accelerator, rows, exact = load("eyeriss-v2", ONE_MAC), [], []
    for at, row in enumerate(rows_of("Eyeriss v2 PE", "cycles")):
        layer, name = Pointwise.of(row), f"eyeriss-v2 PE {row['workload']}"
        uniform = layer.gemm(_zeros(layer.input_density), _zeros(layer.weight_density))
        cycles = engine_cycles(uniform, accelerator).cycles
        rows.append(against(SUITE, name, cycles, float(row["value"]), "cycles", worst, row["source"],
                            "uniform zeros; the real ones differ from channel to channel"))  # fmt: skip
        inputs, weights = layer.masks(seed + at)
        masked = layer.gemm(Mask.of(inputs, ("m", "k")), Mask.of(weights, ("n", "k")))
        exact.append(against(SUITE, f"{name}, random masks", engine_cycles(masked, accelerator, masks=True).cycles,
                             float(met_pairs(inputs, weights)), "cycles", 0.0,
                             "sum over channels of nonzero inputs times nonzero weights, counted apart"))  # fmt: skip
    if rows:
        errors = [abs(row.error or 0.0) for row in rows]
        rows.append(below(SUITE, "eyeriss-v2 PE, median error", median(errors), middle, "", rows[0].source,
                          "largest median error allowed"))  # fmt: skip
    return rows + exact


def met_pairs(inputs: Bits, weights: Bits) -> int:
    """Products of two nonzeros: for each channel (last axis), nonzero inputs times nonzero weights."""
    pairs = 0
    for channel in range(inputs.shape[-1]):
        pairs += int(np.count_nonzero(inputs[:, channel])) * int(np.count_nonzero(weights[:, channel]))
    return pairs


# MCBBS

VGG16_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of VGG-16's convolutions (Simonyan and Zisserman 2015, table 1, D); 0 is a pooling layer."""

POINTS = 224
"""Height and width of the images."""


def vgg16() -> nn.Module:
    """VGG-16 for ImageNet with its three fully connected layers."""
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


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "VGG-16": vgg16,
    "ResNet-50": lambda: build("resnet50", batch=1)[0],
}


@cache
def mcbbs_network(name: str, ranges: int) -> Workload:
    """A network pruned as published: of each range of `ranges` clusters of input channels a quarter stays where a
    layer has as many output as input channels, else a half; the first convolution stays dense.

    8 bits (fp8 stands for INT8). Raises `SimulationError` for a network that is not described here.
    """
    if name not in NETWORKS:
        raise SimulationError(f"MCBBS: no network {name!r} here; choose {', '.join(NETWORKS)} or describe it")
    with torch.device("meta"):
        model, images = NETWORKS[name](), torch.empty(1, 3, POINTS, POINTS)
    forward = capture(model, images, name=name, training=False, dtype="fp8")
    kept: dict[str, LayerPruning] = {}
    layers = [(path, part) for path, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for path, layer in layers[1:]:
        outputs, inputs = layer.weight.shape[:2]
        kept[f"{path}.weight"] = LayerPruning({"FF": NM(ranges // (4 if inputs == outputs else 2), ranges, "c")})
    return apply_pruning(forward, Pruning("MCBBS", kept))


def mcbbs_build(row: Row) -> tuple[Accelerator, int]:
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


def mcbbs(tolerance: float = 0.15) -> list[Comparison]:
    """Time of the convolutions and fully connected layers of every MCBBS row, and of its whole network for
    information: the pooling engine's rate is not published.

    Left out: the width of the transfers between the movers and the buffers (the design's own latency model has it, its
    figure for these builds could not be read), which weighs on convolutions of 1x1; the host's share of a launch.
    """
    rows = []
    for metric in ("latency_fc_conv", "latency"):
        for row in rows_of("MCBBS", metric):
            accelerator, ranges = mcbbs_build(row)
            result = simulate(mcbbs_network(row["workload"], ranges), accelerator)
            products = sum(op.latency_s for op in result.rows if op.kind == "einsum") * 1e3
            what, reference, source = (
                f"mcbbs {row['workload']} {fact(row, 'build')}",
                float(row["value"]),
                row["source"],
            )
            if metric == "latency_fc_conv":
                rows.append(against(SUITE, f"{what}, FC + CONV", products, reference, "ms", tolerance, source,
                                    "off-chip bandwidth without losses"))  # fmt: skip
            else:
                rows.append(shown(f"{what}, all layers", result.latency_s * 1e3, reference, "ms", source,
                                  "the rate of pooling is assumed"))  # fmt: skip
    return rows

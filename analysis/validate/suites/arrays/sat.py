"""SAT (arXiv 2309.13015): the published average speedup of N:M training, and what the agreement is worth.

The paper's abstract gives one figure, 1.75x on average at 2:8. Array size, clock, buffers, latencies and batch are
not published: they are the template's assumptions, the same for every network. The suite therefore also shows the
worth of each mechanism and how far the average moves when an assumption is halved or doubled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from statistics import mean
from typing import Any

import torch

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.validate.comparison import Comparison, against, below, information, reference_rows
from zerocast.simulator import simulate
from zerocast.simulator.size.resources import fpga_resources
from zerocast.workloads import build, capture, expand_training, prune
from zerocast.workloads.ir import Workload
from zerocast.workloads.pruning import apply_pruning

NETWORKS = ("resnet9", "vit_cifar", "vgg19", "resnet18_tiny", "resnet50")
"""ResNet-9, ViT, VGG-19, ResNet-18, ResNet-50 on the data sets that the publication names; which goes with
which is an assumption (CIFAR-10, CIFAR-100, CIFAR-100, Tiny ImageNet, ImageNet)."""

BATCH = 128
"""Assumption, the same for every network: images per training step."""

SMALL_BATCH = 4

CEILINGS: dict[str, Callable[[float], float]] = {
    "bdwp": lambda r: 3 / (1 + 2 * r),
    "srste": lambda r: 3 / (2 + r),
    "sdgp": lambda r: 3 / (2 + r),
}
"""Speedup if multiply-accumulates were all that counts, r = N/M: FF + BP + WU, each one third."""

MECHANISMS: dict[str, dict[str, Any]] = {
    "without interleaving": {"compute.interleave": False},
    "without pre-generation": {"schedule.pregenerate": False},
    "without offline scheduling (output-stationary only)": {"compute.dataflows": ["output_stationary"]},
    "without offline scheduling (weight-stationary only)": {"compute.dataflows": ["weight_stationary"]},
    "without weight prefetch": {"schedule.prefetch_weights": False},
    "without interleaving, output-stationary only": {
        "compute.interleave": False, "compute.dataflows": ["output_stationary"],
    },
}  # fmt: skip


def compare(say: Callable[[str], None]) -> list[Comparison]:
    """All comparisons of the suite."""
    say("lowering " + ", ".join(NETWORKS))
    for network in NETWORKS:
        forward_of(network, BATCH)
    say("speedups")
    rows = headline() + other_patterns()
    say("worth of each mechanism")
    rows += mechanisms()
    say("sensitivity to the assumptions")
    rows += sensitivity()
    return rows + budget()


@cache
def forward_of(network: str, batch: int) -> Workload:
    """Forward workload of a network, lowered once, without weight data."""
    with torch.device("meta"):
        module, inputs = build(network, batch=batch)
    return capture(module, inputs, name=network, training=False)


@cache
def step_of(network: str, recipe: str, batch: int = BATCH) -> Workload:
    """One training step of a network under a recipe."""
    with torch.device("meta"):
        module, _ = build(network, batch=1)
    _, pruning = prune(module, recipe)
    return expand_training(apply_pruning(forward_of(network, batch), pruning), "sgd_momentum", pruning)


def speedup(network: str, recipe: str, accelerator: Accelerator, batch: int = BATCH) -> float:
    """Dense training time over training time under the recipe, on the same accelerator."""
    dense = simulate(step_of(network, "dense", batch), accelerator).latency_s
    return dense / simulate(step_of(network, recipe, batch), accelerator).latency_s


def average(recipe: str, overrides: Mapping[str, Any] | None = None, batch: int = BATCH) -> float:
    """Mean speedup over the networks."""
    accelerator = load("sat-vcu1525", overrides)
    return mean(speedup(network, recipe, accelerator, batch) for network in NETWORKS)


def headline() -> list[Comparison]:
    """The published average, and each network with its ceiling."""
    (published,) = [row for row in reference_rows("published.csv") if row["system"] == "SAT+BDWP"]
    sat = load("sat-vcu1525")
    speedups = {network: speedup(network, "bdwp:2:8", sat) for network in NETWORKS}
    rows = [against("sat", "average training speedup, BDWP 2:8", mean(speedups.values()), float(published["value"]),
                    "x", 0.10, published["source"])]  # fmt: skip
    for network, gain in speedups.items():
        rows.append(below("sat", f"{network} training speedup, BDWP 2:8", gain, CEILINGS["bdwp"](2 / 8), "x",
                          "MAC ceiling 3 / (1 + 2 N/M)"))  # fmt: skip
    return rows


def other_patterns() -> list[Comparison]:
    """Other ratios and methods, each held to its ceiling."""
    rows = []
    for method, n, m in (("bdwp", 2, 4), ("bdwp", 2, 16), ("srste", 2, 4), ("srste", 2, 8), ("srste", 2, 16),
                         ("sdgp", 2, 8)):  # fmt: skip
        gain = average(f"{method}:{n}:{m}")
        rows.append(below("sat", f"average training speedup, {method.upper()} {n}:{m}", gain,
                          CEILINGS[method](n / m), "x", "MAC ceiling"))  # fmt: skip
    return rows


def mechanisms() -> list[Comparison]:
    """Training time at BDWP 2:8 with one mechanism taken away, over the time with all of them.

    Shown at the suite's batch and at a small one, where a step updates its weights for less work.
    """
    rows = []
    for batch in (BATCH, SMALL_BATCH):
        full = _times({}, batch)
        for what, overrides in MECHANISMS.items():
            slower = mean(time / full[network] for network, time in _times(overrides, batch).items())
            gain = average("bdwp:2:8", overrides, batch)
            what = f"step time {what}, batch {batch}"
            rows.append(information("sat", what, slower, "x of full", f"average speedup {gain:.3f}x"))
    return rows


def _times(overrides: Mapping[str, Any], batch: int) -> dict[str, float]:
    accelerator = load("sat-vcu1525", overrides)
    return {network: simulate(step_of(network, "bdwp:2:8", batch), accelerator).latency_s for network in NETWORKS}


def assumptions() -> dict[str, dict[str, dict[str, Any]]]:
    """For each unpublished assumption, the overrides that halve and double it."""
    sat = load("sat-vcu1525")
    compute = sat.compute

    def scaled(factor: float) -> dict[str, dict[str, Any]]:
        def whole(value: float) -> int:
            return max(round(value * factor), 1)

        return {
            "array columns": {"compute.cols": whole(compute.cols)},
            "array rows and columns": {
                "compute.rows": whole(compute.rows), "compute.cols": whole(compute.cols),
            },
            "clock": {"technology.clock_hz": sat.technology.clock_hz * factor},
            "buffers": {f"memories.{m.name}.capacity_bytes": (m.capacity_bytes or 0) * factor for m in sat.buffers},
            "buffer ports": {
                f"memories.{m.name}.port_bytes_per_cycle": (m.port_bytes_per_cycle or 0) * factor for m in sat.buffers
            },
            "DRAM bandwidth": {"memories.dram.bandwidth_bytes_per_s": sat.dram_bytes_per_s * factor},
            "accumulate latency": {
                "compute.accumulate_latency_cycles": whole(compute.accumulate_latency_cycles),
                "compute.accumulators_per_pe": whole(compute.accumulators_per_pe),
            },
            "accumulators per PE": {"compute.accumulators_per_pe": whole(compute.accumulators_per_pe)},
            "vector unit lanes": {"units.vector_unit.lanes": whole(sat.units[2].lanes)},
        }  # fmt: skip

    half, double = scaled(0.5), scaled(2.0)
    return {name: {"halved": half[name], "doubled": double[name]} for name in half}


def sensitivity() -> list[Comparison]:
    """The average at BDWP 2:8 with each assumption halved and doubled."""
    rows = []
    for name, sides in assumptions().items():
        for side, overrides in sides.items():
            rows.append(information("sat", f"average speedup, {name} {side}", average("bdwp:2:8", overrides), "x"))
    for side, batch in (("halved", BATCH // 2), ("doubled", BATCH * 2)):
        rows.append(information("sat", f"average speedup, batch {side}", average("bdwp:2:8", batch=batch), "x"))
    return rows


def budget() -> list[Comparison]:
    """FPGA resources of the design against what the part has left for it."""
    sat = load("sat-vcu1525")
    part = sat.technology.fpga
    assert part is not None  # the template is an FPGA design
    source = sat.sources["technology.fpga"].text
    return [
        below("sat", f"{name.upper()} used", used, float(getattr(part, name)), "", source)
        for name, used in fpga_resources(sat).items()
    ]

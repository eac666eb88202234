"""SCNN (ISCA 2017) against its dense twin DCNN: pruned networks, and density swept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zerocast.accelerators import load
from zerocast.analysis.validate.comparison import Comparison, against, information
from zerocast.analysis.validate.suites.zeroskip.layers import layers, unit_stride, workload_of
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE
from zerocast.simulator import simulate

PAPER = "SCNN (Parashar et al., ISCA 2017), from reading notes on the paper"

SPEEDUPS = {"alexnet": 2.37, "vgg16": 3.52}
"""Of SCNN over DCNN: SCNN, section 6."""

DENSITIES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
"""Densities of both operands at which GoogLeNet is swept."""


def compare() -> list[Comparison]:
    """All comparisons of SCNN."""
    return networks() + sweep()


def networks() -> list[Comparison]:
    """Speedup over DCNN on pruned networks, and what stride 4 costs where an engine scatters it as it is."""
    scnn, dcnn = load("scnn"), load("dcnn")
    rows = []
    for network, published in SPEEDUPS.items():
        known = layers(network)
        dense = simulate(workload_of(known, "int16"), dcnn).latency_s
        gain = dense / simulate(workload_of(map(unit_stride, known), "int16"), scnn).latency_s
        note = "strided layers as unit-stride ones over residue classes" if network == "alexnet" else ""
        rows.append(against(SUITE, f"scnn over dcnn, {network} convolutions", gain, published, "x", 0.15,
                            PAPER, note))  # fmt: skip
        if any(layer.stride > 1 for layer in known):
            scattered = dense / simulate(workload_of(known, "int16"), scnn).latency_s
            rows.append(information(SUITE, f"scnn over dcnn, {network}, strides scattered as they are", scattered,
                                    "x", "15 of 16 products of a stride of 4 fall outside the output; the published "
                                    "figure leaves no room for that"))  # fmt: skip
    return rows


def sweep() -> list[Comparison]:
    """GoogLeNet's 54 convolutions inside inceptions (54 of the paper's 72 layers) with both operands' density swept."""
    inside = [layer for layer in layers("googlenet") if layer.name.startswith("inception")]
    dense = simulate(workload_of(inside, "int16"), load("dcnn"))
    results = []
    for density in DENSITIES:
        thinned = [replace(layer, input_density=density, weight_density=density) for layer in inside]
        results.append(simulate(workload_of(thinned, "int16"), load("scnn")))
    speed = [dense.latency_s / result.latency_s for result in results]
    energy = [result.energy_j / dense.energy_j for result in results]
    cycles, *_, fewest = (sum(row.cycles for row in result.rows) for result in results)
    useful, *_, left = (sum(row.ideal_cycles for row in result.rows) for result in results)
    dense_cycles = sum(row.cycles for row in dense.rows)
    what = "scnn over dcnn, googlenet inceptions"
    return [
        against(SUITE, f"{what}, speed at density 1/1", speed[0], 0.79, "x", 0.15, PAPER),
        against(SUITE, f"{what}, density of equal speed", equal_at(speed), 0.85, "", 0.1 / 0.85, PAPER,
                "within 0.1 of the density"),
        information(SUITE, f"{what}, multipliers in use at 1/1", useful / cycles, "",
                    "published: .59 for 64 PEs, its densities not said"),
        information(SUITE, f"{what}, speed at density .1/.1", speed[-1], "x",
                    f"published 24x; {dense_cycles / fewest:.1f}x without memory: activations leave the chip here "
                    "between layers, which SCNN's do not, and half-filled vectors and waiting keep the array at "
                    f"{left / fewest:.2f} of its multipliers"),
        information(SUITE, f"{what}, energy at density 1/1", energy[0], "x",
                    "published 1.33x; the crossbar, coordinates and accumulator banks have no entry in the table"),
        information(SUITE, f"{what}, density of equal energy", equal_at(energy), "", "published .83, see above"),
        information(SUITE, f"{what}, energy at density .1/.1", energy[-1], "x", "published 0.06x"),
    ]  # fmt: skip


def equal_at(ratios: Sequence[float]) -> float:
    """Density of `DENSITIES` at which a ratio to the dense design that changes steadily with it is 1.

    The end of the range that is nearer to 1 where it is 1 nowhere in between.
    """
    order = np.argsort(ratios)
    return float(np.interp(1.0, np.asarray(ratios)[order], np.asarray(DENSITIES)[order]))

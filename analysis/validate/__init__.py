"""Hold predictions against references: published figures, peer simulators. One module per suite in `suites/`."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from zerocast.analysis.validate.comparison import Comparison
from zerocast.simulator.errors import SimulationError

SUITES = {
    "templates": "every template on probe products: a constant that changes shows here; recorded, not published",
    "dense": "dense arrays: TPU-like cycles as published, array cycles of SCALE-Sim 3",
    "sat": "N:M training array: published average speedup, worth of each mechanism, sensitivity to assumptions",
    "zeroskip": "engines that gate or skip zeros: nine published designs, from one PE to whole networks",
    "dpu": "a vendor's array on five FPGA boards: images per second of whole networks, dense and pruned",
    "gemmini": "layers on a systolic array's RTL: cycles under given mappings and under the search's own",
    "fused": "two fused matrix products on an RTL array: cycles under given tiles",
    "energy": "power and energy as published: one engine's arithmetic, chips, inferences per joule",
    "area": "area of chips and FPGA resources: seventeen published designs, constants from cell-level sources",
    "gpu": "GPU kernel times against measured products: left-out shapes, cards and networks, dense and 2:4",
    "gpu_networks": "whole networks on GPUs as published, each in its software regime: inference, generation, training",
    "gpu_iterations": "training iterations of language models on groups of cards: time",
    "gpu_power": "time, energy and power of networks on three cards at locked clocks and under a power limit",
    "two_four_training": "training with 2:4 weights selected at run time on a GPU, as published: times and speedup",
    "memory": "memory of training and serving as published: optimizers, steps on one card, LoRA, layers over cards",
    "systems": "59 published systems of sparsity: their claims; whether they work here (1), partly (0.5) or not (0)",
}
"""Suites by name, in the order in which they run, and what each holds."""
_MODULES = {
    "templates": "chips.templates",
    "dense": "arrays.dense",
    "sat": "arrays.sat",
    "zeroskip": "zeroskip",
    "dpu": "arrays.dpu",
    "gemmini": "arrays.gemmini",
    "fused": "arrays.fused",
    "energy": "chips.energy",
    "area": "chips.area",
    "gpu": "gpu.products.unseen",
    "gpu_networks": "gpu.networks.timed",
    "gpu_iterations": "gpu.networks.iterations",
    "gpu_power": "gpu.networks.power",
    "two_four_training": "gpu.networks.two_four_training",
    "memory": "gpu.networks.memory",
    "systems": "systems",
}
"""Where each is, in `suites/`."""

Say = Callable[[str], None]


def run(suite: str | None = None, say: Say = lambda message: None, part: str | None = None) -> list[Comparison]:
    """All comparisons of one suite (of one part of it: an engine, a template), or of every suite.

    `say` is told what is being computed. Raises `SimulationError` for an unknown suite or part.
    """
    if suite is not None and suite not in SUITES:
        raise SimulationError(f"unknown suite {suite!r}; choose {', '.join(SUITES)}, or none for all")
    rows: list[Comparison] = []
    for name in [suite] if suite else list(SUITES):
        module = importlib.import_module(f"zerocast.analysis.validate.suites.{_MODULES[name]}")
        if part is None:
            rows += module.compare(say)
            continue
        parts = module.parts() if hasattr(module, "parts") else ()
        if part not in parts:
            known = f"choose {getattr(module, 'CHOICES', ', '.join(parts))}" if parts else "it has none"
            raise SimulationError(f"no part {part!r} of the suite {name}; {known}")
        rows += module.compare(say, part)
    return rows

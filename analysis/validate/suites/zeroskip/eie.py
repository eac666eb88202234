"""EIE (ISCA 2016): times of fully connected layers, and what its activation queues are worth."""

from __future__ import annotations

from statistics import median

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.validate.comparison import Comparison, against
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE, rows_of, shown, zeros_of
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.laws.lanes import engine_cycles
from zerocast.simulator.products.gemm import Gemm, plain_gemm
from zerocast.workloads.formats import storage_bits
from zerocast.workloads.patterns import Uniform

LAYERS: dict[str, tuple[int, int, float]] = {
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

LOCK_STEP = {"skipping.queue": 0}
"""Queues of 1: the entry in work and none that waits beside it, which is what the schema's `queue` counts."""


def compare(tolerance: float = 0.15) -> list[Comparison]:
    """Actual time of every EIE layer with its queues of 8, from drawn masks and in expectation, and what queues of 1
    lose."""
    deep, shallow = load("eie"), load("eie", LOCK_STEP)
    theoretical = {row["workload"]: float(row["value"]) for row in rows_of("EIE", "theoretical_time")}
    rows, ratios = [], []
    for row in rows_of("EIE", "actual_time"):
        name, actual = row["workload"], float(row["value"])
        if name not in theoretical:
            raise SimulationError(f"EIE {name}: zeroskip.csv lacks its theoretical_time, which states the work")
        gemm = product_for(name, theoretical[name])
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


def product_for(name: str, theoretical_us: float) -> Gemm:
    """The matrix-vector product of a layer, its weights as dense as the theoretical time asks for.

    theoretical_us: stored nonzeros (padding included) times broadcasts, over 64 PEs at 800 MHz. Raises
    `SimulationError` for an unknown layer, and for a time in which every weight could be multiplied.
    """
    if name not in LAYERS:
        raise SimulationError(f"EIE has no layer {name!r} here; choose {', '.join(LAYERS)} or add its shape")
    inputs, outputs, activations = LAYERS[name]
    accelerator = load("eie")
    lanes = accelerator.skipping.lanes if accelerator.skipping is not None else 1
    words = theoretical_us * 1e-6 * accelerator.technology.clock_hz * lanes / (inputs * activations)
    if words > outputs:
        raise SimulationError(f"EIE {name}: {theoretical_us} us hold more than its {outputs} x {inputs} weights")
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if stored_words(accelerator, outputs, middle) < words else (low, middle)
    return plain_gemm(1, outputs, inputs, "int16", 16, zeros_of(activations), Uniform(high))


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

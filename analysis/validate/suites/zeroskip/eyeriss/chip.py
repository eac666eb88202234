"""Eyeriss v2, the whole chip, on sparse MobileNet (width 0.5, input 128)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zerocast.accelerators import Accelerator, load
from zerocast.analysis.validate.comparison import Comparison, against, information
from zerocast.analysis.validate.suites.zeroskip.layers import Layer, layers, without_zeros, workload_of
from zerocast.analysis.validate.suites.zeroskip.rows import SUITE
from zerocast.simulator import OpRow, simulate
from zerocast.simulator.laws.lanes.losses import CAUSES
from zerocast.simulator.simulation import Fidelity

PAPER = "Eyeriss v2 (Chen et al., JETCAS 2019, arXiv 1807.07928)"


def compare() -> list[Comparison]:
    """Inferences per second of sparse MobileNet on the chip, where cycles are lost, and what is uncertain."""
    network = layers("mobilenet_half_128")
    result = simulate(workload_of(network, "int8"), load("eyeriss-v2"))
    rate = 1 / result.latency_s
    what = "eyeriss-v2, sparse MobileNet 0.5-128"
    rows = [against(SUITE, what, rate, 1470.6, "inferences/s", 0.20, PAPER,
                    "densities of 13 of 28 layers are assumptions in part, see layers.csv; filling the weight pads "
                    "is not charged")]  # fmt: skip
    rows += losses(what, result.rows)
    dense = _rate(map(without_zeros, network))
    note = f"sparsity gains {rate / dense:.2f}x, published 1.2x"
    rows.append(information(SUITE, f"{what}, without zeros", dense, "inferences/s", note))
    walked = _rate(network, fidelity="tile")
    rows.append(information(SUITE, f"{what}, walked with drawn zeros", walked, "inferences/s",
                            f"{walked / rate - 1:+.1%}: PEs that share activations wait less, zeros of the padding "
                            "are skipped"))  # fmt: skip
    for case, overrides, note in cases():
        found = _rate(network, overrides)
        rows.append(information(SUITE, f"{what}, {case}", found, "inferences/s",
                                f"{found / rate - 1:+.1%}{note}"))  # fmt: skip
    return rows


def losses(what: str, rows: Iterable[OpRow]) -> list[Comparison]:
    """Share of all cycles lost to each cause."""
    einsums = list(rows)
    spent = sum(row.cycles + row.lost_memory_cycles for row in einsums)
    useful = sum(row.ideal_cycles for row in einsums) / spent
    found = [information(SUITE, f"{what}, multiplying nonzeros", useful, "of cycles", "published .455 of 384 MACs")]
    for cause in (*CAUSES, "memory"):
        lost = sum(getattr(row, f"lost_{cause}_cycles") for row in einsums)
        note = "sums leaving the PEs, two a cycle, and the pipeline draining" if cause == "ramp" else ""
        found.append(information(SUITE, f"{what}, lost to {cause}", lost / spent, "of cycles", note))
    return found


def cases() -> list[tuple[str, dict[str, Any], str]]:
    """What is not published, decided otherwise, and the limited link: name, overrides, note."""
    link = {"memories.dram.bandwidth_bytes_per_s": 25.6e9}
    single = {f"memories.{buffer.name}.double_buffered": False for buffer in load("eyeriss-v2").buffers}
    return [
        ("link of 25.6 GB/s", link, "; published -24 %; the next tiles load while PEs work, which the chip may not do"),
        ("link of 25.6 GB/s, nothing loads while PEs work", link | single, "; published -24 %"),
        ("PEs of a column wait for each other", {"skipping.sync_group": 3}, " instead of those of a cluster"),
        ("all PEs wait for each other", {"skipping.sync_group": 192}, " instead of those of a cluster"),
        ("16 x 12 weights a PE", _narrow(), " instead of 32 x 6; 8 + 6 cycles for 16 sums"),
    ]


def _narrow() -> dict[str, Any]:
    """Overrides for 16 outputs and 12 activations of a window in a PE."""
    arrangements = [each.model_dump(exclude_none=True) for each in _arrangements(load("eyeriss-v2"))]
    for each in arrangements:
        for rank, tile in (("m", 16), ("n", 16), ("k", 12)):
            if each[rank].get("tile", 1) > 1:
                each[rank]["tile"] = tile
    return {"skipping.arrangements": arrangements, "skipping.step_cycles": 14}


def _arrangements(accelerator: Accelerator) -> Iterable[Any]:
    assert accelerator.skipping is not None  # the template is such an engine
    return accelerator.skipping.arrangements


def _rate(
    network: Iterable[Layer], overrides: Mapping[str, Any] | None = None, fidelity: Fidelity = "analytic"
) -> float:
    """Inferences per second of int8 layers on Eyeriss v2."""
    return 1 / simulate(workload_of(network, "int8"), load("eyeriss-v2", overrides), fidelity=fidelity).latency_s

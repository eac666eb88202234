"""Whether a workload fits the off-chip memory, and in words what would where it does not."""

from __future__ import annotations

from zerocast.accelerators.library import load, templates
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards import cards_of
from zerocast.simulator.errors import DoesNotFit
from zerocast.simulator.program.fit import cards_needed, fixed_bytes, largest_batch
from zerocast.simulator.program.footprint import lives
from zerocast.simulator.program.storage import Storage
from zerocast.workloads.ir import Workload


def overflow(peak_bytes: int, accelerator: Accelerator) -> str:
    """What a workload needs of the off-chip memory and what there is, where that is less; else ""."""
    capacity = accelerator.dram.capacity_bytes
    if capacity is None or peak_bytes <= capacity:
        return ""
    has = f"{accelerator.dram.name} of {accelerator.name} has {_gigabytes(capacity)}"
    return f"needs {_gigabytes(peak_bytes)} at its peak, {has}"


def refusal_of_overflow(
    workload: Workload, storage: Storage, peak_bytes: int, accelerator: Accelerator
) -> DoesNotFit | None:
    """The error for a workload that does not fit the off-chip memory, with what would; None where it fits."""
    what = overflow(peak_bytes, accelerator)
    if not what:
        return None
    return DoesNotFit(f"workload {workload.name!r} {what}; {_remedy(workload, storage, peak_bytes, accelerator)}")


def _remedy(workload: Workload, storage: Storage, peak_bytes: int, accelerator: Accelerator) -> str:
    capacity = accelerator.dram.capacity_bytes
    assert capacity is not None  # else there is nothing to overflow
    batch, spans = workload.meta.get("batch"), lives(workload, storage)
    most = largest_batch(workload, spans, capacity)
    if isinstance(batch, int) and 1 <= most < batch:
        return f"a batch of {most} in place of {batch} fits"
    larger = _holding(peak_bytes, accelerator)
    alone = f"{_gigabytes(fixed_bytes(workload, spans))} of it stay at any batch size"
    found = [alone, f"{larger} fits it"] if larger else [alone]
    cards, _ = cards_needed(workload, storage, capacity)
    if cards is None:
        found.append("one of its layers alone is too large")
    elif cards > 1:
        found.append(f"{cards * cards_of(accelerator)} of them hold it with layers dealt whole")
    return "; ".join(found)


def _holding(peak_bytes: int, accelerator: Accelerator) -> str:
    """The shipped accelerator of the same family with the least memory that holds `peak_bytes`; "" for none."""
    others = [load(name) for name in templates()]
    found = [
        (other.dram.capacity_bytes, other.name)
        for other in others
        if other.family == accelerator.family and (other.dram.capacity_bytes or 0) >= peak_bytes
    ]
    return min(found, default=(0.0, ""))[1]  # type: ignore[type-var]


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"

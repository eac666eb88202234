"""Whether a workload fits the off-chip memory, and what would fit where it does not."""

from __future__ import annotations

import math
from collections.abc import Iterable

from zerocast.accelerators.library import load, templates
from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards import cards_of
from zerocast.simulator.errors import SimulationError
from zerocast.simulator.program.footprint import Span, alive
from zerocast.simulator.program.program import Program
from zerocast.workloads.ir import Workload


def overflow(peak_bytes: int, accelerator: Accelerator) -> str:
    """What a workload needs of the off-chip memory and what there is, where that is less; else ""."""
    capacity = accelerator.dram.capacity_bytes
    if capacity is None or peak_bytes <= capacity:
        return ""
    has = f"{accelerator.dram.name} of {accelerator.name} has {_gigabytes(capacity)}"
    return f"needs {_gigabytes(peak_bytes)} at its peak, {has}"


def refusal_of_overflow(planned: Program, accelerator: Accelerator) -> SimulationError | None:
    """The error for a workload that does not fit the off-chip memory, with what would; None where it fits."""
    what = overflow(planned.footprint.peak_bytes, accelerator)
    if not what:
        return None
    workload = planned.plan.workload
    return SimulationError(
        f"workload {workload.name!r} {what}; {_remedy(planned, accelerator)}; to price it all the same, "
        "pass allow_overflow=True (--allow-overflow)"
    )


def _remedy(planned: Program, accelerator: Accelerator) -> str:
    workload, capacity = planned.plan.workload, accelerator.dram.capacity_bytes
    assert capacity is not None  # else there is nothing to overflow
    batch, peak = workload.meta.get("batch"), planned.footprint.peak_bytes
    most = largest_batch(workload, planned.lives(), capacity)
    if isinstance(batch, int) and 1 <= most < batch:
        return f"a batch of {most} in place of {batch} fits"
    larger = _holding(peak, accelerator)
    fixed, _ = _parted(workload, planned.lives())
    alone = f"{_gigabytes(max(alive(fixed, len(workload.ops)), default=0))} of it stay at any batch size"
    several = math.ceil(peak / capacity) * cards_of(accelerator)
    together = f"{several} of them together hold it"
    if accelerator.gpu is not None and accelerator.gpu.link is not None:
        together += f" (--tensor-parallel {1 << (several - 1).bit_length()})"
    return f"{alone}; {larger} fits it, {together}" if larger else f"{alone}; {together}"


def largest_batch(workload: Workload, lives: Iterable[Span], capacity: float) -> int:
    """The most samples with which the workload fits; its own batch for one that does not know its batch.

    Inputs, activations and what is saved of them grow with the batch; weights, their gradients, optimizer state and
    constants do not. So at each op the bytes alive are a straight line in the batch.
    """
    batch = workload.meta.get("batch")
    if not isinstance(batch, int):
        return 0
    fixed, growing = (alive(spans, len(workload.ops)) for spans in _parted(workload, lives))
    most = min(
        ((capacity - rest) * batch / each for rest, each in zip(fixed, growing, strict=True) if each > 0),
        default=math.inf,
    )
    return 0 if most < 1 or max(fixed, default=0) > capacity else math.floor(most)


def _parted(workload: Workload, lives: Iterable[Span]) -> tuple[list[Span], list[Span]]:
    """Lives of what does not grow with the batch, and of what does."""
    weights = {name for op in workload.ops if op.phase in ("WU", "UPDATE") for name in op.outputs}
    grows = {t.name for t in workload.tensors.values() if t.role in _OF_BATCH and t.name not in weights}
    spans = list(lives)
    return [s for s in spans if s.tensor not in grows], [s for s in spans if s.tensor in grows]


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


_OF_BATCH = ("input", "activation", "gradient", "index")

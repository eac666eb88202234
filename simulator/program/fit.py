"""What would fit: the largest batch, cards with layers dealt whole, and what offloading over the host's link costs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cards.dealing import Dealing, held_bytes
from zerocast.simulator.program.footprint import Span, alive, lives
from zerocast.simulator.program.storage import Storage
from zerocast.simulator.result import Fit
from zerocast.workloads.ir import Workload


def fit_of(workload: Workload, storage: Storage, peak_bytes: int, accelerator: Accelerator) -> Fit | None:
    """What of a workload fits an accelerator's off-chip memory; None where its size is not known."""
    capacity = accelerator.dram.capacity_bytes
    if capacity is None:
        return None
    batch = largest_batch(workload, lives(workload, storage), capacity) if workload.meta.get("batch") else None
    cards, fullest = cards_needed(workload, storage, capacity) if peak_bytes > capacity else (1, peak_bytes)
    excess = max(peak_bytes - int(capacity), 0)
    return Fit(int(capacity), batch, cards, fullest, excess, offload_s(workload, excess, accelerator))


def offload_s(workload: Workload, excess_bytes: int, accelerator: Accelerator) -> float | None:
    """Time of a step to bring what does not fit over the host's link, in s, hidden behind nothing: a training step
    changes it and puts it back. None where the link is not known."""
    link = accelerator.host.link_bytes_per_s
    ways = 2 if workload.meta.get("training") else 1
    return 0.0 if not excess_bytes else None if link is None else ways * excess_bytes / link


def cards_needed(workload: Workload, storage: Storage, capacity: float) -> tuple[int | None, int]:
    """The fewest cards that hold a workload whose layers are dealt to them, and what the fullest then needs; None cards
    where not even one layer a card fits."""
    dealing = Dealing(workload)
    most = max(len(dealing.layers), 1)
    least = fullest_of(dealing, storage, most)
    if least > capacity:
        return None, least
    lasting = sum(span.bytes for span in lives(workload, storage) if span.first < 0 and span.kind != "inputs")
    for cards in range(max(math.ceil(lasting / capacity), 1), most):
        if (fullest := fullest_of(dealing, storage, cards)) <= capacity:
            return cards, fullest
    return most, least


def fullest_of(dealing: Dealing, storage: Storage, cards: int) -> int:
    """Bytes that the fullest of some cards needs, one micro-batch on its way."""
    return max(held_bytes(dealing.stage(stretch), storage) for stretch in dealing.stretches(cards))


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


def fixed_bytes(workload: Workload, lives: Iterable[Span]) -> int:
    """The most that lies there at once of what does not grow with the batch."""
    fixed, _ = _parted(workload, lives)
    return max(alive(fixed, len(workload.ops)), default=0)


def _parted(workload: Workload, lives: Iterable[Span]) -> tuple[list[Span], list[Span]]:
    """Lives of what does not grow with the batch, and of what does."""
    weights = {name for op in workload.ops if op.phase in ("WU", "UPDATE") for name in op.outputs}
    grows = {t.name for t in workload.tensors.values() if t.role in _OF_BATCH and t.name not in weights}
    spans = list(lives)
    return [s for s in spans if s.tensor not in grows], [s for s in spans if s.tensor in grows]


_OF_BATCH = ("input", "activation", "gradient", "index")

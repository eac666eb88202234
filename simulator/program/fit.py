"""What would fit: the largest batch, cards with layers dealt whole, and what offloading over the host's link costs."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.program.footprint import Span, alive
from zerocast.simulator.program.overflow import largest_batch
from zerocast.simulator.program.program import Program
from zerocast.simulator.result import Fit
from zerocast.workloads.ir import Workload


def fit_of(planned: Program, peak_bytes: int, accelerator: Accelerator) -> Fit | None:
    """What of a program fits an accelerator's off-chip memory; None where its size is not known."""
    capacity = accelerator.dram.capacity_bytes
    if capacity is None:
        return None
    workload = planned.plan.workload
    batch = largest_batch(workload, planned.lives(), capacity) if workload.meta.get("batch") else None
    cards, fullest = cards_needed(planned, capacity) if peak_bytes > capacity else (1, peak_bytes)
    excess = max(peak_bytes - int(capacity), 0)
    return Fit(int(capacity), batch, cards, fullest, excess, offload_s(workload, excess, accelerator))


def offload_s(workload: Workload, excess_bytes: int, accelerator: Accelerator) -> float | None:
    """Time of a step to bring what does not fit over the host's link, in s, hidden behind nothing: a training step
    changes it and puts it back. None where the link is not known."""
    link = accelerator.host.link_bytes_per_s
    ways = 2 if workload.meta.get("training") else 1
    return 0.0 if not excess_bytes else None if link is None else ways * excess_bytes / link


def cards_needed(planned: Program, capacity: float) -> tuple[int | None, int]:
    """The fewest cards that hold a program whose layers are dealt to them whole, in order, as many to each, and what
    the fullest then needs; None cards where not even one layer a card fits."""
    held = _by_layer(planned)
    for cards in range(1, len(held) + 1):
        each = -(-len(held) // cards)
        fullest = int(np.add.reduceat(held, range(0, len(held), each)).max())
        if fullest <= capacity:
            return -(-len(held) // each), fullest
    return None, int(held.max())


def fullest_of(planned: Program, cards: int) -> int:
    """Bytes that the fullest of some cards needs, layers dealt to them whole."""
    held = _by_layer(planned)
    return int(np.add.reduceat(held, range(0, len(held), -(-len(held) // cards))).max())


def _by_layer(planned: Program) -> NDArray[np.int64]:
    """Bytes alive at each op of what belongs to each layer, [layers][ops].

    Layers are the items of the network's lists (`layers.3`); what comes before the first belongs to it, what comes
    behind one to that one. A tensor belongs to the layer of the first op that touches it.
    """
    ops = planned.plan.workload.ops
    numbers: dict[str, int] = {}
    place: dict[str, int] = {}
    now = 0
    for op in ops:
        if op.phase == "FF" and op.layer:
            if found := _ITEM.match(op.layer):
                now = numbers.setdefault(found.group(), len(numbers))
            place.setdefault(op.layer, now)
    home: dict[str, int] = {}
    for op in ops:
        for name in (*op.inputs, *op.outputs):
            home.setdefault(name, place.get(op.layer, max(len(numbers) - 1, 0)))
    spans: list[list[Span]] = [[] for _ in range(max(len(numbers), 1))]
    for span in planned.lives():
        spans[home.get(span.tensor, 0)].append(span)
    return np.array([alive(each, len(ops)) for each in spans])


_ITEM = re.compile(r"(?:.*?\.)?\d+(?=\.|$)")

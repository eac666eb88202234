"""What the cycles of an engine consist of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zerocast.accelerators.schema import Skipping
from zerocast.simulator.laws.lanes.banks import conflict_factor

CAUSES = ("imbalance", "fragmentation", "padding", "edge", "conflict", "ramp", "wasted")
"""Why lanes are not multiplying nonzeros, as fields of `EngineCycles`."""


@dataclass(frozen=True, slots=True)
class EngineCycles:
    """Cycles of the array for a product; `cycles` is the sum of the others.

    ideal: all multipliers busy with nonzeros that meet in an output. wasted: with products that lie in none, as engines
    make that scatter. fragmentation: vectors that are not full. padding: words stored for
    long runs of zeros. edge: lanes without elements. imbalance: waiting for the slowest lane. conflict: accumulators
    and memory banks. ramp: filling and draining, and loading what is stationary. arrangement: which of the engine's.
    """

    cycles: float
    ideal: float
    imbalance: float = 0.0
    fragmentation: float = 0.0
    padding: float = 0.0
    edge: float = 0.0
    conflict: float = 0.0
    ramp: float = 0.0
    wasted: float = 0.0
    arrangement: int = 0

    @property
    def losses(self) -> dict[str, float]:
        """Cycles lost by cause."""
        return {name: getattr(self, name) for name in CAUSES}


@dataclass(frozen=True, slots=True)
class LaneWork:
    """Work of all lanes together: multiplications of nonzeros, and lane cycles as vectors of the bare nonzeros, with
    padding words, and with the accumulators' waits."""

    pairs: float
    bare: float
    padded: float
    spent: float


def split_cycles(
    skipping: Skipping, cycles: float, work: LaneWork, edge: float, ramp: float, useful: float = 1.0
) -> EngineCycles:
    """Cycles by cause; what no other cause explains is waiting. Bank conflicts slow all but the ramp.

    useful: share of the products that lie in an output. The edge is a mean over all groups of lanes: where the group
    that ends last has less of it, it is cut to what is left.
    """
    lanes = skipping.lanes
    busy = work.pairs / skipping.multipliers
    fragmentation, padding = work.bare / lanes - busy, (work.padded - work.bare) / lanes
    conflict = (work.spent - work.padded) / lanes
    left = max(cycles - busy - fragmentation - padding - conflict - ramp, 0.0)
    edge = min(edge, left)
    found = EngineCycles(
        cycles, busy * useful, left - edge, fragmentation, padding, edge, conflict, ramp, busy * (1 - useful)
    )
    if skipping.banks is None:
        return found
    banks = skipping.banks
    lost = (conflict_factor(banks.requests, banks.banks, banks.queue) - 1) * (found.cycles - found.ramp)
    return replace(found, cycles=found.cycles + lost, conflict=found.conflict + lost)

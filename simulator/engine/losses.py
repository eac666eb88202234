"""What the cycles of an engine consist of."""

from __future__ import annotations

from dataclasses import dataclass, replace

from accelerators.schema import Skipping
from simulator.engine.banks import conflict_factor

CAUSES = ("imbalance", "fragmentation", "padding", "edge", "conflict", "ramp")
"""Why lanes are not multiplying nonzeros, as fields of `EngineCycles`."""


@dataclass(frozen=True, slots=True)
class EngineCycles:
    """Cycles of the array for a product; `cycles` is the sum of the others.

    ideal: all multipliers busy with nonzeros. fragmentation: vectors that are not full. padding: words stored for
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


def split_cycles(skipping: Skipping, cycles: float, work: LaneWork, edge: float, ramp: float) -> EngineCycles:
    """Cycles by cause; what no other cause explains is waiting. Bank conflicts slow all but the ramp."""
    lanes = skipping.lanes
    ideal = work.pairs / skipping.multipliers
    parts = {
        "fragmentation": work.bare / lanes - ideal,
        "padding": (work.padded - work.bare) / lanes,
        "edge": edge,
        "conflict": (work.spent - work.padded) / lanes,
        "ramp": ramp,
    }
    found = EngineCycles(cycles, ideal, cycles - ideal - sum(parts.values()), **parts)  # type: ignore[arg-type]
    if skipping.banks is None:
        return found
    banks = skipping.banks
    lost = (conflict_factor(banks.requests, banks.banks, banks.queue) - 1) * (found.cycles - found.ramp)
    return replace(found, cycles=found.cycles + lost, conflict=found.conflict + lost)

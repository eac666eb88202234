"""A sparsity that rises along a segment, and the weights that integrate what is known at some of its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zerocast.workloads.errors import WorkloadError


@dataclass(frozen=True, slots=True)
class Ramp:
    """Sparsity s(t) = end + (start - end) (1 - t)^power at the share t of a segment: 1 is linear, 3 the cubic ramp of
    gradual pruning (Zhu, Gupta, 2017, eq. 1).

    Raises `WorkloadError` for one that does not rise, and for sparsities outside [0, 1).
    """

    start: float
    end: float
    power: int = 3

    def __post_init__(self) -> None:
        for sparsity in (self.start, self.end):
            if not 0 <= sparsity < 1:
                raise WorkloadError(f"ramp: sparsity {sparsity:g} is outside [0, 1); 0.8 leaves a fifth of the weights")
        if self.end <= self.start:
            raise WorkloadError(
                f"ramp: sparsity goes down from {self.start:g} to {self.end:g}; a ramp only rises, "
                "`switch:` goes back to denser weights"
            )

    def sparsity(self, share: float) -> float:
        """Sparsity at a share of the segment."""
        return self.end + (self.start - self.end) * (1 - share) ** self.power

    def share_at(self, sparsity: float) -> float:
        """Share of the segment at which the sparsity is reached."""
        return 1 - ((self.end - sparsity) / (self.end - self.start)) ** (1 / self.power)

    def weights(self, knots: Sequence[float]) -> list[float]:
        """For each of some rising sparsities from start to end, the share of the segment that it stands for, so that
        the sum over knots of weight x cost is the integral of a cost that is linear between them (closed form)."""
        found = [0.0] * len(knots)
        for place, (low, high) in enumerate(pairwise(knots)):
            first, last = self.share_at(low), self.share_at(high)
            upper = (self._integral(first, last) - low * (last - first)) / (high - low)
            found[place] += last - first - upper
            found[place + 1] += upper
        return found

    def _integral(self, first: float, last: float) -> float:
        """Of the sparsity, from one share of the segment to another."""
        above = self.power + 1
        return (
            self.end * (last - first) + (self.start - self.end) * ((1 - first) ** above - (1 - last) ** above) / above
        )

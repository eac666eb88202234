"""Steps of a served model, priced: the prompt's pass, and tokens made one at a time against a growing cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zerocast.accelerators import Accelerator
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.run.network import Network, lower, silent
from zerocast.analysis.run.network import Steps as Announce
from zerocast.simulator import Result, simulate
from zerocast.workloads.errors import UnfitSize
from zerocast.workloads.ir import Workload


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step of the whole batch, on all cards. peak_bytes: off-chip memory that it needs of each, weights and
    caches included."""

    time_s: float
    energy_j: float
    peak_bytes: float

    def towards(self, other: Cost, share: float) -> Cost:
        """A cost on the straight line to another."""
        pairs = ((self.time_s, other.time_s), (self.energy_j, other.energy_j), (self.peak_bytes, other.peak_bytes))
        return Cost(*((1 - share) * mine + share * theirs for mine, theirs in pairs))


@dataclass
class PricedSteps:
    """Prices of the steps of one network on one accelerator, each lowered and simulated once."""

    network: Network
    accelerator: Accelerator
    announce: Announce
    price: Callable[..., Result] = simulate
    _known: dict[tuple[int, int | None, int | None], Cost] = field(default_factory=dict)

    def prompt(self, batch: int, tokens: int) -> Cost:
        """A pass over `tokens` tokens of each of `batch` prompts, which makes the first token of each."""
        return self._cost(batch, tokens, None)

    def token(self, batch: int, cache: int) -> Cost:
        """One more token for each of `batch` sequences, behind `cache` earlier ones."""
        return self._cost(batch, None, cache)

    def tokens(self, batch: int, cache: int, count: int) -> Cost:
        """`count` tokens one after another, the first behind `cache` earlier ones: times and energies added up, the
        highest peak.

        What a step costs grows with its cache by the bytes and products of attention, so both ends are priced and what
        lies between is on the straight line.
        """
        if count < 1:
            return Cost(0.0, 0.0, 0.0)
        first = self.token(batch, cache)
        last = self.token(batch, cache + count - 1) if count > 1 else first
        middle = first.towards(last, 0.5)
        return Cost(middle.time_s * count, middle.energy_j * count, max(first.peak_bytes, last.peak_bytes))

    def bend(self, batch: int, cache: int, count: int) -> float:
        """By which share the straight line misses the step in its middle."""
        first, last = self.token(batch, cache), self.token(batch, cache + count - 1)
        half = (count - 1) // 2
        line = first.towards(last, half / max(count - 1, 1))
        return line.time_s / self.token(batch, cache + half).time_s - 1

    def _cost(self, batch: int, tokens: int | None, cache: int | None) -> Cost:
        key = (batch, tokens, cache)
        if key not in self._known:
            what = f"prompt of {tokens}, batch {batch}" if cache is None else f"token behind {cache}, batch {batch}"
            with self.announce(what):
                workload = self._lowered(replace(self.network, batch=batch, tokens=tokens, cache=cache))
                result = self.price(workload, self.accelerator, allow_overflow=True)
            self._known[key] = Cost(result.latency_s, result.energy_j, float(result.footprint.peak_bytes))
        return self._known[key]

    def _lowered(self, network: Network) -> Workload:
        try:
            return lower(network, silent)
        except UnfitSize:
            raise AnalysisError(
                f"model {network.model!r} cannot be served, which takes a causal language model that keeps a cache of "
                "keys and values; give hf:NAME_OR_DIR, or path/to/file.py:factory with arguments tokens and cache"
            ) from None

"""Data types of the workloads against those that the array multiplies."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache

from zerocast.accelerators import AcceleratorError
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.explore.space.definition import WORKLOAD, Choice, Entry, Space, at
from zerocast.analysis.run.network import Network, own_type
from zerocast.workloads.dtypes import types_of


def refuse_types(space: Space, entries: Iterable[Entry], designs: Iterable[Choice]) -> None:
    """Raise `AnalysisError` for a workload whose type none of the designs that run it multiplies.

    What some designs multiply and others do not becomes rows with their reason. A saved workload has types of its own
    and is not looked into. entries: all workloads of the space; designs: all of the space, or some.
    """
    of_network = cache(_type)
    wanted = {(e.label, of_network(e.network)): e for e in entries if not e.network.is_saved}
    lacking: dict[tuple[str, str], Collection[str]] = {}
    found: set[tuple[str, str]] = set()
    for choice in designs:
        entry = space.entry_of(choice)
        key = entry.label, of_network(entry.network)
        if key in wanted and key not in found:
            rates = _rates(space, choice)
            if rates is None or key[1] in rates:
                found.add(key)
            else:
                lacking.setdefault(key, rates)
        if len(found) == len(wanted):
            return
    for key, rates in lacking.items():
        if key not in found:
            raise AnalysisError(_message(space, wanted[key], rates))


def _type(network: Network) -> str:
    return types_of(network.dtype or own_type(network)).activations


def _rates(space: Space, choice: Choice) -> Collection[str] | None:
    """Types that a design multiplies; None for a design that cannot be described."""
    try:
        rates = at(space.variants.describe(space.overrides_of(choice)), "compute.rates")
    except (AcceleratorError, LookupError):
        return None
    return rates if isinstance(rates, dict) else None


def _message(space: Space, entry: Entry, rates: Collection[str]) -> str:
    free = next((p.name for p in space.parameters if f"{WORKLOAD}.dtype" in p.paths), None)
    given = "" if entry.network.dtype else " (what a network has without `dtype`)"
    where = f"parameters.{free}, " if free and entry.network.dtype else ""
    return (
        f"{where}workload {entry.label!r}: the type {_type(entry.network)}{given} is refused for every design: "
        f"{space.variants.origin} multiplies {', '.join(rates)}; give the workload another `dtype`, or the array a "
        f"rate, e.g. `set: {{compute.rates.{_type(entry.network)}: 1.0}}`"
    )

"""What a mapping is chosen for, and how much of that may go for energy."""

from __future__ import annotations

from typing import Any, Literal

Objective = Literal["latency", "energy", "edp", "cycles"]

SLACK = {"latency": 0.01, "energy": 0.0, "edp": 0.0, "cycles": 0.0}
"""How much more than the least of an objective a mapping may take to be chosen for its energy-delay product.

The last promille of latency can cost several times the energy (smaller first tiles, refetched operands), which no
architect would pay.
"""


def goal(objective: Objective, seconds: Any, joules: Any, cycles: Any) -> Any:
    """The figure to be made small, a number or an array: seconds, joules, their product, or the array's cycles."""
    known = {"latency": seconds, "energy": joules, "cycles": cycles}
    return known[objective] if objective in known else seconds * joules

"""How places of groups are counted and picked. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Order = Literal["magnitude", "first", "random"]


@dataclass(frozen=True, slots=True)
class Choice:
    """How places are counted and picked.

    order: those of largest weights stay (the first ones where weights have no data), the first ones, or any by `seed`.
    grain: widths that are multiples of it stay so, while as many are left. everywhere: a share is one of all groups
    together, those of largest weights first, in place of one of each.
    """

    order: Order = "magnitude"
    seed: int = 0
    grain: int = 1
    everywhere: bool = False


EACH = Choice()
"""In every group those of largest weights."""

"""Several cards for one network: products that all of them share, what that sends over the link between them, the
energy of them all, and iterations over groups of them (`groups`, loaded on first use: products need none)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zerocast.simulator.cards.energy import cards_of, on_all_cards
from zerocast.simulator.cards.link import COLLECTIVES, collective_s
from zerocast.simulator.cards.sharing import shared

if TYPE_CHECKING:
    from zerocast.simulator.cards.groups import Iteration as Iteration
    from zerocast.simulator.cards.groups import Layout as Layout
    from zerocast.simulator.cards.groups import iteration as iteration

_LATER = ("Iteration", "Layout", "iteration")

__all__ = ["COLLECTIVES", "cards_of", "collective_s", "on_all_cards", "shared", *_LATER]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.groups"), name)
    raise AttributeError(f"module 'cards' has no attribute {name!r}")

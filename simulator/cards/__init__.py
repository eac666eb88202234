"""Several cards for one network: products that all of them share, what that sends over the link between them, and the
energy of them all."""

from zerocast.simulator.cards.energy import cards_of, on_all_cards
from zerocast.simulator.cards.link import COLLECTIVES, collective_s
from zerocast.simulator.cards.sharing import shared

__all__ = ["COLLECTIVES", "cards_of", "collective_s", "on_all_cards", "shared"]

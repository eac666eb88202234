"""Several cards for one network: products that all of them share, what that sends over the link between them, the
energy of them all, and iterations over groups of them."""

from zerocast.simulator.cards.energy import cards_of, on_all_cards
from zerocast.simulator.cards.iteration import Iteration, Layout, iteration
from zerocast.simulator.cards.link import COLLECTIVES, collective_s
from zerocast.simulator.cards.sharing import shared

__all__ = ["COLLECTIVES", "Iteration", "Layout", "cards_of", "collective_s", "iteration", "on_all_cards", "shared"]

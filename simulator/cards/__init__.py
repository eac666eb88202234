"""Several cards for one network: products that all of them share, and what that sends over the link between them."""

from zerocast.simulator.cards.link import COLLECTIVES, collective_s
from zerocast.simulator.cards.sharing import shared

__all__ = ["COLLECTIVES", "collective_s", "shared"]

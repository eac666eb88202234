"""Time of what cards send one another over the link between them."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator

COLLECTIVES = ("all_reduce", "all_gather")
"""What the cards of a group do together: add up what each has of a tensor, or put together the parts of one."""


def collective_s(function: str, size_bytes: float, accelerator: Accelerator, cards: int | None = None) -> float:
    """Seconds until each of so many cards (`gpu.cards`) has the whole of a tensor of `size_bytes`, 0 for a single card.

    A ring: each card sends its share of the tensor on to the next, once around to put the shares together, twice to
    add them up first (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", JPDC 2009).
    """
    gpu = accelerator.gpu
    cards = 1 if gpu is None else gpu.cards if cards is None else cards
    if cards == 1:
        return 0.0
    rounds = 2 if function == "all_reduce" else 1
    return send_s(rounds * (cards - 1) / cards * size_bytes, accelerator)


def send_s(size_bytes: float, accelerator: Accelerator) -> float:
    """Seconds until a card has sent `size_bytes` to another."""
    assert accelerator.gpu is not None and accelerator.gpu.link is not None  # the schema asks for it
    link = accelerator.gpu.link
    return link.latency_s + size_bytes / (link.bytes_per_s * link.share)

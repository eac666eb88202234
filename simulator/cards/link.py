"""Time of what cards send one another over the link between them."""

from __future__ import annotations

from zerocast.accelerators.schema import Accelerator

COLLECTIVES = ("all_reduce", "all_gather")
"""What the cards of a group do together: add up what each has of a tensor, or put together the parts of one."""


def collective_s(function: str, size_bytes: float, accelerator: Accelerator) -> float:
    """Seconds until each of `gpu.cards` cards has the whole of a tensor of `size_bytes`, 0 for a single card.

    A ring: each card sends its share of the tensor on to the next, once around to put the shares together, twice to
    add them up first (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", JPDC 2009).
    """
    gpu = accelerator.gpu
    if gpu is None or gpu.cards == 1:
        return 0.0
    assert gpu.link is not None  # the schema asks for it
    rounds = 2 if function == "all_reduce" else 1
    sent = rounds * (gpu.cards - 1) / gpu.cards * size_bytes
    return gpu.link.latency_s + sent / (gpu.link.bytes_per_s * gpu.link.share)

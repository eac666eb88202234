"""Sizes of a network's inputs, as a user gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of the inputs; None stands for the network's own.

    batch: rows. tokens: new ones (samples, where sound goes in). image: side of the square images. cache: tokens that
    came before, whose keys and values are kept: with it, one new token where nothing is said.
    """

    batch: int = 1
    tokens: int | None = None
    image: int | None = None
    cache: int | None = None

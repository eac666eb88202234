"""What a module decides about its own gradients, told by op: where they stop, and what is computed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A part of the forward pass whose results are thrown away and computed again for the backward pass.

    whole: all of it runs again; else only up to the last tensor that the backward pass needs.
    """

    number: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Autograd:
    """frozen: weights that are not trained. stopped: by op, tensors that it reads and passes no gradient on to
    (`detach`, `no_grad`). checkpoints: by op, the activation checkpoint that it runs in."""

    frozen: frozenset[str] = frozenset()
    stopped: Mapping[str, frozenset[str]] = field(default_factory=dict)
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)

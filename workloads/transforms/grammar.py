"""The transforms by the name that recipes give them: how each is spelled, what it does, and where it is. No torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from zerocast.workloads.fields import Fields

Arguments = dict[str, Any]
"""Of a transform's function, by name."""


class Transform(NamedTuple):
    """How a transform is spelled, what it does, what reads its fields, its function and the file that has it.

    Behind its fields, any transform takes the layers that it changes: `@GLOB`, or several with `|` between them.
    """

    spelling: str
    does: str
    read: Callable[[Fields], Arguments]
    function: str
    home: str


def _rank(fields: Fields) -> Arguments:
    """A rank, or a share of each layer's smaller side."""
    (text,) = fields.expect(1)
    return {"rank": _rank_or_share(fields, text)}


def _rank_or_share(fields: Fields, text: str) -> float:
    share = fields.share(text) if "." in text or text.endswith("%") else 0.0
    return share or fields.whole(text)


TRANSFORMS = {
    "lowrank": Transform(
        "lowrank:R[@GLOB|GLOB]", "each weight becomes two of rank R (0.25: a quarter of its smaller side)", _rank,
        "lowrank", "factors",
    ),
}  # fmt: skip
"""Name -> transform."""

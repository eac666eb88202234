"""How far a machine moved while it was measured: the anchors' times at the start, in the middle and at the end."""

from __future__ import annotations

import math
from typing import Any

FLAG_ABOVE, DISCARD_ABOVE = 0.03, 0.08
"""Movement of the anchors beyond which a session is flagged, or better thrown away (a choice of the protocol)."""

Record = dict[str, Any]


def anchor_drift(rows: list[Record]) -> dict[str, Any]:
    """How far the anchors' times moved between the start, the middle and the end.

    A shape's movement is its largest |time / time at the start - 1|. Returns `largest`, `median` over the shapes,
    `shapes` compared, and `verdict`: unknown (nothing to compare), discard (median above 8 %), flagged (any shape
    above 3 %) or steady. One shape alone can move by its own noise, so that it flags but does not discard. Rows that
    lack a field or whose time is no positive number do not count.
    """
    whole = [row for row in rows if not row.get("error") and not lacking(row) and _is_time(row["median_us"])]
    start = {_place(row): row["median_us"] for row in whole if row.get("phase") == "start"}
    moved: dict[tuple[Any, ...], float] = {}
    for row in whole:
        if row.get("phase") in ("middle", "end") and _place(row) in start:
            shift = abs(row["median_us"] / start[_place(row)] - 1)
            moved[_place(row)] = max(shift, moved.get(_place(row), 0.0))
    if not moved:
        return {"verdict": "unknown", "shapes": 0}
    ordered = sorted(moved.values())
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    verdict = "discard" if median > DISCARD_ABOVE else "flagged" if ordered[-1] > FLAG_ABOVE else "steady"
    return {"verdict": verdict, "shapes": len(moved), "median": median, "largest": ordered[-1]}


def drift_words(drift: dict[str, Any]) -> str:
    """One line on what `anchor_drift` found."""
    if drift["verdict"] == "unknown":
        return "anchors: none was measured twice, so that nothing is known of the machine's drift"
    shapes = "1 shape" if drift["shapes"] == 1 else f"{drift['shapes']} shapes"
    moved = f"anchors: {shapes} moved by {drift['median']:.1%} (median) and {drift['largest']:.1%} at most"
    if drift["verdict"] == "discard":
        return f"warning: {moved}; beyond {DISCARD_ABOVE:.0%} the session is better measured again"
    return f"{moved}: {drift['verdict']}"


def lacking(row: Record) -> list[str]:
    """Fields that a measured product must have and a row has not, or not as text and numbers."""
    texts = [name for name in ("variant", "algorithm") if not isinstance(row.get(name), str)]
    return texts + [name for name in ("M", "N", "K", "median_us") if not _is_number(row.get(name))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: float) -> bool:
    return value > 0 and math.isfinite(value)


def _place(row: Record) -> tuple[Any, ...]:
    return row["variant"], row["algorithm"], row["M"], row["N"], row["K"]

"""Designs at random, each once."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from zerocast.analysis.explore.search.designs import sample, settle
from zerocast.analysis.explore.search.session import Session
from zerocast.analysis.explore.space.definition import Choice

BATCH = 256
"""Designs that are drawn and priced together; fixed, so that the trials do not depend on the number of workers."""
MISSES = 2000
"""Draws in a row that brought nothing new, or nothing that can be priced, after which a search ends."""


def random_search(session: Session, trials: int, seed: int) -> str:
    """Price `trials` distinct designs (fewer where no more are found), drawn evenly. Why it ended before, or ""."""
    random = Random(seed)
    seen: set[str] = set()

    def draw() -> Choice | None:
        for _ in range(MISSES):
            choice = settle(session.space, sample(session.space, random))
            text = json.dumps(choice)
            if text not in seen:
                seen.add(text)
                return choice
        return None

    return until_priced(session, trials, draw)


def until_priced(session: Session, trials: int, draw: Callable[[], Choice | None]) -> str:
    """Ask for designs until so many were priced, or `MISSES` in a row cannot be; why it ended before, or "". Those
    that broken constraints keep from being priced are rows too, but not counted."""
    number = priced = missed = 0
    while priced < trials:
        batch: list[Choice] = []
        while len(batch) < min(BATCH, trials - priced) and (choice := draw()) is not None:
            batch.append(choice)
        if not batch:
            return f"{MISSES:,} draws in a row gave no new design"
        verdicts = session.batch(number, batch)
        number += len(batch)
        found = sum(verdict.was_priced for verdict in verdicts)
        priced += found
        missed = 0 if found else missed + len(batch)
        if missed >= MISSES:
            return f"{missed:,} designs in a row could not be priced"
    return ""

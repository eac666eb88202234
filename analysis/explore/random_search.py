"""Designs at random, each once."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from analysis.explore.designs import sample, settle
from analysis.explore.session import Session
from analysis.explore.space import Choice

BATCH = 256
"""Designs that are drawn and priced together; fixed, so that the trials do not depend on the number of workers."""
MISSES = 2000
"""Draws in a row that brought nothing new, after which the space counts as exhausted."""


def random_search(session: Session, trials: int, seed: int) -> None:
    """Price `trials` distinct designs (fewer where the space has no more), drawn evenly."""
    random = Random(seed)
    seen: set[str] = set()

    def draw() -> Choice | None:
        for _ in range(MISSES):
            choice = settle(session.space, sample(session.space, random))
            text = json.dumps(choice, sort_keys=True)
            if text not in seen:
                seen.add(text)
                return choice
        return None

    until_priced(session, trials, draw)


def until_priced(session: Session, trials: int, draw: Callable[[], Choice | None]) -> None:
    """Ask for designs until so many were priced. Those that broken constraints keep from being priced are rows too,
    but not counted."""
    number = priced = 0
    while priced < trials:
        batch: list[Choice] = []
        while len(batch) < min(BATCH, trials - priced) and (choice := draw()) is not None:
            batch.append(choice)
        if not batch:
            return
        verdicts = session.batch(number, batch)
        number += len(batch)
        priced += sum(verdict.was_priced for verdict in verdicts)

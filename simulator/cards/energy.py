"""Energy of several cards: what all of them draw, where times, bytes and operations are those of one."""

from __future__ import annotations

from dataclasses import replace

from zerocast.accelerators.schema import Accelerator
from zerocast.simulator.cost import COLUMNS, Figures

_JOULES = frozenset(column.name for column in COLUMNS if column.unit == "J")


def cards_of(accelerator: Accelerator) -> int:
    """Cards that share a network, each with the same to do."""
    return accelerator.gpu.cards if accelerator.gpu is not None else 1


def on_all_cards(figures: Figures, accelerator: Accelerator) -> Figures:
    """The figures of an op on one card with the energy of all: the joules that a run takes, whoever pays for them."""
    if (cards := cards_of(accelerator)) == 1:
        return figures
    joules = {name: cards * value for name, value in figures.columns.items() if name in _JOULES}
    return replace(figures, columns=figures.columns | joules)

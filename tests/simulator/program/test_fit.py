"""What fits: cards with layers dealt whole, the largest batch, what offloading costs, by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator import SimulationError, simulate
from zerocast.simulator.cards import Layout, iteration
from zerocast.simulator.cards.dealing import Dealing
from zerocast.simulator.program.fit import cards_needed, fullest_of
from zerocast.simulator.program.program import program
from zerocast.workloads import Workload, capture

CARD = "nvidia-a100-sxm-80g"
LAYER = 2 * 1000 * 1000
"""Bytes of one of five square layers in bf16; a row of activations takes 2,000."""


def network(**options: object) -> Workload:
    layers = nn.Sequential(*(nn.Linear(1000, 1000, bias=False) for _ in range(5)))
    return capture(layers, torch.zeros(1, 1000), dtype="bf16", **options)  # type: ignore[arg-type]


DEALT = [(5.1, 1, 5), (4.9, 2, 3), (3.1, 2, 3), (2.9, 3, 2), (1.1, 5, 1)]
"""Capacity in layers, cards, layers of the fullest."""


def needed(workload: Workload, capacity: float) -> tuple[int | None, int]:
    planned = program(workload, load(CARD))
    return cards_needed(planned.plan.workload, planned.storage, capacity)


@pytest.mark.parametrize(("capacity", "cards", "layers"), DEALT)
def test_layers_are_dealt_whole(capacity: float, cards: int, layers: int) -> None:
    """Five to 2 cards are 3 and 2, to 3 and 4 at most 2."""
    found, fullest = needed(network(), capacity * LAYER)
    assert found == cards
    assert layers * LAYER < fullest <= layers * LAYER + 3 * 2000


def test_a_layer_that_is_too_large_fits_no_number_of_cards() -> None:
    found, fullest = needed(network(), 0.9 * LAYER)
    assert found is None
    assert fullest > LAYER


def test_training_deals_states_and_gradients_with_their_layer() -> None:
    """Weights, bf16 states and gradients of a layer, and the intermediate of its update: 2 + 4 + 2 + 2 bytes."""
    planned = program(network(training=True, optimizer="adamw:bf16", per_layer=True), load(CARD))
    assert 5 * LAYER <= fullest_of(Dealing(planned.plan.workload), planned.storage, 5) < 5.02 * LAYER


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layers", [1.5, 3.7, 12.0])
def test_cards_that_are_advised_hold_it_and_fewer_do_not(training: bool, layers: float) -> None:
    machine = load(CARD, {"memories.hbm.capacity_bytes": layers * LAYER * (8 if training else 1)})
    work = network(training=training, optimizer="adamw")
    result = simulate(work, machine, regime="eager", allow_overflow=True)
    assert result.fit is not None and result.fit.cards is not None
    found = iteration(result, machine, Layout(result.fit.cards))
    assert max(stage.memory_bytes for stage in found.stages) == result.fit.card_bytes <= result.fit.capacity_bytes
    for fewer in range(1, result.fit.cards):
        with pytest.raises(SimulationError, match="stage"):
            iteration(result, machine, Layout(fewer))


def test_what_does_not_fit_goes_over_the_link_and_comes_back() -> None:
    machine = load(CARD, {"memories.hbm.capacity_bytes": 4 * LAYER})
    result = simulate(network(), machine, allow_overflow=True)
    assert result.fit is not None
    excess = result.footprint.peak_bytes - 4 * LAYER
    assert dataclasses.asdict(result.fit) | {"card_bytes": 0} == {
        "capacity_bytes": 4 * LAYER, "largest_batch": 0, "cards": 2, "card_bytes": 0, "offload_bytes": excess,
        "offload_s": pytest.approx(excess / 32e9),
    }  # fmt: skip
    trained = simulate(network(training=True), machine, allow_overflow=True)
    assert trained.fit is not None
    assert trained.fit.offload_s == pytest.approx(2 * trained.fit.offload_bytes / 32e9)
    assert simulate(network(), load(CARD)).fit.cards == 1  # type: ignore[union-attr]

"""Recurrent layers: the multiplications of every step, in a handful of ops, of which those of the states take turns."""

from __future__ import annotations

import pytest
import torch
from small_models import counted
from torch import nn

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.workloads import WorkloadError, capture

STEPS, BATCH, INPUTS, STATES = 7, 2, 16, 32
X, TURNED = torch.zeros(STEPS, BATCH, INPUTS), torch.zeros(BATCH, STEPS, INPUTS)


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(INPUTS, STATES, 2, batch_first=True), nn.Linear(STATES, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, (hidden, cells) = self.memory(x)
        return self.head(hidden[-1] + cells[-1])


class Frozen(nn.Module):
    """Gradients go through the steps to what lies before them, though no weight of them is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.memory = nn.Linear(INPUTS, INPUTS), nn.GRU(INPUTS, STATES)
        self.memory.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.memory(self.before(x))[0]


class Started(nn.Module):
    """From states that another layer makes."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.memory = nn.Linear(8, STATES), nn.LSTM(INPUTS, STATES)

    def forward(self, x: torch.Tensor, about: torch.Tensor) -> torch.Tensor:
        state = self.start(about)[None]
        return self.memory(x, (state, state))[0]


KINDS: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]] = {
    "LSTM": (nn.LSTM(INPUTS, STATES, 2), (X,)),
    "two-way GRU": (nn.GRU(INPUTS, STATES, 2, bidirectional=True), (X,)),
    "RNN": (nn.RNN(INPUTS, STATES, nonlinearity="relu", batch_first=True), (TURNED,)),
    "projected": (nn.LSTM(INPUTS, STATES, 2, proj_size=8, bidirectional=True), (X,)),
    "one step": (nn.LSTM(INPUTS, STATES), (X[:1],)),
    "without biases": (nn.LSTM(INPUTS, STATES, bias=False), (X,)),
    "dropout": (nn.LSTM(INPUTS, STATES, 3, dropout=0.2), (X,)),
    "without a batch": (nn.LSTM(INPUTS, STATES), (X[:, 0],)),
    "last state": (LastState(), (TURNED,)), "frozen": (Frozen(), (X,)), "started": (Started(), (X, torch.zeros(2, 8))),
}  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_macs_are_those_of_every_step(kind: str, training: bool) -> None:
    model, inputs = KINDS[kind]
    workload = capture(model.train(training), inputs, training=training)
    assert workload.macs == counted(model, inputs, training) > 0
    assert workload.parameters == sum(each.numel() for each in model.parameters())
    assert not workload.unknown


def test_as_many_ops_for_any_number_of_steps() -> None:
    few, many = (capture(nn.LSTM(8, 8), torch.zeros(steps, 1, 8), training=True) for steps in (4, 400))
    assert [op.kind for op in few.ops] == [op.kind for op in many.ops]


@pytest.mark.parametrize("card", ["sat-vcu1525", "nvidia-h100-sxm", "systolic-32x32"])
def test_steps_run_one_after_another(card: str) -> None:
    """Products of states take as long as there are steps, those of inputs and of weight gradients run at once."""

    def times(steps: int) -> dict[str, float]:
        found = simulate(capture(nn.GRU(256, 256), torch.zeros(steps, 1, 256), training=True), load(card))
        return {row.op: row.latency_s for row in found.rows}

    few, many = times(1 + 8), times(1 + 16)
    for name in ("weight_hh_l0_1", "weight_hh_l0_1.BP"):
        assert many[name] == pytest.approx(2 * few[name], rel=1e-9)
    for name in ("weight_ih_l0", "weight_hh_l0_1.WU"):
        assert many[name] < 1.9 * few[name]
    assert many["weight_hh_l0"] == few["weight_hh_l0"]  # the first step, on its own
    assert few["weight_hh_l0_1"] == pytest.approx(8 * few["weight_hh_l0"], rel=0.3)  # warm on a GPU


def test_packed_sequences_are_refused_with_what_to_do() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory = nn.LSTM(INPUTS, STATES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 5]))
            return nn.utils.rnn.pad_packed_sequence(self.memory(packed)[0])[0]

    with pytest.raises(WorkloadError, match=r"sequences of several lengths are packed at .*; give the layer padded"):
        capture(Packed(), X)

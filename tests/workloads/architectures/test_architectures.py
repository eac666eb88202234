"""Networks of many kinds: MACs as PyTorch counts them, parameters, no unknown operator; or a refusal that names why."""

from __future__ import annotations

import math

import pytest
import torch
from small_models import counted
from small_networks import KINDS, REFUSED, detector, open_ended_detector

from zerocast.accelerators import load
from zerocast.simulator import simulate
from zerocast.workloads import WorkloadError, capture


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_macs_and_parameters(kind: str, training: bool) -> None:
    torch.manual_seed(0)
    model, inputs = KINDS[kind]()
    model.train(training)
    workload = capture(model, inputs, training=training)
    assert workload.macs == counted(model, inputs, training) > 0
    assert workload.parameters == sum(each.numel() for each in model.parameters())
    assert not workload.unknown


def test_what_depends_on_the_data_is_named_and_the_network_is_priced() -> None:
    whole, open_ended = capture(*detector()), capture(*open_ended_detector())
    assert open_ended.macs == whole.macs > 0 and len(open_ended.ops) >= len(whole.ops)
    (cause,) = open_ended.meta["skipped"]
    assert cause.startswith("how much aten.index.Tensor") and cause.endswith("gives depends on the data")
    notes = simulate(open_ended, load("nvidia-h100-sxm")).notes
    assert any(note.startswith(cause) and "are in no total" in note for note in notes)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_priced_is_named(kind: str) -> None:
    make, words = REFUSED[kind]
    with pytest.raises(WorkloadError, match=words):
        capture(*make())


def test_work_of_a_fourier_transform_and_of_distances() -> None:
    """5 n log2 n for each transform of n points together; three operations for each number of each pair."""
    whole = next(op for op in capture(*KINDS["fourier_mixing"]()).ops if getattr(op, "function", "") == "fft")
    assert whole.flops == pytest.approx(2 * 5 * 512 * math.log2(512))  # type: ignore[union-attr]
    pairs = next(op for op in capture(*KINDS["codebook"]()).ops if getattr(op, "function", "") == "cdist")
    assert pairs.flops == 20 * 64 * 16 * 3  # type: ignore[union-attr]
